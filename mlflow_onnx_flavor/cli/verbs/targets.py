"""`mlflow-onnx targets`: list the targets of export, or try all of them with a model."""

from __future__ import annotations

import argparse

from mlflow_onnx_flavor.cli import options
from mlflow_onnx_flavor.cli.ending import DONE
from mlflow_onnx_flavor.cli.printing import print_json, print_where_it_runs

HELP = "list the targets of export, or where a model runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    options.add_model_uri(parser, nargs="?")
    options.add_data(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the verb and return the exit status."""
    if not arguments.model_uri:
        return _list(arguments.json)
    from mlflow_onnx_flavor.pipeline.export import where_it_runs
    from mlflow_onnx_flavor.reporting.console import Progress

    with Progress(quiet=arguments.quiet)("trying every target"):
        reports = where_it_runs(arguments.model_uri, data=arguments.data)
    if arguments.json:
        print_json([each.model_dump(mode="json") for each in reports])
    else:
        print_where_it_runs(reports)
    return DONE


def _list(as_json: bool) -> int:
    from mlflow_onnx_flavor import targets
    from mlflow_onnx_flavor.formatting.text import plain_table

    described = [
        {
            "name": name,
            "description": targets.get(name).description,
            "needs": list(targets.get(name).modules),
            "installed": targets.is_installed(name),
            "cannot": targets.get(name).cannot,
        }
        for name in targets.names()
    ]
    if as_json:
        print_json(described)
        return DONE
    rows = [
        (
            target["name"],
            target["description"],
            ", ".join(target["needs"]) or "-",
            "yes" if target["installed"] else "no",
            target["cannot"],
        )
        for target in described
    ]
    print(plain_table(("target", "what it is", "needs", "installed", "cannot have"), rows))
    return DONE
