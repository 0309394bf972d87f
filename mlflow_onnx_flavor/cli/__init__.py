"""The `mlflow-onnx` command.  `--help` imports neither MLflow nor a framework."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (the process's own where None); return the exit status.

    0 done · 1 an error · 2 wrong usage · 3 a gate failed · 4 the model cannot be converted.
    """
    from mlflow_onnx_flavor.cli.ending import run_guarded
    from mlflow_onnx_flavor.cli.output import redacted_output
    from mlflow_onnx_flavor.cli.parser import build_parser

    with redacted_output():
        arguments = build_parser().parse_args(argv)
        return run_guarded(lambda: arguments.verb(arguments))
