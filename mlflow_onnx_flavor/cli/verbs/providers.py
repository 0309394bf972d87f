"""`mlflow-onnx providers`: list the execution providers of this machine."""

from __future__ import annotations

import argparse

from mlflow_onnx_flavor.cli.ending import DONE
from mlflow_onnx_flavor.cli.printing import print_json

HELP = "list the execution providers of this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""


def run(arguments: argparse.Namespace) -> int:
    """Run the verb and return the exit status."""
    from dataclasses import asdict

    from mlflow_onnx_flavor.formatting.text import plain_table
    from mlflow_onnx_flavor.machine import execution_providers

    found = [asdict(each) for each in execution_providers.describe()]
    if arguments.json:
        print_json(found)
        return DONE
    rows = [
        (
            each["name"],
            each["kind"],
            f"{each['package']} {each['version']}",
            ", ".join(each["devices"]),
        )
        for each in found
    ]
    print(plain_table(("execution provider", "kind", "package", "devices"), rows))
    return DONE
