"""`mlflow-onnx gc`: list or remove versions and candidates that nothing refers to."""

from __future__ import annotations

import argparse

from mlflow_onnx_flavor.cli import options
from mlflow_onnx_flavor.cli.ending import DONE
from mlflow_onnx_flavor.cli.printing import print_json

HELP = "list versions and candidates that nobody refers to, or remove them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    options.add_registered_model(parser)
    parser.add_argument(
        "--keep", metavar="N", type=int, default=3, help="newest versions; default: 3"
    )
    parser.add_argument(
        "--older-than-days", metavar="DAYS", type=float, default=30, help="default: 30"
    )
    parser.add_argument("--delete", action="store_true", help="remove what is listed")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb and return the exit status."""
    from mlflow_onnx_flavor import registry
    from mlflow_onnx_flavor.formatting.text import plain_table

    found = registry.superseded(
        arguments.registered_model,
        keep=arguments.keep,
        older_than_days=arguments.older_than_days,
    )
    if arguments.delete:
        registry.remove(found)
    if arguments.json:
        print_json(
            {"removed": arguments.delete, "superseded": [each.model_dump() for each in found]}
        )
        return DONE
    if found:
        rows = [(each.kind, each.name, each.id, f"{each.age_days:.1f}") for each in found]
        print(plain_table(("kind", "name", "version or id", "days old"), rows))
    number = f"{len(found)} of {arguments.registered_model!r}"
    print(f"{number} removed" if arguments.delete else f"{number} may go: add --delete to remove")
    return DONE
