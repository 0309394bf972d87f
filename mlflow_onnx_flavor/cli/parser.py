"""The verbs and their options, in one place; what they do is in `verbs.py`, imported when run."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from typing import NoReturn

from mlflow_onnx_flavor._version import __version__

FILE_HELP = (
    "evaluation data: a Parquet, CSV, Arrow or npz file (one array per input name), a folder of"
    " Parquet files, a Delta table, a Hugging Face data set, an artifact URI, or runs:/RUN_ID for"
    " the data set that a run logged"
)
EXIT_STATUSES = (
    "exit status: 0 done, and promoted if that was asked; 1 an error; 2 wrong usage;"
    " 3 a gate failed; 4 the model cannot be converted"
)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlflow-onnx",
        description="Release MLflow models as verified ONNX.",
        epilog=EXIT_STATUSES,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    common = _common()

    def verb(name: str, help: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(
            name, help=help, description=help, parents=[common], epilog=EXIT_STATUSES
        )
        added.set_defaults(verb=_deferred(name), name=name)
        return added

    release = verb("release", "convert, prove, register and promote a model")
    _model_uri(release, nargs="?")
    release.add_argument("--registered-model", metavar="NAME", help="default: NAME-onnx")
    _measuring(release)
    _alias(release)
    release.add_argument("--no-promote", action="store_true", help="register, but move no alias")
    release.add_argument("--dry-run", action="store_true", help="measure, but change no registry")
    release.add_argument(
        "--fresh", action="store_true", help="do all anew, also what an earlier release finished"
    )
    release.add_argument("--junit", metavar="FILE", help="also write the verdict as JUnit XML")
    release.add_argument(
        "--print-config", action="store_true", help="print the default configuration as YAML"
    )

    convert = verb("convert", "convert a model to ONNX, into a folder")
    _model_uri(convert)
    convert.add_argument("--output", metavar="DIR", required=True, help="where model.onnx goes")
    convert.add_argument("--data", metavar="FILE", help=FILE_HELP)
    _source_options(convert)

    explain = verb("explain", "try a conversion: which strategy works, or what is in the way")
    _model_uri(explain)
    explain.add_argument("--data", metavar="FILE", help=FILE_HELP)
    _source_options(explain)

    for name, help in (
        ("parity", "measure whether two models give the same answers"),
        ("latency", "measure how much faster a candidate is than its source"),
    ):
        compare = verb(name, help)
        compare.add_argument("source", metavar="SOURCE", help="model URI, folder or .onnx file")
        compare.add_argument("candidate", metavar="CANDIDATE", help="as SOURCE")
        _measuring(compare)
        if name == "parity":
            compare.add_argument(
                "--worst-inputs",
                metavar="DIR",
                help="write the rows that disagree most there, as a file to give as --data",
            )
            compare.add_argument(
                "--resume",
                metavar="FILE",
                help="of large data: keeps how far it came, and goes on there",
            )
        if name == "latency":
            compare.add_argument("--batch-size", metavar="N", type=int, action="append")

    verb("providers", "list the execution providers of this machine")

    promote = verb("promote", "move an alias to a version whose evidence passes")
    promote.add_argument("registered_model", metavar="NAME")
    promote.add_argument("version", metavar="VERSION")
    _alias(promote)
    promote.add_argument("--dry-run", action="store_true", help="check, but move nothing")
    promote.add_argument(
        "--require-signature", action="store_true", help="by whom the file or these options trust"
    )
    _trusting(promote)
    promote.add_argument(
        "--config", metavar="FILE", help="its section promotion says what is asked beyond the gates"
    )

    rollback = verb("rollback", "put an alias back on the version before")
    rollback.add_argument("registered_model", metavar="NAME")
    _alias(rollback)

    history = verb("history", "list who moved which alias when")
    history.add_argument("registered_model", metavar="NAME")

    copy = verb("copy", "copy a version with its evidence to another model or server")
    copy.add_argument("registered_model", metavar="NAME")
    copy.add_argument("version", metavar="VERSION")
    copy.add_argument("--to-name", metavar="NAME", default="", help="default: the same")
    copy.add_argument("--to-tracking-uri", metavar="URI", default="", help="default: the same")

    gc = verb("gc", "list versions and candidates that nobody refers to, or remove them")
    gc.add_argument("registered_model", metavar="NAME")
    gc.add_argument("--keep", metavar="N", type=int, default=3, help="newest versions; default: 3")
    gc.add_argument("--older-than-days", metavar="DAYS", type=float, default=30, help="default: 30")
    gc.add_argument("--delete", action="store_true", help="remove what is listed")

    verify = verb("verify", "check that a registered version is the artifact that was verified")
    _model_uri(verify)
    _trusting(verify)

    sign = verb("sign", "vouch for a registered version and its evidence with a key")
    sign.add_argument("registered_model", metavar="NAME")
    sign.add_argument("version", metavar="VERSION")
    sign.add_argument("--private-key", metavar="FILE", required=True, help="PEM; of a curve")
    sign.add_argument("--certificate", metavar="FILE", help="of that key (PEM)")
    sign.add_argument("--certificate-chain", metavar="FILE", action="append", help="of that (PEM)")
    return parser


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--json",
        action="store_true",
        help="one JSON document on standard output, all else on standard error",
    )
    common.add_argument("--tracking-uri", metavar="URI", help="default: MLFLOW_TRACKING_URI")
    common.add_argument("--quiet", action="store_true", help="no progress")
    return common


def _model_uri(parser: argparse.ArgumentParser, **options) -> None:
    parser.add_argument(
        "model_uri",
        metavar="MODEL_URI",
        help="models:/NAME/VERSION, models:/NAME@ALIAS, runs:/RUN_ID/NAME or a folder",
        **options,
    )


def _measuring(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="FILE", help=FILE_HELP)
    parser.add_argument("--config", metavar="FILE", help="YAML or JSON; every key is optional")
    parser.add_argument(
        "--execution-provider",
        metavar="EP",
        action="append",
        help="name, or JSON with name and options; may be repeated, the first is served on",
    )
    _source_options(parser)


def _source_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source-env",
        choices=("current", "recorded"),
        help="where the source model runs: in this environment (the default), or in the one that"
        " its requirements record, built with uv",
    )
    parser.add_argument(
        "--scan-source",
        action="store_true",
        help="refuse a source model whose pickles would run dangerous code, before it is loaded",
    )


def _trusting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--public-key", metavar="FILE", help="whose signature is wanted (PEM)")
    parser.add_argument(
        "--certificate-chain", metavar="FILE", action="append", help="that vouches for it (PEM)"
    )
    parser.add_argument("--identity", metavar="NAME", help="of a signer through sigstore")
    parser.add_argument("--oidc-issuer", metavar="URL", help="that vouches for that identity")


def _alias(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--alias", metavar="ALIAS", help="default: champion")


def _deferred(verb: str) -> Callable[[argparse.Namespace], int]:
    """The function of the verb, imported when it is called, under the tracking URI asked for."""

    def run(arguments: argparse.Namespace) -> int:
        if getattr(arguments, "print_config", False):
            from mlflow_onnx_flavor.configuration_file import defaults_as_yaml

            print(defaults_as_yaml(), end="")
            return 0
        if verb == "release" and arguments.model_uri is None:
            usage_error("release needs MODEL_URI (or --print-config)")
        _use_tracking_uri(arguments.tracking_uri)
        module = "release_verb" if verb == "release" else "verbs"
        return getattr(importlib.import_module(f"mlflow_onnx_flavor.cli.{module}"), verb)(arguments)

    return run


def usage_error(message: str) -> NoReturn:
    """End as argparse does: the sentence on standard error, exit status 2."""
    print(f"mlflow-onnx: error: {message}", file=sys.stderr)
    raise SystemExit(2)


def _use_tracking_uri(uri: str | None) -> None:
    if uri:
        import mlflow

        mlflow.set_tracking_uri(uri)


def print_json(document: object) -> None:
    """The one JSON document of ``--json``."""
    print(json.dumps(document, indent=2, ensure_ascii=False))
