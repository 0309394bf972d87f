"""`mlflow-onnx promote`: move an alias to a version with passing evidence."""

from __future__ import annotations

import argparse

from mlflow_onnx_flavor.cli import options
from mlflow_onnx_flavor.cli.printing import print_movement

HELP = "move an alias to a version whose evidence passes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    options.add_version(parser)
    options.add_alias(parser)
    parser.add_argument("--dry-run", action="store_true", help="check, but move nothing")
    parser.add_argument(
        "--require-signature",
        action="store_true",
        help="by a key that the configuration file or these options trust",
    )
    options.add_trust(parser)
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="its section promotion says what a version must have beyond passing gates",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb and return the exit status."""
    from mlflow_onnx_flavor import registry
    from mlflow_onnx_flavor.configuration_file import overridden, read_configuration
    from mlflow_onnx_flavor.pipeline.promote import policy_of
    from mlflow_onnx_flavor.pipeline.promote import promote as promote_step

    configuration = read_configuration(arguments.config)
    configuration = overridden(
        configuration, alias=arguments.alias, trust=options.trust_of(arguments)
    )
    promotion = configuration.promotion
    if arguments.dry_run:
        movement = registry.promote(
            arguments.registered_model,
            arguments.version,
            promotion.alias,
            previous_alias=promotion.previous_alias,
            policy=policy_of(configuration),
            dry_run=True,
        )
        return print_movement(movement, arguments.json, "would point")
    movement = promote_step(arguments.registered_model, arguments.version, configuration)
    return print_movement(movement, arguments.json, "now points")
