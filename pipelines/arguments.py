"""What every entry point shares: parameters from `mlflow run`, and how it ends."""

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
    """The parameters of an entry point; MLflow passes the empty string for one not given."""
    parser = argparse.ArgumentParser(description=description)
    for name in required:
        parser.add_argument(_option(name), required=True)
    for name in optional:
        parser.add_argument(_option(name), default="")
    return parser.parse_args()


def several(text: str) -> list[str]:
    """The entries of a parameter, set apart by commas; those within an entry's JSON are its own."""
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
    except json.JSONDecodeError:  # whoever reads the entry says what is wrong with it
        return len(text)


def configuration_of(arguments: argparse.Namespace) -> Configuration:
    """The configuration file, with the alias of the command line where one was given."""
    from mlflow_onnx_flavor.configuration_file import overridden, read_configuration

    return overridden(
        read_configuration(arguments.config or None), alias=getattr(arguments, "alias", None)
    )


def end(step: Callable[[], str]) -> None:
    """Run ``step``, print the sentence that it returns, and exit with the status of DESIGN."""

    def work() -> int:
        print(step())
        return DONE

    sys.exit(run_guarded(work))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
