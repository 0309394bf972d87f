"""`mlflow-onnx verify`: verify that a registered version is the verified artifact."""

from __future__ import annotations

import argparse

from mlflow_onnx_flavor.cli import options
from mlflow_onnx_flavor.cli.ending import DONE
from mlflow_onnx_flavor.cli.printing import print_json

HELP = "check that a registered version is the artifact that was verified"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    options.add_model_uri(parser)
    options.add_trust(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb and return the exit status."""
    from mlflow_onnx_flavor import registry
    from mlflow_onnx_flavor.configuration_file import overridden
    from mlflow_onnx_flavor.schemas.configuration import Configuration

    configuration = overridden(Configuration(), trust=options.trust_of(arguments))
    trust = configuration.trust if options.trust_of(arguments) else None
    verification = registry.verify(arguments.model_uri, trust)
    if arguments.json:
        print_json(verification.model_dump(mode="json"))
        return DONE
    print(
        f"{arguments.model_uri} is version {verification.version} of {verification.name!r}, the"
        f" artifact that was verified ({verification.digest}), and passes its gates"
        + (", signed by a key that you trust" if verification.signed else "")
    )
    if not (verification.evidence_known or verification.signed):
        print(
            "It was registered before evidence had a digest, so whether its evidence was changed"
            " since is not known. Release it again, or sign it, to have that checked."
        )
    return DONE
