"""The cost of float64 rows for trees behind a scaler, which the converter requires.

    python -m benchmarks.rounded_rows

A scaler and a forest (and XGBoost's trees) are exported twice: on float64 rows, as the conversion
does, and on float32 rows without the check in `frameworks.sklearn.converters.rounded_rows` that
refuses them, so that the outputs may differ.  Both run in turns in one process; the output is the
ratio float64 / float32 of their times, as the median and the middle half of the rounds.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import onnxruntime
import skl2onnx

BATCH_SIZES = (1, 32, 1000)
ROUNDS, CALLS = 60, 20
COLUMNS = 20


def main() -> None:
    warnings.filterwarnings("ignore")
    print("model           batch   float32 us   float64 us    ratio   middle half")
    for name, model in _models():
        sessions = [_session(model, dtype) for dtype in (np.float32, np.float64)]
        for batch in BATCH_SIZES:
            rows = np.random.default_rng(1).normal(size=(batch, COLUMNS))
            narrow, wide = _in_turn(sessions, rows)
            low, ratio, high = np.percentile(wide / narrow, (25, 50, 75))
            times = f"{np.median(narrow):>13.1f}{np.median(wide):>13.1f}"
            print(f"{name:<15}{batch:>6}{times}{ratio:>9.2f}   {low:.2f} to {high:.2f}")


def _models() -> list[tuple[str, Any]]:
    import xgboost
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    generator = np.random.default_rng(0)
    rows = generator.normal(size=(2000, COLUMNS))
    target = (rows[:, :3].sum(axis=1) + generator.normal(size=2000) > 0).astype(int)
    trees = {
        "forest of 100": RandomForestClassifier(100, max_depth=8, random_state=0),
        "XGBoost of 100": xgboost.XGBClassifier(n_estimators=100),
    }
    return [
        (name, make_pipeline(StandardScaler(), each).fit(rows, target))
        for name, each in trees.items()
    ]


def _session(model: Any, dtype: Any) -> onnxruntime.InferenceSession:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    from mlflow_onnx_flavor.frameworks.boosting.steps import register_boosted_steps
    from mlflow_onnx_flavor.frameworks.sklearn.framework import target_opset

    register_boosted_steps(model)
    # Float32 is not refused here, since nothing marks the rows as rounded from float64.
    kind = FloatTensorType if dtype == np.float32 else DoubleTensorType
    exported = skl2onnx.to_onnx(
        model,
        initial_types=[("rows", kind([None, COLUMNS]))],
        options={id(model.steps[-1][1]): {"zipmap": False}},
        target_opset=target_opset(),
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        exported.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _in_turn(sessions: list[onnxruntime.InferenceSession], rows: np.ndarray) -> list[np.ndarray]:
    """Return the microseconds per call in each round, for each session on rows of its dtype."""
    feeds = [{"rows": rows.astype(dtype)} for dtype in (np.float32, np.float64)]
    times: list[list[float]] = [[], []]
    for number in range(ROUNDS):
        order = (0, 1) if number % 2 else (1, 0)
        for which in order:
            begun_ns = time.perf_counter_ns()
            for _ in range(CALLS):
                sessions[which].run(None, feeds[which])
            times[which].append((time.perf_counter_ns() - begun_ns) / CALLS / 1e3)
    return [np.asarray(each) for each in times]


if __name__ == "__main__":
    main()
