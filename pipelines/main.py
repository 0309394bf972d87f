"""`mlflow run .`: the whole release, in one process."""

from __future__ import annotations

import argparse
import sys

from mlflow_onnx_flavor.cli.ending import run_guarded
from pipelines.arguments import several


def main() -> None:
    """Run a whole release with the parameters of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-uri", required=True)
    for name in ("--registered-model", "--data", "--config", "--alias", "--execution-provider"):
        parser.add_argument(name, default="")
    parser.add_argument("--source-env", choices=("", "current", "recorded"), default="")
    parser.add_argument("--promote", type=_truth, default=True)
    parser.add_argument("--dry-run", type=_truth, default=False)
    parser.add_argument("--fresh", type=_truth, default=False)
    arguments = parser.parse_args()
    sys.exit(run_guarded(lambda: _release(arguments)))


def _release(arguments: argparse.Namespace) -> int:
    from mlflow_onnx_flavor.cli.verbs.release import release_and_print

    return release_and_print(
        arguments.model_uri,
        arguments.registered_model,
        data=arguments.data,
        config=arguments.config,
        execution_providers=several(arguments.execution_provider),
        source_env=arguments.source_env,
        alias=arguments.alias,
        promote=arguments.promote,
        dry_run=arguments.dry_run,
        fresh=arguments.fresh,
    )


def _truth(text: str) -> bool:
    if text.lower() in ("true", "yes", "1"):
        return True
    if text.lower() in ("false", "no", "0", ""):
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")


if __name__ == "__main__":
    main()
