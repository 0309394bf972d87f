"""The cost of a prediction beyond onnxruntime: this flavor and MLflow's built-in flavor.

    python -m benchmarks.scoring_cost [--seconds 0.6]

Every way to call the same model runs in short blocks that take turns in random order, in one
process, with one thread of onnxruntime.  The figure is the median over blocks of the median call,
in microseconds, with the lower and upper quartile of the blocks in brackets:

- session: `InferenceSession.run` with prepared arrays
- by hand: the same, after pandas' `to_numpy` has made these arrays from a DataFrame's columns
- flavor: our scoring alone
- pyfunc: our scoring through `mlflow.pyfunc`, which checks the signature's columns
- built-in: the pyfunc of `mlflow.onnx`
- mlflow: MLflow's pyfunc with this signature in front of the session alone, with prepared arrays

The time of a pyfunc beyond "mlflow" is the flavor's own share.  It is negative if the flavor spares
MLflow the inspection of the signature of `predict`.  (With a model that does nothing in place of
the session, MLflow's code would stay in the processor's caches.)
"""

from __future__ import annotations

import argparse
import logging
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnx
import pandas as pd
from mlflow.models import infer_signature
from mlflow.pyfunc import PyFuncModel
from onnx import TensorProto, helper, numpy_helper

from mlflow_onnx_flavor import flavor, scoring
from mlflow_onnx_flavor.machine.hardware import environment

BLOCK_S = 0.01
ROWS = (1, 32, 1024)
ONE_THREAD = {"intra_op_num_threads": 1}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.6, help="for each way to ask")
    arguments = parser.parse_args()
    where = environment()
    print(f"{where.cpu}, onnxruntime {where.versions['onnxruntime']}, microseconds a call")
    with tempfile.TemporaryDirectory() as folder:
        for name, graph, rows_of in _models():
            _one_model(name, graph, rows_of, Path(folder), arguments.seconds)


def _one_model(name: str, graph, rows_of, folder: Path, seconds: float) -> None:
    for number in ROWS:
        rows = rows_of(number)
        ways = _ways(graph, rows, folder / f"{name}-{number}")
        measured = _in_turns(ways, seconds)
        session = measured["session"][1]
        print(f"\n{name}, {number:,} rows")
        for way, (low, middle, high) in measured.items():
            print(
                f"  {way:<10} {middle:9.1f} [{low:.1f}, {high:.1f}]"
                f"  {middle - session:+9.1f} on the session"
            )
        floor = measured["mlflow"][1]
        shares = {
            way: measured[way][1] - floor for way in ("pyfunc", "built-in") if way in measured
        }
        said = ", ".join(f"{way} {share:+.1f}" for way, share in shares.items())
        print(f"  the flavor's own share: {said}")


def _ways(graph, rows: Any, folder: Path) -> dict[str, Callable[[], Any]]:
    options = {"session_options": ONE_THREAD}
    signature = infer_signature(rows)
    flavor.save_model(
        graph, folder / "ours", signature=signature, session_options=ONE_THREAD, pip_requirements=[]
    )
    mlflow.onnx.save_model(
        graph,
        str(folder / "built-in"),
        signature=signature,
        onnx_session_options=ONE_THREAD,
        pip_requirements=[],
    )
    alone = scoring.load_session(str(folder / "ours"), options)
    ours = mlflow.pyfunc.load_model(str(folder / "ours"))
    built_in = mlflow.pyfunc.load_model(str(folder / "built-in"))
    feeds, run = alone.feeds(rows), alone.session.run
    session = PyFuncModel(ours.metadata, _Session(run, feeds))
    ways = {
        "session": lambda: run(None, feeds),
        "by hand": lambda: run(None, _by_hand(rows, feeds)),
        "flavor": lambda: alone.predict(rows),
        "pyfunc": lambda: ours.predict(rows),
        "built-in": lambda: built_in.predict(rows),
        "mlflow": lambda: session.predict(rows),
    }
    if not isinstance(rows, pd.DataFrame):
        del ways["by hand"]
    for name, ask in list(ways.items()):
        try:
            ask()
        except Exception as error:  # inputs that a flavor does not accept are a part of the result
            print(f"  {name}: {str(error).splitlines()[0][:100]}")
            del ways[name]
    return ways


def _by_hand(rows: pd.DataFrame, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays as a user would prepare them: one matrix, or one array per column."""
    if len(feeds) == 1:
        return {next(iter(feeds)): rows.to_numpy(dtype=np.float32)}
    return {
        name: rows[name].to_numpy(dtype=array.dtype).reshape(-1, 1) for name, array in feeds.items()
    }


class _Session:
    """A model that ignores its inputs and runs its session on prepared arrays."""

    def __init__(self, run: Callable[..., Any], feeds: dict[str, np.ndarray]):
        self._run, self._feeds = run, feeds

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        return self._run(None, self._feeds)


def _in_turns(ways: dict[str, Callable[[], Any]], seconds: float) -> dict[str, np.ndarray]:
    """Return the quartiles of the blocks' medians, in microseconds."""
    blocks: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(max(int(seconds / BLOCK_S), 8)):
        for name in random.sample(list(ways), len(ways)):
            blocks[name].append(_block(ways[name]))
    return {name: np.quantile(values, (0.25, 0.5, 0.75)) for name, values in blocks.items()}


def _block(ask: Callable[[], Any]) -> float:
    times = []
    end = time.perf_counter() + BLOCK_S
    ask()
    while len(times) < 3 or time.perf_counter() < end:
        begun = time.perf_counter_ns()
        ask()
        times.append(time.perf_counter_ns() - begun)
    return float(np.median(times)) / 1e3


def _models() -> Iterator[tuple[str, onnx.ModelProto, Callable[[int], Any]]]:
    generator = np.random.default_rng(0)

    def array(rows: int) -> np.ndarray:
        return generator.normal(size=(rows, 10)).astype(np.float32)

    def frame(rows: int) -> pd.DataFrame:
        return pd.DataFrame(array(rows), columns=[f"c{number}" for number in range(10)])

    def mixed(rows: int) -> pd.DataFrame:
        numbers = frame(rows).iloc[:, :6]
        for number in range(4):
            numbers[f"t{number}"] = generator.choice(["red", "green", "blue"], rows)
        return numbers

    def image(rows: int) -> np.ndarray:
        return generator.normal(size=(rows, 3, 32, 32)).astype(np.float32)

    yield "array of ten", _dense(generator), array
    yield "frame of ten floats", _dense(generator), frame
    yield "frame of six floats and four texts", _mixed(generator), mixed
    yield "image of 3 x 32 x 32", _image(generator), image


def _dense(generator) -> onnx.ModelProto:
    weights = numpy_helper.from_array(generator.normal(size=(10, 4)).astype(np.float32), "w")
    return _model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 10])],
        ["rows", 4],
        [weights],
    )


def _mixed(generator) -> onnx.ModelProto:
    """Return a graph with one input per column; texts become codes, and all are added."""
    floats = [f"c{number}" for number in range(6)]
    texts = [f"t{number}" for number in range(4)]
    nodes = [
        helper.make_node(
            "LabelEncoder",
            [name],
            [f"{name}_code"],
            domain="ai.onnx.ml",
            keys_strings=["red", "green", "blue"],
            values_floats=[1.0, 2.0, 3.0],
        )
        for name in texts
    ]
    columns = [*floats, *(f"{name}_code" for name in texts)]
    nodes.append(helper.make_node("Sum", columns, ["y"]))
    inputs = [
        helper.make_tensor_value_info(
            name, TensorProto.FLOAT if name in floats else TensorProto.STRING, ["rows", 1]
        )
        for name in [*floats, *texts]
    ]
    return _model(nodes, inputs, ["rows", 1], [])


def _image(generator) -> onnx.ModelProto:
    weights = numpy_helper.from_array(generator.normal(size=(8, 3, 3, 3)).astype(np.float32), "w")
    return _model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2]),
            helper.make_node("GlobalAveragePool", ["c"], ["p"]),
            helper.make_node("Flatten", ["p"], ["y"]),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 3, 32, 32])],
        ["rows", 8],
        [weights],
    )


def _model(nodes, inputs, shape, weights) -> onnx.ModelProto:
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "graph", inputs, [output], weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


if __name__ == "__main__":
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    main()
