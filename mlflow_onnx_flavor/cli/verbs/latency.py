"""`mlflow-onnx latency`: measure how much faster a candidate is than its source."""

from __future__ import annotations

import argparse

from mlflow_onnx_flavor.cli import options
from mlflow_onnx_flavor.cli.printing import print_measured

HELP = "measure how much faster a candidate is than its source"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    options.add_compared(parser)
    options.add_measuring(parser)
    parser.add_argument("--batch-size", metavar="N", type=int, action="append")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb and return the exit status."""
    from mlflow_onnx_flavor import api
    from mlflow_onnx_flavor.configuration_file import overridden
    from mlflow_onnx_flavor.gates import judge_latency
    from mlflow_onnx_flavor.reporting.console import Progress, print_latency

    configuration = overridden(
        options.measuring_configuration(arguments), batch_sizes=arguments.batch_size
    )
    progress = Progress(quiet=arguments.quiet)
    with progress("measuring latency"):
        report = api.check_latency(
            arguments.source,
            arguments.candidate,
            arguments.data,
            arguments.execution_provider and configuration.execution_providers,
            configuration=configuration,
            on_progress=progress.note,
        )
    findings = judge_latency(report, configuration.gates.latency)
    return print_measured(report, findings, arguments.json, print_latency)
