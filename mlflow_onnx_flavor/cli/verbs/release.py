"""`mlflow-onnx release`: convert, verify, register and promote a model, as `mlflow run .` does."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from mlflow_onnx_flavor.cli import options
from mlflow_onnx_flavor.cli.ending import DONE, GATE_FAILED
from mlflow_onnx_flavor.cli.output import print_document
from mlflow_onnx_flavor.errors import ConfigurationError

HELP = "convert, prove, register and promote a model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    options.add_model_uri(parser, nargs="?")
    parser.add_argument("--registered-model", metavar="NAME", help="default: NAME-onnx")
    options.add_measuring(parser)
    options.add_alias(parser)
    parser.add_argument("--no-promote", action="store_true", help="register, but move no alias")
    parser.add_argument("--dry-run", action="store_true", help="measure, but change no registry")
    parser.add_argument(
        "--fresh", action="store_true", help="do all anew, also what an earlier release finished"
    )
    parser.add_argument("--junit", metavar="FILE", help="also write the verdict as JUnit XML")
    parser.add_argument(
        "--print-config", action="store_true", help="print the default configuration as YAML"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb and return the exit status."""
    if arguments.print_config:
        from mlflow_onnx_flavor.configuration_file import defaults_as_yaml

        print(defaults_as_yaml(), end="")
        return DONE
    if arguments.model_uri is None:
        raise ConfigurationError("release needs MODEL_URI (or --print-config)")
    return release_and_print(
        arguments.model_uri,
        arguments.registered_model,
        data=arguments.data,
        config=arguments.config,
        execution_providers=arguments.execution_provider,
        source_env=arguments.source_env,
        scan_source=arguments.scan_source,
        alias=arguments.alias,
        promote=not arguments.no_promote,
        dry_run=arguments.dry_run,
        fresh=arguments.fresh,
        json=arguments.json,
        quiet=arguments.quiet,
        junit=arguments.junit,
    )


def release_and_print(
    model_uri: str,
    registered_model: str | None,
    *,
    data: str | None = None,
    config: str | None = None,
    execution_providers: Sequence[str] | None = None,
    source_env: str | None = None,
    scan_source: bool = False,
    alias: str | None = None,
    promote: bool = True,
    dry_run: bool = False,
    fresh: bool = False,
    json: bool = False,
    quiet: bool = False,
    junit: str | None = None,
) -> int:
    """Release the model, print a summary, and return the exit status."""
    from mlflow_onnx_flavor.configuration_file import overridden, read_configuration
    from mlflow_onnx_flavor.pipeline.release import release as run_release
    from mlflow_onnx_flavor.reporting.console import Progress, print_summary
    from mlflow_onnx_flavor.reporting.junit import render_junit

    configuration = overridden(
        read_configuration(config or None),
        execution_providers=execution_providers,
        alias=alias,
        source_env=source_env,
        scan_source=scan_source,
        fresh=fresh,
    )
    name = registered_model or default_name(model_uri)
    result = run_release(
        model_uri,
        name,
        data=data or None,
        configuration=configuration,
        promote_alias=promote,
        dry_run=dry_run,
        progress=Progress(quiet=quiet),
    )
    if junit:
        Path(junit).write_text(render_junit(result.summary), encoding="utf-8")
    if json:
        print_document(result.summary.to_json())
    else:
        print_summary(
            result.summary,
            file=sys.stdout,
            report_location=readable_location(result.report_uri),
            ui_command=ui_command(),
        )
    return DONE if result.passed else GATE_FAILED


def default_name(model_uri: str) -> str:
    """Return ``fraud-onnx`` for ``models:/fraud/3`` and ``models:/fraud@champion``.

    Raises ConfigurationError for a URI without a registered name.
    """
    named = re.fullmatch(r"models:/(?!m-)([^/@]+)[/@].+", model_uri)
    if named is None:
        raise ConfigurationError(
            f"{model_uri!r} has no registered name to derive one from; give --registered-model NAME"
            " (or -P registered_model=NAME)"
        )
    return f"{named[1]}-onnx"


def readable_location(uri: str) -> str:
    """Return the path of a file on this machine, and any other URI unchanged."""
    return uri.removeprefix("file://")


def ui_command() -> str:
    """Return the command that opens the MLflow UI on the store in use, or a server's address."""
    import mlflow

    uri = mlflow.get_tracking_uri()
    return uri if uri.startswith("http") else f"{_mlflow_command()} ui --backend-store-uri {uri}"


def _mlflow_command() -> str:
    """Return ``mlflow`` in an activated environment, else a path that a person can type."""
    command = Path(sys.executable).with_name("mlflow")
    if os.environ.get("VIRTUAL_ENV") == sys.prefix or not command.exists():
        return "mlflow"
    return os.path.relpath(command) if command.is_relative_to(Path.cwd()) else str(command)
