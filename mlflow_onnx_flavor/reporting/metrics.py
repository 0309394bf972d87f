"""The evidence as flat MLflow metrics, to compare between runs and to plot in the UI.

Names read ``what.candidate.provider.batch_n``, such as
``speedup.fused.CPUExecutionProvider.batch_32``; units are part of the name.
"""

from __future__ import annotations

import math
import re
import statistics

from mlflow_onnx_flavor.formatting.provider_names import ProviderNames
from mlflow_onnx_flavor.gates import is_judged
from mlflow_onnx_flavor.reporting import headline
from mlflow_onnx_flavor.reporting.tables import parity as tables
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider, LatencyRow, ParityRow
from mlflow_onnx_flavor.schemas.summary import ReleaseSummary

LONGEST_NAME = 250  # MLflow's limit


def metrics(summary: ReleaseSummary) -> dict[str, float]:
    """Return metric values by name.

    Names are valid in MLflow; NaN is left out, which no backend plots.
    """
    found: dict[str, float] = {}
    names = ProviderNames(summary)
    for row in summary.parity.rows if summary.parity else ():
        _add_worst(found, _parity_metrics(row, names, summary))
    for measured in _latency_rows(summary):
        found |= _speedup_metrics(measured, names)
    for name, values in _call_metrics(summary, names).items():
        found[name] = statistics.median_low(values)
    for load in summary.latency.loads if summary.latency else ():
        where = _where(load.model, load.execution_provider, names)
        where += "" if load.threads is None else f".threads_{load.threads}"
        found[f"load_seconds.{where}"] = load.figures.load_seconds
        found[f"first_call_ms.{where}"] = load.figures.first_call_ms
        found[f"peak_memory_mb.{where}"] = load.figures.peak_memory_bytes / 1e6
        found[f"size_mb.{load.model}"] = load.figures.size_bytes / 1e6
    for capacity in summary.latency.capacities if summary.latency else ():
        if capacity.highest_per_second is not None:
            where = _where(capacity.model, capacity.execution_provider, names)
            found[f"highest_queries_per_second.{where}"] = capacity.highest_per_second
    if summary.verdict is not None:
        found["passed"] = float(headline.outcome(summary) == "passed")
        found["gates_failed"] = len(summary.verdict.failures())
    if summary.conversion is not None:
        found["conversion_seconds"] = summary.conversion.seconds
        found["conversion_attempts"] = sum(
            attempt.outcome != "not tried" for attempt in summary.conversion.attempts
        )
    for step in summary.steps:
        found[f"step_seconds.{step.name}"] = step.seconds
    return {
        metric_name(name): float(value) for name, value in found.items() if not math.isnan(value)
    }


def _where(model: str, provider: ExecutionProvider | None, names: ProviderNames) -> str:
    return f"{model}.{names.key(provider)}" if provider else model


def metric_name(text: str) -> str:
    """Return ``text`` as MLflow accepts it: letters, digits, ``_ - .``, no empty part."""
    parts = (re.sub(r"[^A-Za-z0-9_-]", "_", part) for part in text.split("."))
    return ".".join(part or "_" for part in parts)[:LONGEST_NAME].rstrip(".")


def _parity_metrics(
    row: ParityRow, names: ProviderNames, summary: ReleaseSummary
) -> dict[str, float]:
    where = f"{row.candidate}.{names.key(row.execution_provider)}.batch_{row.batch_size}"
    scores = [output for output in row.outputs if output.kind == "scores"]
    labels = [output for output in row.outputs if output.kind == "labels"]
    found = {}
    if scores:
        found[f"max_error.{where}"] = max(output.max_absolute_error for output in scores)
        found[f"p999_error.{where}"] = max(output.p999_absolute_error for output in scores)
        found[f"max_relative_error.{where}"] = max(output.max_relative_error for output in scores)
    if labels:
        found[f"label_disagreements.{where}"] = max(o.label_disagreements for o in labels)
    if row.outputs:
        differ = (tables.rows_that_differ(output, summary) for output in row.outputs)
        found[f"rows_that_differ.{where}"] = max(differ)
    return found


def _add_worst(found: dict[str, float], row: dict[str, float]) -> None:
    """Add the metrics of a row; where a name exists, the worse value counts.

    Evaluation data and input example share a name at the same batch size.
    """
    for name, value in row.items():
        found[name] = max(value, found.get(name, value))


def _speedup_metrics(row: LatencyRow, names: ProviderNames) -> dict[str, float]:
    if row.speedup is None:
        return {}
    where = f"{row.candidate}.{names.key(row.execution_provider)}.{_workload(row)}"
    name = "speedup" if row.baseline == "source" else f"speedup_over_{row.baseline}"
    ratios = {name: row.speedup, f"p99_{name}": row.p99_speedup}
    return {
        f"{name}{end}.{where}": value
        for name, ratio in ratios.items()
        if ratio is not None
        for end, value in (("", ratio.estimate), ("_low", ratio.low), ("_high", ratio.high))
    }


def _latency_rows(summary: ReleaseSummary) -> list[LatencyRow]:
    """Return the latency rows of the candidates as they are served."""
    return [row for row in (summary.latency.rows if summary.latency else ()) if is_judged(row)]


def _workload(row: LatencyRow) -> str:
    length = "" if row.sequence_length is None else f".length_{row.sequence_length}"
    return f"batch_{row.batch_size}{length}"


def _call_metrics(summary: ReleaseSummary, names: ProviderNames) -> dict[str, list[float]]:
    """Return every measurement by name: a baseline is measured anew against each candidate."""
    found: dict[str, list[float]] = {}
    for row in _latency_rows(summary):
        place = f"{names.key(row.execution_provider)}.{_workload(row)}"
        for whose, figures in (
            (row.candidate, row.candidate_figures),
            (row.baseline, row.baseline_figures),
        ):
            if figures is not None:
                where = f"{whose}.{place}"
                found.setdefault(f"p50_ms.{where}", []).append(figures.p50_ms)
                found.setdefault(f"p90_ms.{where}", []).append(figures.p90_ms)
                found.setdefault(f"p99_ms.{where}", []).append(figures.p99_ms)
                rate = figures.throughput_rows_per_second
                found.setdefault(f"rows_per_second.{where}", []).append(rate)
    return found
