"""`mlflow-onnx convert`: convert a model to ONNX, into a folder."""

from __future__ import annotations

import argparse

from mlflow_onnx_flavor.cli import options
from mlflow_onnx_flavor.cli.ending import DONE
from mlflow_onnx_flavor.cli.printing import print_environment, print_json

HELP = "convert a model to ONNX, into a folder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    options.add_model_uri(parser)
    parser.add_argument("--output", metavar="DIR", required=True, help="where model.onnx goes")
    options.add_data(parser)
    options.add_source(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb and return the exit status."""
    from mlflow_onnx_flavor import api
    from mlflow_onnx_flavor.formatting.text import plain_table
    from mlflow_onnx_flavor.reporting.console import Progress

    with Progress(quiet=arguments.quiet)("converting"):
        conversion = api.convert(
            arguments.model_uri,
            arguments.data,
            output_dir=arguments.output,
            configuration=options.source_configuration(arguments),
        )
    if arguments.json:
        print_json(conversion.model_dump(mode="json"))
        return DONE
    rows = [
        (each.strategy, each.outcome, f"{each.seconds:.2f} s", each.cause)
        for each in conversion.attempts
    ]
    print_environment(conversion)
    print(plain_table(("strategy", "outcome", "time", "cause"), rows))
    print(f"{conversion.path} (outputs: {', '.join(conversion.output_names)})")
    return DONE
