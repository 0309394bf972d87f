"""`mlflow-onnx explain`: try a conversion and report which strategy works, or why none does."""

from __future__ import annotations

import argparse

from mlflow_onnx_flavor.cli import options
from mlflow_onnx_flavor.cli.ending import DONE, NOT_CONVERTIBLE
from mlflow_onnx_flavor.cli.printing import print_environment, print_json

HELP = "try a conversion: which strategy works, or what is in the way"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    options.add_model_uri(parser)
    options.add_data(parser)
    options.add_source(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb and return the exit status."""
    from mlflow_onnx_flavor.explanation import explain as explain_model
    from mlflow_onnx_flavor.formatting.text import plain_table
    from mlflow_onnx_flavor.reporting.console import Progress

    with Progress(quiet=arguments.quiet)("trying to convert the model"):
        explanation = explain_model(
            arguments.model_uri,
            arguments.data,
            configuration=options.source_configuration(arguments),
        )
    if arguments.json:
        print_json(explanation.model_dump(mode="json"))
        return DONE if explanation.converts else NOT_CONVERTIBLE
    print(f"{explanation.model_uri}: {explanation.description}")
    print_environment(explanation)
    print("These strategies are tried, in this order, until one is right:")
    tried = explanation.strategies
    rows = [(each.strategy, each.exporter, each.outcome, each.why) for each in tried]
    print(plain_table(("strategy", "exporter", "outcome", "why"), rows))
    if explanation.converts:
        for doubt in (each.cause for each in tried if each.outcome == "converted" and each.cause):
            print(f"Doubtful: {doubt}")
        return DONE
    print("It cannot be converted:")
    for cause in dict.fromkeys(each.cause for each in tried):
        names = [each.strategy for each in tried if each.cause == cause]
        print(f"  {', '.join(names)}: {cause}")
    for remedy in dict.fromkeys(filter(None, (each.remedy for each in tried))):
        print(f"  remedy: {remedy}")
    return NOT_CONVERTIBLE
