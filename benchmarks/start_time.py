"""The time from the start of a process to a model's first prediction, with and without a cache.

    python -m benchmarks.start_time

Each start is a new process, imports included, and the kinds of start take turns; the output is
medians with the middle half.  The first kind is onnxruntime alone beside `import mlflow.pyfunc`.
The environment is made for this benchmark and holds the artifact's requirements and nothing else:
MLflow's check of a model's requirements reads the metadata of every installed package, so its cost
depends on the environment.  `--python` names the interpreter of another one.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from mlflow_onnx_flavor import flavor

RAW = "import mlflow.pyfunc, numpy as np, onnxruntime as ort; s = ort.InferenceSession({file!r});"
RAW += " s.run(None, {{s.get_inputs()[0].name: np.zeros({shape}, 'float32')}})"
OURS = "import mlflow.pyfunc, numpy as np; m = mlflow.pyfunc.load_model({folder!r});"
OURS += " m.predict(np.zeros({shape}, 'float32'))"
UNCHECKED = OURS.replace("model({folder!r})", "model({folder!r}, suppress_warnings=True)")
KEPT = OURS.replace("model({folder!r})", "model({folder!r}, model_config={config!r})")


def deep_net(path: Path, layers: int, width: int) -> Path:
    net = torch.nn.Sequential(
        *(
            module
            for _ in range(layers)
            for module in (
                torch.nn.Linear(width, width),
                torch.nn.LayerNorm(width),
                torch.nn.GELU(),
            )
        )
    ).eval()
    torch.onnx.export(
        net,
        (torch.zeros(2, width),),
        str(path),
        dynamo=True,
        external_data=False,
        verbose=False,
        dynamic_shapes=({0: torch.export.Dim("rows")},),
    )
    return path


def serving_environment(folder: Path) -> str:
    """Return the interpreter of a new environment with an artifact's requirements."""
    uv, python = str(Path(sys.executable).with_name("uv")), str(folder / "bin" / "python")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python]
        + flavor.get_default_pip_requirements(),
        check=True,
    )
    return python


def starts(python: str, folder: Path, commands: dict[str, str], rounds: int):
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            begun = time.perf_counter()
            subprocess.run([python, "-c", command], check=True, capture_output=True, cwd=folder)
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def said(name: str, seconds: list[float], than: list[float]) -> None:
    low, middle, high = statistics.quantiles(seconds, n=4)
    ratio = middle / statistics.median(than)
    print(f"  {name:42} {middle:7.3f} s [{low:.3f}, {high:.3f}]  {ratio:5.2f} times the first")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--python", help="the interpreter to start")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        python = arguments.python or serving_environment(folder / "environment")
        for layers, width in ((2, 32), (60, 256)):
            file = deep_net(folder / f"{layers}.onnx", layers, width)
            saved = folder / f"model-{layers}"
            flavor.save_model(str(file), str(saved), input_example=np.zeros((1, width), np.float32))
            values = {
                "file": str(file),
                "folder": str(saved),
                "shape": (1, width),
                "config": {"cache_folder": str(folder / "kept")},
            }
            commands = {
                "onnxruntime and import mlflow.pyfunc": RAW.format(**values),
                "load_model": OURS.format(**values),
                "load_model, its requirements not checked": UNCHECKED.format(**values),
                "load_model, with a cache folder": KEPT.format(**values),
            }
            starts(python, folder, commands, 1)
            print(
                f"{layers} layers of {width}, {file.stat().st_size / 1e6:.1f} MB, process to answer"
            )
            measured = starts(python, folder, commands, arguments.rounds)
            first = next(iter(measured.values()))
            for name, seconds in measured.items():
                said(name, seconds, first)


if __name__ == "__main__":
    main()
