"""`mlflow-onnx import`: write a graph that was exported as text as an ONNX file again."""

from __future__ import annotations

import argparse

from mlflow_onnx_flavor.cli.ending import DONE
from mlflow_onnx_flavor.cli.printing import print_json

HELP = "write a graph that was exported as text as an ONNX file again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("file", metavar="FILE", help="JSON, textproto or ONNX text")
    parser.add_argument("--output", metavar="FILE", required=True, help="the .onnx file to write")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb and return the exit status."""
    from mlflow_onnx_flavor.pipeline.export import import_graph

    path = import_graph(arguments.file, arguments.output)
    if arguments.json:
        print_json({"path": str(path)})
    else:
        print(path)
    return DONE
