"""The command line: every verb of `verbs` with its options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext

from mlflow_onnx_flavor._version import __version__
from mlflow_onnx_flavor.cli.options import common
from mlflow_onnx_flavor.cli.output import one_document
from mlflow_onnx_flavor.cli.verbs import Verb, verbs

EXIT_STATUSES = (
    "exit status: 0 done, and promoted if that was asked; 1 an error; 2 wrong usage;"
    " 3 a gate failed; 4 the model cannot be converted"
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; run the parsed verb with ``arguments.verb(arguments)``."""
    parser = argparse.ArgumentParser(
        prog="mlflow-onnx",
        description="Release MLflow models as verified ONNX.",
        epilog=EXIT_STATUSES,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(metavar="VERB", required=True)
    shared = common()
    for name, verb in verbs().items():
        subparser = subparsers.add_parser(
            name, help=verb.HELP, description=verb.HELP, parents=[shared], epilog=EXIT_STATUSES
        )
        verb.add_arguments(subparser)
        subparser.set_defaults(verb=_under_tracking_uri(verb), name=name)
    return parser


def _under_tracking_uri(verb: Verb) -> Callable[[argparse.Namespace], int]:
    """Return a function that runs the verb on the tracking server that the command line names."""

    def run(arguments: argparse.Namespace) -> int:
        if arguments.tracking_uri:
            import mlflow

            mlflow.set_tracking_uri(arguments.tracking_uri)
        with one_document() if arguments.json else nullcontext():
            return verb.run(arguments)

    return run
