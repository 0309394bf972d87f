"""A CI job: retrain, release, and report through the exit status and JUnit XML.

    python -m examples.ci_retraining.retrain --results results

The exit status is that of `mlflow-onnx release`: 0 promoted, 1 an error, 3 a gate failed, 4 not
convertible.  MLFLOW_TRACKING_URI names the registry.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from pathlib import Path

from examples.breast_cancer_xgboost.train import train

CONFIGURATION = Path(__file__).with_name("release.yaml")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--registered-model", default="breast-cancer-onnx")
    arguments = parser.parse_args()
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    arguments.results.mkdir(parents=True, exist_ok=True)

    trained = train(arguments.results)
    print(trained.description, flush=True)
    summary = arguments.results / "release.json"
    with summary.open("w", encoding="utf-8") as output:
        finished = subprocess.run(
            [
                *(sys.executable, "-m", "mlflow_onnx_flavor.cli", "release", trained.model_uri),
                *("--registered-model", arguments.registered_model),
                *("--data", str(trained.evaluation), "--config", str(CONFIGURATION)),
                *("--junit", str(arguments.results / "junit.xml"), "--json"),
            ],
            stdout=output,
            check=False,
        )
    print(f"release ended with status {finished.returncode}; details in {arguments.results}/")
    return finished.returncode


if __name__ == "__main__":
    sys.exit(main())
