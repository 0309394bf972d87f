"""The frame that all plots share: size, colours, axes, legend, and writing to a file."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mlflow_onnx_flavor.formatting.text import one_line, shorten
from mlflow_onnx_flavor.schemas.summary import ReleaseSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Text and frame in these two colours follow the page's theme in an SVG (see `svg`).
INK = "#1b1f24"
FAINT = "#8a9099"
SOURCE_COLOR = "#8a9099"
# Distinguishable with any colour vision, on white and on black.
COLORS = ("#2f81d6", "#e0751c", "#1f9d6b", "#a565d8", "#d4487f", "#179aa5", "#b08a00", "#7d6b5d")
LINE_STYLES = ("-", "--", ":", "-.")


def png(figure: Figure) -> bytes:
    """Return the figure as PNG bytes at 144 dpi on white."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144, facecolor="white")
    return buffer.getvalue()


def svg(figure: Figure) -> str:
    """Return a stand-alone SVG document; text and frame turn light in a dark theme."""
    import matplotlib

    buffer = io.StringIO()
    # A fixed salt and no date: the same summary gives the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "mlflow-onnx-flavor"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue().replace(INK, "currentColor")
    style = (
        "<style>svg { color: #1b1f24 }"
        " @media (prefers-color-scheme: dark) { svg { color: #d7dbe0 } }</style>"
    )
    return re.sub(r"(<svg[^>]*>)", rf"\1{style}", text, count=1)


def new_figure(panels: int, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``panels`` panels side by side, ``height`` inches high, and their axes."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    width = {1: 7.2, 2: 8.4}.get(panels, 3.6 * panels)
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    drawn = list(figure.subplots(1, panels, squeeze=False)[0])
    for axes in drawn:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(FAINT)
        axes.tick_params(which="both", color=FAINT, labelcolor=INK, labelsize=8.5)
        axes.grid(color=FAINT, alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, drawn


def laid_out(figure: Figure) -> Figure:
    """Return ``figure`` with a fixed layout, which Matplotlib otherwise computes for each file."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def label_axes(panels: list[Axes], x: str, y: str) -> None:
    """Label the x axis of every panel and the y axis of the first."""
    panels[0].set_ylabel(y, color=INK, fontsize=9)
    for axes in panels:
        axes.set_xlabel(x, color=INK, fontsize=9)


def add_legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """Add one legend for all panels under them, with each entry once."""
    entries: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        widest = max(map(len, entries)) + 6  # in characters, with the line in front
        columns = max(1, min(len(entries), int(figure.get_figwidth() * 14 // widest)))
        # Further lines of the legend make the figure higher; they take no room from the axes.
        lines = -(-len(entries) // columns)
        figure.set_figheight(figure.get_figheight() + 0.19 * (lines - 1))
        figure.legend(
            list(entries.values()),
            list(entries),
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            fontsize=8.5,
            labelcolor=INK,
        )


def candidate_colors(summary: ReleaseSummary) -> dict[str, str]:
    """Return a colour for each candidate, the same in every plot."""
    reports = [report for report in (summary.parity, summary.latency) if report is not None]
    names = dict.fromkeys(row.candidate for report in reports for row in report.rows)
    return {name: COLORS[index % len(COLORS)] for index, name in enumerate(names)}


def label(text: str) -> str:
    """Return an external name as plain text of a plot.

    "$" would start a formula, a leading "_" hides the name from a legend.
    """
    return shorten(one_line(text), 48).replace("$", r"\$").lstrip("_")
