"""`mlflow-onnx rollback`: move an alias back to the version before."""

from __future__ import annotations

import argparse

from mlflow_onnx_flavor.cli import options
from mlflow_onnx_flavor.cli.printing import print_movement

HELP = "put an alias back on the version before"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    options.add_registered_model(parser)
    options.add_alias(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb and return the exit status."""
    from mlflow_onnx_flavor.configuration_file import overridden
    from mlflow_onnx_flavor.pipeline.promote import rollback as rollback_step
    from mlflow_onnx_flavor.schemas.configuration import Configuration

    promotion = overridden(Configuration(), alias=arguments.alias).promotion
    return print_movement(
        rollback_step(arguments.registered_model, promotion), arguments.json, "now points"
    )
