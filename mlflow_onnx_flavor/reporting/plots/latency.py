"""Plots of latency: by batch size, as a distribution, as a ratio, as throughput.

Every function returns a ``matplotlib.figure.Figure``, or None if there is nothing to draw.
"""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING, Any

from mlflow_onnx_flavor.formatting.provider_names import ProviderNames
from mlflow_onnx_flavor.gates import is_judged
from mlflow_onnx_flavor.reporting.plots.frame import (
    FAINT,
    INK,
    LINE_STYLES,
    SOURCE_COLOR,
    add_legend,
    candidate_colors,
    label,
    label_axes,
    new_figure,
)
from mlflow_onnx_flavor.schemas.evidence import LatencyFigures, LatencyRow, OfflineRow
from mlflow_onnx_flavor.schemas.summary import ReleaseSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BATCH_SIZES = 4  # panels of the distribution


def latency(summary: ReleaseSummary) -> Figure | None:
    """Plot the latency of one call by batch size, one panel for each provider.

    The dot is p50, the band p10 to p90, the end of the whisker p99.
    """
    rows = [row for row in _latency_rows(summary) if row.candidate_figures]
    if not rows:
        return None
    names = ProviderNames(summary)
    figure, panels = new_figure(
        len({names.full(row.execution_provider) for row in rows}), height=3.6
    )
    providers = list({names.full(row.execution_provider): row for row in rows}.items())
    colors = candidate_colors(summary)
    for axes, (provider, first) in zip(panels, providers, strict=True):
        mine = [row for row in rows if names.full(row.execution_provider) == provider]
        _draw_latency(axes, mine, colors)
        title = label(names.short(first.execution_provider))
        axes.set_title(title, color=INK, fontsize=10)
    _share_limits(panels)
    label_axes(panels, "batch size (rows per call)", "ms per call: p50, p10 to p90, p99")
    add_legend(figure, panels)
    return figure


def speedup(summary: ReleaseSummary) -> Figure | None:
    """Plot the speed-up over the source and its interval, by candidate, provider and batch size."""
    rows = [(row, row.speedup) for row in _latency_rows(summary) if row.speedup]
    if not rows:
        return None
    names = ProviderNames(summary)
    colors = candidate_colors(summary)
    figure, (axes,) = new_figure(1, height=1.0 + 0.27 * len(rows))
    # A round cap would lengthen the bar.
    bar: dict[str, Any] = {"linewidth": 5, "alpha": 0.45, "solid_capstyle": "butt"}
    for position, (row, value) in enumerate(reversed(rows)):
        color = colors[row.candidate]
        axes.plot([value.low, value.high], [position] * 2, color=color, **bar)
        axes.plot([value.estimate], [position], "o", color=color, markersize=3.5)
    places = [
        f"{label(row.candidate)} · {label(names.short(row.execution_provider))}"
        f" · batch {row.batch_size}"
        for row, _ in reversed(rows)
    ]
    axes.set_yticks(range(len(rows)), places)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.axvline(1, color=FAINT, linewidth=1, label="as fast as the source")
    asked = summary.verdict.gates.latency.min_speedup if summary.verdict else 1.0
    if asked not in (0.0, 1.0):
        axes.axvline(asked, color=INK, linewidth=1, linestyle="--", label="asked for by the gate")
    _speedup_scale(axes, [value for _, value in rows], asked)
    label_axes([axes], "times as fast as the source, with its confidence interval", "")
    axes.grid(axis="y", visible=False)
    add_legend(figure, [axes])
    return figure


def distribution(summary: ReleaseSummary) -> Figure | None:
    """Plot the share of calls that took at most x, for source and candidates.

    There is one panel for each batch size, on the first execution provider.
    """
    rows = [row for row in _latency_rows(summary) if row.candidate_figures]
    rows = [row for row in rows if row.execution_provider == rows[0].execution_provider]
    sizes = sorted({row.batch_size for row in rows})[:MOST_BATCH_SIZES]
    if not sizes:
        return None
    colors = candidate_colors(summary)
    figure, panels = new_figure(len(sizes), height=3.4)
    for axes, size in zip(panels, sizes, strict=True):
        at_size = [row for row in rows if row.batch_size == size]
        series = {"source": _source_figures(at_size).get(size)}
        series |= {row.candidate: row.candidate_figures for row in at_size}
        for name, measured in series.items():
            if measured is not None and measured.histogram_ms:
                shares = [share / 100 for share in range(len(measured.histogram_ms))]
                color = colors.get(name, SOURCE_COLOR)
                axes.plot(measured.histogram_ms, shares, color=color, label=label(name))
        axes.set_xscale("log")
        _plain_numbers(axes.xaxis)
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(lambda share, _: f"{share * 100:g}%")
        axes.set_title(f"batch {size:,}", color=INK, fontsize=10)
    label_axes(panels, "ms per call", "calls that took at most this")
    add_legend(figure, panels)
    return figure


def throughput(summary: ReleaseSummary) -> Figure | None:
    """Plot rows a second over the median of one call.

    Every point is a batch size of the offline scenario.
    """
    reported = summary.latency.offline if summary.latency else ()
    measured = [row for row in reported if row.status == "measured"]
    if len({row.batch_size for row in measured}) < 2:
        return None
    names, colors = ProviderNames(summary), candidate_colors(summary)
    styles = dict(zip(map(names.short, names.providers), itertools.cycle(LINE_STYLES)))
    figure, (axes,) = new_figure(1, height=3.6)
    curves: dict[tuple[str, str], list[OfflineRow]] = {}
    for row in measured:
        provider = names.short(row.execution_provider) if row.execution_provider else ""
        curves.setdefault((row.model, provider), []).append(row)
    for (model, provider), rows in curves.items():
        where = f" on {label(provider)}" if provider and len(names.providers) > 1 else ""
        axes.plot(
            [row.p50_ms for row in rows],
            [row.rows_per_second for row in rows],
            f"o{styles.get(provider, '-')}",
            color=colors.get(model, SOURCE_COLOR),
            markersize=4,
            linewidth=1.3,
            label=label(model) + where,
        )
        for row in rows if model == "source" else ():  # the others' points have the same order
            axes.annotate(
                f"{row.batch_size:,}",
                (row.p50_ms, row.rows_per_second),
                textcoords="offset points",
                xytext=(4, 5),
                fontsize=7.5,
                color=INK,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    _plain_numbers(axes.xaxis)
    _plain_numbers(axes.yaxis)
    label_axes(
        [axes], "ms per call (median); the source's numbers are batch sizes", "rows per second"
    )
    add_legend(figure, [axes])
    return figure


def _draw_latency(axes: Axes, rows: list[LatencyRow], colors: dict[str, str]) -> None:
    from matplotlib.ticker import NullLocator

    series = {"source": _source_figures(rows)}
    for row in rows:
        if row.candidate_figures is not None:
            series.setdefault(row.candidate, {})[row.batch_size] = row.candidate_figures
    sizes = sorted({row.batch_size for row in rows})
    steps = {size: position for position, size in enumerate(sizes)}
    for index, (name, by_size) in enumerate(series.items()):
        color = colors.get(name, SOURCE_COLOR)
        # Side by side, so that whiskers of similar models do not hide each other.
        aside = (index - (len(series) - 1) / 2) * 0.09
        xs = [steps[size] + aside for size in sorted(by_size)]
        values = [by_size[size] for size in sorted(by_size)]
        p50 = [value.p50_ms for value in values]
        axes.plot(xs, p50, "o-", color=color, markersize=4.5, linewidth=1.4, label=label(name))
        quantiles = [value.histogram_ms for value in values]
        if all(quantiles):
            low, high = [each[10] for each in quantiles], [each[90] for each in quantiles]
            axes.fill_between(xs, low, high, color=color, alpha=0.2, linewidth=0)
        axes.vlines(xs, p50, [value.p99_ms for value in values], color=color, linewidth=1.4)
        axes.plot(xs, [value.p99_ms for value in values], "_", color=color, markersize=7)
    axes.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
    axes.set_xlim(-0.5, len(sizes) - 0.5)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yscale("log")
    _plain_numbers(axes.yaxis)


def _source_figures(rows: list[LatencyRow]) -> dict[int, LatencyFigures]:
    """Return the source's middle measurement: it is measured anew against each candidate."""
    by_size: dict[int, list[LatencyFigures]] = {}
    for row in rows:
        if row.baseline == "source" and row.baseline_figures is not None:
            by_size.setdefault(row.batch_size, []).append(row.baseline_figures)
    return {
        size: min(
            measured,
            key=lambda one: abs(one.p50_ms - statistics.median(m.p50_ms for m in measured)),
        )
        for size, measured in by_size.items()
    }


def _share_limits(panels: list[Axes]) -> None:
    """Set the same scale in every panel, so that providers can be compared by eye."""
    limits = [axes.get_ylim() for axes in panels]
    for axes in panels:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _speedup_scale(axes: Axes, intervals, asked: float) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low = min([1.0, *(value.low for value in intervals)] + ([asked] if asked else []))
    high = max(1.0, asked, *(value.high for value in intervals))
    if low > 0 and high / low > 4:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.25, high * 1.25)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        room = (high - low) * 0.08 or 0.1
        axes.set_xlim(low - room, high + room)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))


def _plain_numbers(axis) -> None:
    """Set ticks at 1, 2 and 5 of each decade of a logarithmic axis, in plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())


def _latency_rows(summary: ReleaseSummary) -> list[LatencyRow]:
    rows = summary.latency.rows if summary.latency else ()
    return [row for row in rows if row.baseline == "source" and is_judged(row)]
