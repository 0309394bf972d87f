"""`mlflow-onnx export`, `import` and `targets`: their options, and what they do."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from mlflow_onnx_flavor.cli.ending import DONE
from mlflow_onnx_flavor.errors import ConfigurationError

AddVerb = Callable[[str, str], argparse.ArgumentParser]


def add_parsers(verb: AddVerb, file_help: str) -> None:
    """The verbs' options.  ``verb``: adds one by its name and a line on it."""
    export = verb("export", "write a model for another framework, or as text, and prove it")
    export.add_argument("model_uri", metavar="MODEL_URI", help="model URI, folder or .onnx file")
    export.add_argument("--to", metavar="TARGET", required=True, help="see mlflow-onnx targets")
    export.add_argument("--output", metavar="DIR", required=True, help="a folder, not there yet")
    export.add_argument("--data", metavar="FILE", help=file_help)
    export.add_argument("--config", metavar="FILE", help="whose gates.parity the target must pass")
    export.add_argument(
        "--fix", metavar="AXIS=SIZE", action="append", help="fix an open axis, such as batch=1"
    )
    export.add_argument("--precision", choices=("float32", "float16"), default="float32")
    export.add_argument("--registered-model", metavar="NAME", help="log it, and register it so")

    back = verb("import", "write a graph that was exported as text as an ONNX file again")
    back.add_argument("file", metavar="FILE", help="JSON, textproto or ONNX text")
    back.add_argument("--output", metavar="FILE", required=True, help="the .onnx file to write")

    listed = verb("targets", "list the targets of export, or where a model runs")
    listed.add_argument(
        "model_uri", metavar="MODEL_URI", nargs="?", help="try every target with this model"
    )
    listed.add_argument("--data", metavar="FILE", help=file_help)


def export(arguments: argparse.Namespace) -> int:
    return export_and_print(
        arguments.model_uri,
        arguments.to,
        arguments.output,
        data=arguments.data,
        config=arguments.config,
        fix=arguments.fix or (),
        precision=arguments.precision,
        registered_model=arguments.registered_model,
        json=arguments.json,
        quiet=arguments.quiet,
    )


def export_and_print(
    model_uri: str,
    to: str,
    output: str,
    *,
    data: str | None = None,
    config: str | None = None,
    fix: Sequence[str] = (),
    precision: str = "float32",
    registered_model: str | None = None,
    json: bool = False,
    quiet: bool = False,
) -> int:
    """Export, print what was done, and return the exit status."""
    from mlflow_onnx_flavor.configuration_file import read_configuration
    from mlflow_onnx_flavor.pipeline.export import export as run_export
    from mlflow_onnx_flavor.reporting.console import Progress

    with Progress(quiet=quiet)(f"exporting to {to}"):
        exported = run_export(
            model_uri,
            to,
            output,
            data=data or None,
            fix=axes(fix),
            precision=precision,
            registered_model=registered_model or None,
            configuration=read_configuration(config or None),
        )
    if json:
        _print_json(
            {
                "path": str(exported.path),
                "model_uri": exported.model_uri,
                "version": exported.version,
                "report": exported.report.model_dump(mode="json"),
            }
        )
        return DONE
    _print_table([exported.report])
    for name, count in exported.report.replaced.items():
        print(f"rewritten in ordinary operators: {count} {name}")
    for name, texts in exported.report.labels.items():
        print(f"output {name!r} holds positions of: {', '.join(texts)}")
    print(exported.path)
    if exported.model_uri:
        registered = f", version {exported.version}" if exported.version else ""
        print(f"logged as {exported.model_uri}{registered}")
    return DONE


def import_(arguments: argparse.Namespace) -> int:
    from mlflow_onnx_flavor.pipeline.export import import_graph

    path = import_graph(arguments.file, arguments.output)
    if arguments.json:
        _print_json({"path": str(path)})
    else:
        print(path)
    return DONE


def targets(arguments: argparse.Namespace) -> int:
    if arguments.model_uri:
        return _where_it_runs(arguments)
    from mlflow_onnx_flavor import targets as known
    from mlflow_onnx_flavor.formatting.text import plain_table

    described = [
        {
            "name": name,
            "description": known.get(name).description,
            "needs": list(known.get(name).modules),
            "installed": known.is_installed(name),
            "cannot": known.get(name).cannot,
        }
        for name in known.names()
    ]
    if arguments.json:
        _print_json(described)
        return DONE
    rows = [
        (
            each["name"],
            each["description"],
            ", ".join(each["needs"]) or "-",
            "yes" if each["installed"] else "no",
            each["cannot"],
        )
        for each in described
    ]
    print(plain_table(("target", "what it is", "needs", "installed", "cannot have"), rows))
    return DONE


def _where_it_runs(arguments: argparse.Namespace) -> int:
    from mlflow_onnx_flavor.pipeline.export import where_it_runs
    from mlflow_onnx_flavor.reporting.console import Progress

    with Progress(quiet=arguments.quiet)("trying every target"):
        reports = where_it_runs(arguments.model_uri, data=arguments.data)
    if arguments.json:
        _print_json([each.model_dump(mode="json") for each in reports])
    else:
        _print_table(reports)
    return DONE


def axes(texts: Sequence[str]) -> dict[str, int]:
    """Sizes by the name of their axis, from ``AXIS=SIZE`` each."""
    return dict(map(_axis, texts))


def _axis(text: str) -> tuple[str, int]:
    name, _, size = text.partition("=")
    if not name or not size.isdigit() or int(size) < 1:
        raise ConfigurationError(f"--fix takes AXIS=SIZE, such as batch=1, not {text!r}")
    return name, int(size)


def _print_table(reports: Sequence) -> None:
    from mlflow_onnx_flavor.formatting.text import plain_table
    from mlflow_onnx_flavor.targets.report import HEADINGS, table_rows

    print("Where this model runs:")
    print(plain_table(HEADINGS, table_rows(list(reports))))


def _print_json(document: object) -> None:
    from mlflow_onnx_flavor.cli.parser import print_json

    print_json(document)
