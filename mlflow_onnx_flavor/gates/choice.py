"""Choose the candidate to register: the fastest that passes, or a simpler one that is as fast."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from mlflow_onnx_flavor.gates.latency import is_judged
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider, LatencyRow


def choose(
    passing: Sequence[str],
    rows: Sequence[LatencyRow],
    required: Sequence[ExecutionProvider],
    indifference: float,
) -> str | None:
    """Return the name of the candidate to register; None where none passes.

    ``passing``: names, the simplest first, in the configuration's order.  The fastest candidate has
    the largest geometric mean of its speed-ups over the source.  A simpler one is chosen instead
    where its mean is at most ``indifference`` (a share) behind.
    """
    speeds = {name: speed(name, rows, required) for name in passing}
    if not speeds:
        return None
    fastest = max(speeds.values())
    return next(name for name in passing if speeds[name] * (1 + indifference) >= fastest)


def speed(
    name: str, rows: Sequence[LatencyRow], required: Sequence[ExecutionProvider] | None = None
) -> float:
    """Return the geometric mean of the candidate's speed-ups over the source; 1 without any.

    ``required``: only these providers count; None counts all.
    """
    ratios = [
        row.speedup.estimate
        for row in rows
        if row.candidate == name
        and row.baseline == "source"
        and is_judged(row)
        and (required is None or row.execution_provider in required)
        and row.speedup is not None
    ]
    return float(prod(ratios) ** (1 / len(ratios))) if ratios else 1.0
