"""`mlflow-onnx sign`: sign a registered version and its evidence with a key."""

from __future__ import annotations

import argparse

from mlflow_onnx_flavor.cli import options
from mlflow_onnx_flavor.cli.ending import DONE
from mlflow_onnx_flavor.cli.printing import print_json

HELP = "vouch for a registered version and its evidence with a key"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    options.add_version(parser)
    parser.add_argument(
        "--private-key", metavar="FILE", required=True, help="an elliptic-curve key (PEM)"
    )
    parser.add_argument("--certificate", metavar="FILE", help="the key's certificate (PEM)")
    parser.add_argument(
        "--certificate-chain",
        metavar="FILE",
        action="append",
        help="the certificates that vouch for it (PEM)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb and return the exit status."""
    from mlflow_onnx_flavor import registry
    from mlflow_onnx_flavor.schemas.configuration import SigningKey

    key = SigningKey(
        private_key=arguments.private_key,
        certificate=arguments.certificate,
        certificate_chain=tuple(arguments.certificate_chain or ()),
    )
    registry.sign_version(arguments.registered_model, arguments.version, key)
    signed = {"name": arguments.registered_model, "version": arguments.version}
    if arguments.json:
        print_json(signed)
    else:
        print(f"signed version {signed['version']} of {signed['name']!r} and its evidence")
    return DONE
