"""Parameters from `mlflow run`, and the exit status, for every entry point."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence

from mlflow_onnx_flavor.cli.ending import DONE, run_guarded
from mlflow_onnx_flavor.schemas.configuration import Configuration


def parsed(
    description: str, required: Sequence[str] = (), optional: Sequence[str] = ()
) -> argparse.Namespace:
    """Return the parameters of an entry point; MLflow passes "" for a parameter without a value."""
    parser = argparse.ArgumentParser(description=description)
    for name in required:
        parser.add_argument(_option(name), required=True)
    for name in optional:
        parser.add_argument(_option(name), default="")
    return parser.parse_args()


def several(text: str) -> list[str]:
    """Return the comma-separated entries of a parameter; commas within JSON do not separate."""
    found, rest = [], text.strip()
    while rest:
        end = _end_of_entry(rest)
        found.append(rest[:end].strip())
        rest = rest[end:].lstrip(" ,")
    return [each for each in found if each]


def _end_of_entry(text: str) -> int:
    if not text.startswith("{"):
        return text.find(",") if "," in text else len(text)
    try:
        return json.JSONDecoder().raw_decode(text)[1]
    except json.JSONDecodeError:  # the reader of the entry reports the error
        return len(text)


def configuration_of(arguments: argparse.Namespace) -> Configuration:
    """Return the configuration, with the alias of the command line if there is one."""
    from mlflow_onnx_flavor.configuration_file import overridden, read_configuration

    return overridden(
        read_configuration(arguments.config or None), alias=getattr(arguments, "alias", None)
    )


def end(step: Callable[[], str]) -> None:
    """Run ``step``, print the text that it returns, and exit with a status of `cli.ending`."""

    def work() -> int:
        print(step())
        return DONE

    sys.exit(run_guarded(work))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
