"""`make demo`: train a real model, then release it with `mlflow run .` as a user would."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

EXAMPLES = {
    "sklearn": "penguins_sklearn",
    "pytorch": "digits_pytorch",
    "tensorflow": "wine_tensorflow",
    "xgboost": "breast_cancer_xgboost",
    "lightgbm": "diabetes_lightgbm",
}
PROJECT = Path(__file__).resolve().parent.parent
EXPERIMENT = "demo"
CONFIGURATION = "examples/demo.yaml"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--framework", choices=EXAMPLES, default="sklearn")
    parser.add_argument("--folder", type=Path, default=PROJECT / "demo-mlflow")
    arguments = parser.parse_args()
    begun = time.perf_counter()

    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    _use_store(folder)
    print(f"1. Training with {arguments.framework} ...", flush=True)
    example = importlib.import_module(f"examples.{EXAMPLES[arguments.framework]}.train")
    trained = example.train(folder)
    print(f"   {trained.description}\n   logged as {trained.model_uri}\n", flush=True)

    name = EXAMPLES[arguments.framework].rpartition("_")[0].replace("_", "-") + "-onnx"
    command = [
        *(_mlflow(), "run", ".", "--env-manager", "local", "--experiment-name", EXPERIMENT),
        *("-P", f"model_uri={trained.model_uri}"),
        *("-P", f"registered_model={name}"),
        *("-P", f"data={trained.evaluation}"),
        *("-P", f"config={CONFIGURATION}"),
    ]
    shown = " ".join(["mlflow", *command[1:]])
    print(f"2. {shown}\n", flush=True)
    # mlflow.set_experiment put the experiment's id into the environment; the command sets its name.
    environment = {name: os.environ[name] for name in os.environ if name != "MLFLOW_EXPERIMENT_ID"}
    status = subprocess.run(command, cwd=PROJECT, env=environment, check=False).returncode
    if status == 0:
        print(f"\nDone in {time.perf_counter() - begun:.0f} s, training included.")
    return status


def _use_store(folder: Path) -> None:
    """Set up a SQLite store for the demo, used by this process and by the release."""
    import mlflow

    uri = f"sqlite:///{folder / 'mlflow.db'}"
    os.environ["MLFLOW_TRACKING_URI"] = uri
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(uri)
    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        mlflow.create_experiment(EXPERIMENT, artifact_location=(folder / "artifacts").as_uri())
    mlflow.set_experiment(EXPERIMENT)


def _mlflow() -> str:
    """Return the mlflow command of this environment, even if it is not activated."""
    beside = Path(sys.executable).parent / "mlflow"
    os.environ["PATH"] = f"{beside.parent}{os.pathsep}{os.environ['PATH']}"
    return str(beside) if beside.exists() else shutil.which("mlflow") or "mlflow"


if __name__ == "__main__":
    sys.exit(main())
