"""Plots of a release: error distribution, latency by batch size, speed-up.

for name, figure in figures(summary).items():
    mlflow.log_figure(figure, f"plots/{name}.png")

Every function returns a ``matplotlib.figure.Figure``, or None where there is nothing to draw.
Matplotlib is imported on the first call, without pyplot, so no display and no global state.
"""

from __future__ import annotations

import io
import itertools
import re
import statistics
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mlflow_onnx_flavor.evidence import ERROR_THRESHOLDS, LatencyFigures, LatencyRow, OutputParity
from mlflow_onnx_flavor.gates import tolerance_of
from mlflow_onnx_flavor.reporting.plain_text import one_line, shorten
from mlflow_onnx_flavor.reporting.provider_names import ProviderNames
from mlflow_onnx_flavor.reporting.summary import ReleaseSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Drawn in these two colours, text and frame follow the page's theme in an SVG (see `svg`).
INK = "#1b1f24"
FAINT = "#8a9099"
SOURCE_COLOR = "#8a9099"
# Told apart by readers with any colour vision, on white and on black.
COLORS = ("#2f81d6", "#e0751c", "#1f9d6b", "#a565d8", "#d4487f", "#179aa5", "#b08a00", "#7d6b5d")
LINE_STYLES = ("-", "--", ":", "-.")
MOST_OUTPUTS = 4  # panels of the error distribution; the tables have all outputs


def figures(summary: ReleaseSummary) -> dict[str, Figure]:
    """Every plot that this release has data for, by the name of its file."""
    drawn = {
        "error_distribution": error_distribution(summary),
        "latency": latency(summary),
        "speedup": speedup(summary),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144, facecolor="white")
    return buffer.getvalue()


def svg(figure: Figure) -> str:
    """A stand-alone SVG document; text and frame are light where the reader's theme is dark."""
    import matplotlib

    buffer = io.StringIO()
    # Fixed salt and no date: the same summary gives the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "mlflow-onnx-flavor"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue().replace(INK, "currentColor")
    style = (
        "<style>svg { color: #1b1f24 }"
        " @media (prefers-color-scheme: dark) { svg { color: #d7dbe0 } }</style>"
    )
    return re.sub(r"(<svg[^>]*>)", rf"\1{style}", text, count=1)


def error_distribution(summary: ReleaseSummary) -> Figure | None:
    """Share of rows whose scaled error is above x, per candidate and execution provider."""
    curves = _error_curves(summary)
    if not curves:
        return None
    names = ProviderNames(summary)
    outputs = list(curves)[:MOST_OUTPUTS]
    figure, panels = _figure(len(outputs), height=3.6)
    colors = _candidate_colors(summary)
    styles = dict(zip(map(names.short, names.providers), itertools.cycle(LINE_STYLES)))
    for axes, output in zip(panels, outputs, strict=True):
        _draw_errors(axes, curves[output], colors, styles, summary)
        axes.set_title(_label(output), color=INK, fontsize=10)
    _label_axes(panels, "error against the source, scaled", "rows with a larger error")
    _legend(figure, panels)
    return figure


def latency(summary: ReleaseSummary) -> Figure | None:
    """p50 (dot) and p99 (end of the whisker) of one call by batch size; a panel per provider."""
    rows = [row for row in _latency_rows(summary) if row.candidate_figures]
    if not rows:
        return None
    names = ProviderNames(summary)
    figure, panels = _figure(len({names.full(row.execution_provider) for row in rows}), height=3.6)
    providers = list({names.full(row.execution_provider): row for row in rows}.items())
    colors = _candidate_colors(summary)
    for axes, (provider, first) in zip(panels, providers, strict=True):
        mine = [row for row in rows if names.full(row.execution_provider) == provider]
        _draw_latency(axes, mine, colors)
        title = _label(names.short(first.execution_provider))
        axes.set_title(title, color=INK, fontsize=10)
    _share_limits(panels)
    _label_axes(panels, "batch size (rows per call)", "ms per call: p50 (dot) to p99")
    _legend(figure, panels)
    return figure


def speedup(summary: ReleaseSummary) -> Figure | None:
    """Speed-up over the source with its interval, per candidate, provider and batch size."""
    rows = [row for row in _latency_rows(summary) if row.speedup]
    if not rows:
        return None
    names = ProviderNames(summary)
    colors = _candidate_colors(summary)
    figure, (axes,) = _figure(1, height=1.0 + 0.27 * len(rows))
    bar = {"linewidth": 5, "alpha": 0.45, "solid_capstyle": "butt"}  # a round cap would lengthen it
    for position, row in enumerate(reversed(rows)):
        value, color = row.speedup, colors[row.candidate]
        axes.plot([value.low, value.high], [position] * 2, color=color, **bar)
        axes.plot([value.estimate], [position], "o", color=color, markersize=3.5)
    places = [
        f"{_label(row.candidate)} · {_label(names.short(row.execution_provider))}"
        f" · batch {row.batch_size}"
        for row in reversed(rows)
    ]
    axes.set_yticks(range(len(rows)), places)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.axvline(1, color=FAINT, linewidth=1, label="as fast as the source")
    asked = summary.verdict.gates.latency.min_speedup if summary.verdict else 1.0
    if asked not in (0.0, 1.0):
        axes.axvline(asked, color=INK, linewidth=1, linestyle="--", label="asked for by the gate")
    _speedup_scale(axes, [row.speedup for row in rows], asked)
    _label_axes([axes], "times as fast as the source, with its confidence interval", "")
    axes.grid(axis="y", visible=False)
    _legend(figure, [axes])
    return figure


def _figure(panels: int, height: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    width = {1: 7.2, 2: 8.4}.get(panels, 3.6 * panels)
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    drawn = list(figure.subplots(1, panels, squeeze=False)[0])
    for axes in drawn:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(FAINT)
        axes.tick_params(which="both", color=FAINT, labelcolor=INK, labelsize=8.5)
        axes.grid(color=FAINT, alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, drawn


def _label_axes(panels: list[Axes], x: str, y: str) -> None:
    panels[0].set_ylabel(y, color=INK, fontsize=9)
    for axes in panels:
        axes.set_xlabel(x, color=INK, fontsize=9)


def _legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """One legend for all panels, under them, each entry once."""
    entries = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        widest = max(map(len, entries)) + 6  # in characters, with the line in front
        columns = max(1, min(len(entries), int(figure.get_figwidth() * 14 // widest)))
        # Further lines of the legend are room on top, not taken from the axes.
        lines = -(-len(entries) // columns)
        figure.set_figheight(figure.get_figheight() + 0.19 * (lines - 1))
        figure.legend(
            entries.values(),
            entries.keys(),
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            fontsize=8.5,
            labelcolor=INK,
        )


def _error_curves(summary: ReleaseSummary) -> dict[str, dict[tuple[str, str], OutputParity]]:
    """Output -> (candidate, provider) -> the worst measurement of it at any batch size."""
    names = ProviderNames(summary)
    curves: dict[str, dict[tuple[str, str], OutputParity]] = {}
    for row in summary.parity.rows if summary.parity else ():
        for output in row.outputs:
            if output.kind != "scores" or not output.rows_above or not output.rows:
                continue
            of_output = curves.setdefault(output.name, {})
            key = (row.candidate, names.short(row.execution_provider))
            if key not in of_output or _area(output) > _area(of_output[key]):
                of_output[key] = output
    return curves


def _area(output: OutputParity) -> float:
    return sum(output.rows_above) / output.rows


def _draw_errors(
    axes: Axes,
    curves: dict[tuple[str, str], OutputParity],
    colors: dict[str, str],
    styles: dict[str, str],
    summary: ReleaseSummary,
) -> None:
    gate = summary.verdict.gates.parity if summary.verdict else None
    tolerances = {tolerance_of(o, gate) if gate else o.auto_tolerance for o in curves.values()}
    ends = [tolerance for tolerance in tolerances if tolerance > 0]
    exact: list[str] = []
    for (candidate, provider), output in curves.items():
        label = f"{_label(candidate)} on {_label(provider)}"
        shares = [above / output.rows for above in output.rows_above]
        drawn = [(x, share) for x, share in zip(ERROR_THRESHOLDS, shares, strict=True) if share]
        if not drawn:
            exact.append(label)
            continue
        # Down to the axis where the last row falls away, in place of a line that hangs in the air.
        drawn.append((drawn[-1][0] * 10**0.1, 0.3 / output.rows))
        xs, ys = zip(*drawn, strict=True)
        axes.plot(xs, ys, styles[provider], color=colors[candidate], linewidth=1.6, label=label)
        ends += [x for x, share in drawn if share < 0.995][:1] + [xs[-1]]
    for tolerance in filter(None, tolerances):
        axes.axvline(tolerance, color=INK, linewidth=1, label="tolerance")
    fewest = min(0.5 / output.rows for output in curves.values())
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(min(ends, default=1e-8) / 4, max(ends, default=1e-4) * 4)
    if len(exact) == len(curves):
        axes.set_xlim(left=min(ends, default=1e-4) / 1e4)
    if exact:
        text = "no difference:\n" + "\n".join(exact)
        axes.text(0.04, 0.06, text, transform=axes.transAxes, color=INK, fontsize=8.5)
    axes.set_ylim(fewest, 1.4)
    axes.yaxis.set_major_formatter(lambda share, _: f"{share * 100:g}%")
    axes.minorticks_off()


def _draw_latency(axes: Axes, rows: list[LatencyRow], colors: dict[str, str]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    series = {"source": _source_figures(rows)}
    for row in rows:
        series.setdefault(row.candidate, {})[row.batch_size] = row.candidate_figures
    sizes = sorted({row.batch_size for row in rows})
    steps = {size: position for position, size in enumerate(sizes)}
    for index, (name, by_size) in enumerate(series.items()):
        color = colors.get(name, SOURCE_COLOR)
        # Side by side, so that whiskers of models that are alike do not hide each other.
        aside = (index - (len(series) - 1) / 2) * 0.09
        xs = [steps[size] + aside for size in sorted(by_size)]
        values = [by_size[size] for size in sorted(by_size)]
        p50 = [value.p50_ms for value in values]
        axes.plot(xs, p50, "o-", color=color, markersize=4.5, linewidth=1.4, label=_label(name))
        axes.vlines(xs, p50, [value.p99_ms for value in values], color=color, linewidth=1.4)
        axes.plot(xs, [value.p99_ms for value in values], "_", color=color, markersize=7)
    axes.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
    axes.set_xlim(-0.5, len(sizes) - 0.5)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_locator(NullLocator())


def _source_figures(rows: list[LatencyRow]) -> dict[int, LatencyFigures]:
    """The source was measured anew against each candidate: the measurement in the middle."""
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
    """The same scale in every panel, so that providers can be compared by eye."""
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


def _candidate_colors(summary: ReleaseSummary) -> dict[str, str]:
    """The same colour for a candidate in every plot."""
    reports = [report for report in (summary.parity, summary.latency) if report is not None]
    names = dict.fromkeys(row.candidate for report in reports for row in report.rows)
    return {name: COLORS[index % len(COLORS)] for index, name in enumerate(names)}


def _latency_rows(summary: ReleaseSummary) -> list[LatencyRow]:
    rows = summary.latency.rows if summary.latency else ()
    return [row for row in rows if row.baseline == "source"]


def _label(text: str) -> str:
    """A name from outside; "$" would start a formula, "_" in front hides it from a legend."""
    return shorten(one_line(text), 48).replace("$", r"\$").lstrip("_")
