"""The cost of a release beyond its unavoidable parts.

    python -m benchmarks.release_cost [--framework sklearn] [--runs 5]

The unavoidable parts are the imports of mlflow, of the framework and of its exporter and the
loading of the model (once in each process that must hold the source: the converter's and the one
that is timed), the export call itself, and the measurements of outputs and latency.  The rest is
ours: other processes, MLflow runs, files, reports.  The parts are read from the records of each
release; the table shows medians over the runs, with minimum and maximum.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from examples.demo import EXAMPLES

# The framework as MLflow loads it, and its exporter.
FRAMEWORK_OF = {
    "sklearn": ("mlflow.sklearn, sklearn", "skl2onnx"),
    "pytorch": ("mlflow.pytorch, torch", "torch.onnx, onnxscript"),
    "tensorflow": ("mlflow.tensorflow, tensorflow", "tf2onnx"),
    "xgboost": ("mlflow.xgboost, xgboost", "onnx"),
    "lightgbm": ("mlflow.lightgbm, lightgbm", "onnx"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--framework", choices=EXAMPLES, default="sklearn")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trained = _train(arguments.framework, Path(folder))
        runs = []
        for number in range(arguments.runs):
            runs.append(_release(trained, f"cost-{number}", _imports(arguments.framework)))
            print(f"run {number + 1} of {arguments.runs}: {runs[-1]['total']:.1f} s", flush=True)
    _print(arguments.framework, runs)


def _train(framework: str, folder: Path):
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    mlflow.create_experiment("cost", artifact_location=(folder / "artifacts").as_uri())
    mlflow.set_experiment("cost")
    return importlib.import_module(f"examples.{EXAMPLES[framework]}.train").train(folder)


def _imports(framework: str) -> dict[str, float]:
    """Return the seconds of the imports that every release needs.

    The imports of the framework are left out: they are part of the time to load the source.
    """
    loader, exporter = FRAMEWORK_OF[framework]
    with_loader = _import_seconds(f"mlflow.pyfunc, {loader}")
    with_exporter = _import_seconds(f"mlflow.pyfunc, {loader}, {exporter}")
    return {
        "importing mlflow (release, converter, timed source)": 3 * _import_seconds("mlflow.pyfunc"),
        "importing the exporter": max(with_exporter - with_loader, 0.0),
    }


def _import_seconds(modules: str) -> float:
    """Return the seconds in which a new interpreter imports ``modules``."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)
    return time.perf_counter() - begun


def _release(trained, name: str, imports: Mapping[str, float]) -> Mapping[str, float]:
    """Run a release in a new process, as `mlflow-onnx release` does; return seconds by part."""
    from mlflow_onnx_flavor.schemas.summary import ReleaseSummary

    begun = time.perf_counter()
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "mlflow_onnx_flavor.cli", "release", trained.model_uri),
            *("--registered-model", name, "--data", str(trained.evaluation), "--json", "--quiet"),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    total = time.perf_counter() - begun
    summary = ReleaseSummary.from_json(finished.stdout)
    source_load = next(row for row in summary.latency.loads if row.model == "source")
    parts = {
        **imports,
        "framework import and loading the source (twice)": 2 * source_load.figures.load_seconds,
        "export calls": summary.conversion.seconds,
        "measuring latency": summary.latency.measuring_seconds,
        "measuring parity": summary.parity.measuring_seconds,
    }
    ours = total - sum(parts.values())
    return {**parts, "everything else (ours)": ours, "total": total}


def _print(framework: str, runs: list[Mapping[str, float]]) -> None:
    print(f"\nCost of a release, {framework}, {len(runs)} runs, seconds: median [min, max]")
    for part in runs[0]:
        values = [run[part] for run in runs]
        print(
            f"  {part:<52} {statistics.median(values):7.2f} [{min(values):.2f}, {max(values):.2f}]"
        )
    shares = [run["everything else (ours)"] / run["total"] for run in runs]
    print(
        f"  ours as a share of the total: {statistics.median(shares):.1%}"
        f" [{min(shares):.1%}, {max(shares):.1%}] (aim: under 15 %)"
    )


if __name__ == "__main__":
    main()
