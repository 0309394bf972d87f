"""Options that several verbs share, and the configuration that results from them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow_onnx_flavor.schemas.configuration import Configuration

FILE_HELP = (
    "evaluation data: a Parquet, CSV, Arrow or npz file (one array per input name), a folder of"
    " Parquet files, a Delta table, a Hugging Face data set, an artifact URI, or runs:/RUN_ID for"
    " the data set that a run logged"
)


def common() -> argparse.ArgumentParser:
    """Return a parser with the options of every verb."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--json",
        action="store_true",
        help="one JSON document on standard output, all else on standard error",
    )
    common.add_argument("--tracking-uri", metavar="URI", help="default: MLFLOW_TRACKING_URI")
    common.add_argument("--quiet", action="store_true", help="no progress")
    return common


def add_model_uri(parser: argparse.ArgumentParser, **settings: Any) -> None:
    """Add the argument for the model that a verb works on."""
    parser.add_argument(
        "model_uri",
        metavar="MODEL_URI",
        help="models:/NAME/VERSION, models:/NAME@ALIAS, runs:/RUN_ID/NAME or a folder",
        **settings,
    )


def add_compared(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the two models that are compared."""
    parser.add_argument("source", metavar="SOURCE", help="model URI, folder or .onnx file")
    parser.add_argument("candidate", metavar="CANDIDATE", help="as SOURCE")


def add_registered_model(parser: argparse.ArgumentParser) -> None:
    """Add the argument for the name of a registered model."""
    parser.add_argument("registered_model", metavar="NAME")


def add_version(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for a version of a registered model."""
    add_registered_model(parser)
    parser.add_argument("version", metavar="VERSION")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the option for the evaluation data."""
    parser.add_argument("--data", metavar="FILE", help=FILE_HELP)


def add_measuring(parser: argparse.ArgumentParser) -> None:
    """Add the options of a measurement: data, configuration, providers and source."""
    add_data(parser)
    parser.add_argument("--config", metavar="FILE", help="YAML or JSON; every key is optional")
    parser.add_argument(
        "--execution-provider",
        metavar="EP",
        action="append",
        help="name, or JSON with name and options; may be repeated, the first is served on",
    )
    add_source(parser)


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add the options for running the source model."""
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


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the trusted signers."""
    parser.add_argument(
        "--public-key", metavar="FILE", help="the key whose signature is wanted (PEM)"
    )
    parser.add_argument(
        "--certificate-chain",
        metavar="FILE",
        action="append",
        help="the certificates that vouch for the signer (PEM)",
    )
    parser.add_argument("--identity", metavar="NAME", help="who signs through sigstore")
    parser.add_argument("--oidc-issuer", metavar="URL", help="who vouches for that identity")


def add_alias(parser: argparse.ArgumentParser) -> None:
    """Add the option for the alias that moves."""
    parser.add_argument("--alias", metavar="ALIAS", help="default: champion")


def source_configuration(arguments: argparse.Namespace) -> Configuration:
    """Return the default configuration, overridden by the options of `add_source`."""
    from mlflow_onnx_flavor.configuration_file import overridden
    from mlflow_onnx_flavor.schemas.configuration import Configuration

    return overridden(
        Configuration(), source_env=arguments.source_env, scan_source=arguments.scan_source
    )


def measuring_configuration(arguments: argparse.Namespace) -> Configuration:
    """Return the configuration file's settings, overridden by the options of `add_measuring`."""
    from mlflow_onnx_flavor.configuration_file import overridden, read_configuration

    return overridden(
        read_configuration(arguments.config),
        execution_providers=arguments.execution_provider,
        source_env=arguments.source_env,
        scan_source=arguments.scan_source,
    )


def trust_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the trusted signers that the command line names; empty where it names none."""
    given = {
        "public_key": arguments.public_key,
        "certificate_chain": arguments.certificate_chain,
        "identity": arguments.identity,
        "oidc_issuer": arguments.oidc_issuer,
    }
    known = {name: value for name, value in given.items() if value}
    if known or getattr(arguments, "require_signature", False):
        known["require_signature"] = True
    return known
