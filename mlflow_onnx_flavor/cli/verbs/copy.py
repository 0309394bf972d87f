"""`mlflow-onnx copy`: copy a version with its evidence to another model or server."""

from __future__ import annotations

import argparse

from mlflow_onnx_flavor.cli import options
from mlflow_onnx_flavor.cli.ending import DONE
from mlflow_onnx_flavor.cli.printing import print_json

HELP = "copy a version with its evidence to another model or server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    options.add_version(parser)
    parser.add_argument("--to-name", metavar="NAME", default="", help="default: the same")
    parser.add_argument("--to-tracking-uri", metavar="URI", default="", help="default: the same")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb and return the exit status."""
    from mlflow_onnx_flavor import registry

    name = arguments.to_name or arguments.registered_model
    version = registry.copy(
        arguments.registered_model,
        arguments.version,
        to_name=arguments.to_name,
        to_uri=arguments.to_tracking_uri,
    )
    if arguments.json:
        print_json({"name": name, "version": version, "at": arguments.to_tracking_uri})
    else:
        where = f" at {arguments.to_tracking_uri}" if arguments.to_tracking_uri else ""
        print(f"version {version} of {name!r}{where}; its evidence passes, and no alias moved")
    return DONE
