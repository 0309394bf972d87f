"""`mlflow-onnx parity`: measure whether two models give the same answers."""

from __future__ import annotations

import argparse

from mlflow_onnx_flavor.cli import options
from mlflow_onnx_flavor.cli.printing import print_measured

HELP = "measure whether two models give the same answers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    options.add_compared(parser)
    options.add_measuring(parser)
    parser.add_argument(
        "--worst-inputs",
        metavar="DIR",
        help="write the rows that disagree most there, as a file to give as --data",
    )
    parser.add_argument(
        "--resume",
        metavar="FILE",
        help="for large data: a file that keeps the progress, to continue from it",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb and return the exit status."""
    from mlflow_onnx_flavor import api
    from mlflow_onnx_flavor.gates import judge_parity
    from mlflow_onnx_flavor.reporting.console import Progress, print_parity

    configuration = options.measuring_configuration(arguments)
    progress = Progress(quiet=arguments.quiet)
    with progress("comparing the answers"):
        report = api.check_parity(
            arguments.source,
            arguments.candidate,
            arguments.data,
            arguments.execution_provider and configuration.execution_providers,
            configuration=configuration,
            worst_inputs=arguments.worst_inputs,
            resume=arguments.resume,
            on_progress=progress.note,
        )
    findings = judge_parity(report, configuration.gates.parity)
    return print_measured(report, findings, arguments.json, print_parity)
