"""`mlflow-onnx export`: export a model to another framework, or as text."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mlflow_onnx_flavor.cli import options
from mlflow_onnx_flavor.cli.ending import DONE
from mlflow_onnx_flavor.cli.printing import print_json, print_where_it_runs
from mlflow_onnx_flavor.errors import ConfigurationError

HELP = "write a model for another framework, or as text, and prove it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    options.add_model_uri(parser)
    parser.add_argument("--to", metavar="TARGET", required=True, help="see mlflow-onnx targets")
    parser.add_argument("--output", metavar="DIR", required=True, help="a folder, not there yet")
    options.add_data(parser)
    parser.add_argument("--config", metavar="FILE", help="whose gates.parity the target must pass")
    parser.add_argument(
        "--fix", metavar="AXIS=SIZE", action="append", help="fix an open axis, such as batch=1"
    )
    parser.add_argument("--precision", choices=("float32", "float16"), default="float32")
    parser.add_argument("--registered-model", metavar="NAME", help="log it, and register it so")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb and return the exit status."""
    from mlflow_onnx_flavor.configuration_file import read_configuration
    from mlflow_onnx_flavor.pipeline.export import export
    from mlflow_onnx_flavor.reporting.console import Progress

    with Progress(quiet=arguments.quiet)(f"exporting to {arguments.to}"):
        exported = export(
            arguments.model_uri,
            arguments.to,
            arguments.output,
            data=arguments.data,
            fix=axes(arguments.fix or ()),
            precision=arguments.precision,
            registered_model=arguments.registered_model,
            configuration=read_configuration(arguments.config),
        )
    report = exported.report
    if arguments.json:
        print_json(
            {
                "path": str(exported.path),
                "model_uri": exported.model_uri,
                "version": exported.version,
                "report": report.model_dump(mode="json"),
            }
        )
        return DONE
    print_where_it_runs([report])
    for name, count in report.replaced.items():
        print(f"rewritten in ordinary operators: {count} {name}")
    for name, texts in report.labels.items():
        print(f"output {name!r} holds positions of: {', '.join(texts)}")
    print(exported.path)
    if exported.model_uri:
        registered = f", version {exported.version}" if exported.version else ""
        print(f"logged as {exported.model_uri}{registered}")
    return DONE


def axes(texts: Sequence[str]) -> dict[str, int]:
    """Return sizes by the name of their axis, parsed from texts ``AXIS=SIZE``."""
    return dict(map(_axis, texts))


def _axis(text: str) -> tuple[str, int]:
    name, _, size = text.partition("=")
    if not name or not size.isdigit() or int(size) < 1:
        raise ConfigurationError(f"--fix takes AXIS=SIZE, such as batch=1, not {text!r}")
    return name, int(size)
