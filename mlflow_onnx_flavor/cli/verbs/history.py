"""`mlflow-onnx history`: list who moved which alias when."""

from __future__ import annotations

import argparse

from mlflow_onnx_flavor.cli import options
from mlflow_onnx_flavor.cli.ending import DONE
from mlflow_onnx_flavor.cli.printing import print_json

HELP = "list who moved which alias when"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    options.add_registered_model(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb and return the exit status."""
    from mlflow_onnx_flavor import registry
    from mlflow_onnx_flavor.formatting.text import plain_table

    movements = registry.history(arguments.registered_model)
    if arguments.json:
        print_json([each.model_dump() for each in movements])
        return DONE
    if not movements:
        print(f"no alias of {arguments.registered_model!r} was moved by a release")
        return DONE
    rows = [
        (
            each.when,
            each.who,
            each.action,
            each.alias,
            each.moved_from or "-",
            each.moved_to,
            each.why,
        )
        for each in movements
    ]
    print(plain_table(("when", "who", "action", "alias", "from", "to", "why"), rows))
    return DONE
