"""Plots of a release: the distribution of errors, and the plots of `plots.latency`.

for name, figure in figures(summary).items():
    mlflow.log_figure(figure, f"plots/{name}.png")

Every function returns a ``matplotlib.figure.Figure``, or None if there is nothing to draw.
Matplotlib is imported on the first call, without pyplot, so no display and no global state.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from mlflow_onnx_flavor.formatting.provider_names import ProviderNames
from mlflow_onnx_flavor.gates import tolerance_of
from mlflow_onnx_flavor.reporting.plots import latency as latency_plots
from mlflow_onnx_flavor.reporting.plots.frame import (
    INK,
    LINE_STYLES,
    add_legend,
    candidate_colors,
    label,
    label_axes,
    laid_out,
    new_figure,
)
from mlflow_onnx_flavor.schemas.evidence import ERROR_THRESHOLDS, OutputParity
from mlflow_onnx_flavor.schemas.summary import ReleaseSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_OUTPUTS = 4  # panels of the error distribution; the tables have all outputs


def figures(summary: ReleaseSummary) -> dict[str, Figure]:
    """Return every plot that this release has data for, laid out, by its file's name."""
    drawn = {
        "error_distribution": error_distribution(summary),
        "latency": latency_plots.latency(summary),
        "latency_distribution": latency_plots.distribution(summary),
        "speedup": latency_plots.speedup(summary),
        "throughput": latency_plots.throughput(summary),
    }
    return {name: laid_out(figure) for name, figure in drawn.items() if figure is not None}


def error_distribution(summary: ReleaseSummary) -> Figure | None:
    """Plot the share of rows whose scaled error is above x, by candidate and execution provider."""
    curves = _error_curves(summary)
    if not curves:
        return None
    names = ProviderNames(summary)
    outputs = list(curves)[:MOST_OUTPUTS]
    figure, panels = new_figure(len(outputs), height=3.6)
    colors = candidate_colors(summary)
    styles = dict(zip(map(names.short, names.providers), itertools.cycle(LINE_STYLES)))
    for axes, output in zip(panels, outputs, strict=True):
        _draw_errors(axes, curves[output], colors, styles, summary)
        axes.set_title(label(output), color=INK, fontsize=10)
    label_axes(panels, "error against the source, scaled", "rows with a larger error")
    add_legend(figure, panels)
    return figure


def _error_curves(summary: ReleaseSummary) -> dict[str, dict[tuple[str, str], OutputParity]]:
    """Return for each output the worst measurement at any batch size, by candidate and provider."""
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
        curve = f"{label(candidate)} on {label(provider)}"
        shares = [above / output.rows for above in output.rows_above]
        drawn = [(x, share) for x, share in zip(ERROR_THRESHOLDS, shares, strict=True) if share]
        if not drawn:
            exact.append(curve)
            continue
        # The curve drops to the axis at the last row instead of ending in the air.
        drawn.append((drawn[-1][0] * 10**0.1, 0.3 / output.rows))
        xs, ys = zip(*drawn, strict=True)
        axes.plot(xs, ys, styles[provider], color=colors[candidate], linewidth=1.6, label=curve)
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
