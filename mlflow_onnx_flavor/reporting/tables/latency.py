"""Tables of latency: ratios, paths, threads, load, offline and server scenarios."""

from __future__ import annotations

from collections.abc import Iterable

from mlflow_onnx_flavor.formatting import numbers
from mlflow_onnx_flavor.formatting.provider_names import ProviderNames
from mlflow_onnx_flavor.gates import is_judged
from mlflow_onnx_flavor.reporting.tables.parity import (
    NOTHING,
    Cell,
    Table,
    length_cell,
    status_cell,
    table,
)
from mlflow_onnx_flavor.schemas.evidence import Interval, LatencyFigures, LatencyRow, ServerRow
from mlflow_onnx_flavor.schemas.summary import ReleaseSummary
from mlflow_onnx_flavor.schemas.tuning import in_words


def latency_table(summary: ReleaseSummary) -> Table:
    """Return the table of candidates as they are served, against each baseline."""
    return _ratios(summary, (row for row in _rows(summary) if is_judged(row)))


def threads_table(summary: ReleaseSummary) -> Table:
    """Return the table of candidates with other numbers of onnxruntime's threads."""
    return _ratios(summary, (row for row in _rows(summary) if row.threads is not None))


def paths_table(summary: ReleaseSummary) -> Table:
    """Return the table of the pyfunc's overhead over onnxruntime's session alone."""
    names, rows = ProviderNames(summary), []
    served = {_place(row): row for row in _rows(summary) if is_judged(row)}
    for row in _rows(summary):
        of_pyfunc = served.get(_place(row))
        if row.path != "session" or row.candidate_figures is None or of_pyfunc is None:
            continue
        session, pyfunc = row.candidate_figures, of_pyfunc.candidate_figures
        if pyfunc is not None:
            rows.append(
                (
                    row.candidate,
                    names.full(row.execution_provider),
                    numbers.count(row.batch_size),
                    length_cell(row),
                    numbers.significant(session.p50_ms),
                    numbers.significant(pyfunc.p50_ms),
                    numbers.milliseconds(pyfunc.p50_ms - session.p50_ms, digits=2),
                    numbers.percent(max(1 - session.p50_ms / pyfunc.p50_ms, 0.0)),
                )
            )
    return table(
        ["Candidate", "Execution provider", ">Batch", ">Length", ">Session p50 ms"]
        + [">Pyfunc p50 ms", ">The pyfunc adds", ">of its time"],
        rows,
    )


def tuning_table(summary: ReleaseSummary) -> Table:
    """Return the table of session settings tried for the candidate tuned, the fastest first."""
    tried = summary.tuning.tried if summary.tuning else ()
    best = summary.tuning.best if summary.tuning else None
    return table(
        ["Session settings", ">Times as fast as the default", ">Rounds", ""],
        (
            (
                in_words(each.settings),
                NOTHING if each.times_as_fast is None else numbers.ratio(each.times_as_fast),
                numbers.count(each.rounds),
                Cell("chosen", "good") if each.settings == best else each.cause,
            )
            for each in sorted(tried, key=lambda each: (-each.rung, -(each.times_as_fast or 0)))
        ),
    )


def load_table(summary: ReleaseSummary) -> Table:
    """Return the table of loading: time, first call, peak memory and size of each model."""
    names = ProviderNames(summary)
    return table(
        [
            "Model",
            "Execution provider",
            ">Threads",
            ">Load",
            ">First call",
            ">Peak memory",
            ">Size",
        ],
        (
            (
                row.model,
                _provider(names, row),
                "" if row.threads is None else numbers.count(row.threads),
                numbers.duration(row.figures.load_seconds),
                numbers.milliseconds(row.figures.first_call_ms),
                numbers.byte_size(row.figures.peak_memory_bytes),
                numbers.byte_size(row.figures.size_bytes),
            )
            for row in (summary.latency.loads if summary.latency else ())
        ),
    )


def offline_table(summary: ReleaseSummary) -> Table:
    """Return the table of throughput by batch size, a row for each model."""
    names = ProviderNames(summary)
    reported = summary.latency.offline if summary.latency else ()
    sizes = sorted({row.batch_size for row in reported if row.status == "measured"})
    rates: dict[tuple[str, str], dict[int, str]] = {}
    for row in reported:
        of_model = rates.setdefault((row.model, _provider(names, row)), {})
        if row.status == "measured":
            of_model[row.batch_size] = numbers.significant(row.rows_per_second)
    return table(
        ["Model", "Execution provider", *(f">batch {numbers.count(size)}" for size in sizes)],
        (
            (*model, *(of_model.get(size, NOTHING) for size in sizes))
            for model, of_model in rates.items()
            if sizes
        ),
    )


def server_table(summary: ReleaseSummary) -> Table:
    """Return the table of tail latency at each rate of random arrivals, the slowest first."""
    names = ProviderNames(summary)
    reported = summary.latency.server if summary.latency else ()
    highest = {
        (each.model, _provider(names, each), each.highest_per_second)
        for each in (summary.latency.capacities if summary.latency else ())
    }
    return table(
        ["Model", "Execution provider", ">Threads", ">Queries/s", ">Answered/s", ">p50 ms"]
        + [">p90 ms", ">p99 ms", ">Queries", "Status", ""],
        (
            (
                row.model,
                _provider(names, row),
                numbers.count(row.threads),
                numbers.significant(row.arrivals_per_second),
                numbers.significant(row.answered_per_second),
                *map(numbers.significant, (row.p50_ms, row.p90_ms, row.p99_ms)),
                numbers.count(row.queries),
                status_cell(row),
                "the highest within the budget"
                if (row.model, _provider(names, row), row.arrivals_per_second) in highest
                else "cut short: it cannot keep up"
                if row.cut
                else row.cause,
            )
            for row in sorted(reported, key=_rate)
        ),
    )


def capacity_lines(summary: ReleaseSummary) -> list[str]:
    """Return in sentences the highest rate of each model that keeps the tail within the budget."""
    names, lines = ProviderNames(summary), []
    for each in summary.latency.capacities if summary.latency else ():
        if each.highest_per_second is None:
            continue
        where = f" on {_provider(names, each)}" if each.execution_provider else ""
        budget = numbers.milliseconds(each.p99_budget_ms)
        if each.highest_per_second:
            rate = numbers.significant(each.highest_per_second)
            held = f"answers {rate} queries a second with a 99th percentile within {budget}"
        else:
            held = f"keeps its 99th percentile within {budget} at none of the rates tried"
        lines.append(f"{each.model}{where} {held}")
    return lines


def speedup_cell(speedup: Interval | None) -> Cell:
    """Return a speed-up with its interval, toned by whether it is faster than 1."""
    if speedup is None:
        return Cell(NOTHING, "muted")
    # 1 separates faster from slower, whatever the gate requires; keep 1 and the interval apart.
    text, _ = numbers.interval_apart(speedup, 1.0)
    return Cell(text, "good" if speedup.low > 1 else "bad" if speedup.high < 1 else "warn")


def confidence(summary: ReleaseSummary) -> str:
    """Return the confidence of the speed-ups' intervals in percent; 95% if there are none."""
    rows = summary.latency.rows if summary.latency else ()
    return next((numbers.percent(row.speedup.confidence) for row in rows if row.speedup), "95%")


def _rows(summary: ReleaseSummary) -> tuple[LatencyRow, ...]:
    return summary.latency.rows if summary.latency else ()


def _place(row: LatencyRow) -> tuple:
    return (
        row.candidate,
        str(row.execution_provider.model_dump()),
        row.batch_size,
        row.sequence_length,
    )


def _ratios(summary: ReleaseSummary, rows: Iterable[LatencyRow]) -> Table:
    names = ProviderNames(summary)
    figures_of = ["p50 ms", "p90 ms", "p99 ms", "rows/s"]
    interval = f"[{confidence(summary)} interval]"
    return table(
        ["Candidate", "Execution provider", ">Threads", ">Batch", ">Length", "Status"]
        + [f">Speed-up {interval}", f">of p99 {interval}"]
        + [f">{title}" for title in figures_of]
        + ["Baseline"]
        + [f">its {title}" for title in figures_of]
        + [">Calls", ">Rounds"],
        (
            (
                row.candidate,
                names.full(row.execution_provider),
                "" if row.threads is None else numbers.count(row.threads),
                numbers.count(row.batch_size),
                length_cell(row),
                status_cell(row),
                speedup_cell(row.speedup),
                speedup_cell(row.p99_speedup),
                *_latency_cells(row.candidate_figures),
                row.baseline,
                *_latency_cells(row.baseline_figures),
                numbers.count(row.candidate_figures.calls) if row.candidate_figures else NOTHING,
                numbers.count(row.rounds),
            )
            for row in rows
        ),
    )


def _rate(row: ServerRow) -> tuple[str, str, float]:
    return row.model, str(row.execution_provider), row.arrivals_per_second


def _provider(names: ProviderNames, row) -> str:
    """Return the execution provider of a row's model; a dash for a source, which runs on none."""
    return names.full(row.execution_provider) if row.execution_provider else NOTHING


def _latency_cells(measured: LatencyFigures | None) -> tuple[Cell | str, ...]:
    if measured is None:
        return (Cell(NOTHING, "muted"),) * 4
    times = (measured.p50_ms, measured.p90_ms, measured.p99_ms)
    rate = numbers.significant(measured.throughput_rows_per_second)
    return (*map(numbers.significant, times), rate)
