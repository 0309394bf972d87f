"""Plots: drawn where there is something to draw, legible whatever the figures and names are."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree

import pytest

from mlflow_onnx_flavor.reporting.plots import figures, frame
from mlflow_onnx_flavor.reporting.plots import latency as latency_plots


def with_outputs(summary, *outputs):
    rows = tuple(row.model_copy(update={"outputs": outputs}) for row in summary.parity.rows)
    parity = summary.parity.model_copy(update={"rows": rows})
    return summary.model_copy(update={"parity": parity})


def labels_of(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_release_has_its_plots(passing):
    assert list(figures.figures(passing)) == [
        "error_distribution",
        "latency",
        "latency_distribution",
        "speedup",
        "throughput",
    ]


def test_what_was_not_measured_is_not_drawn(not_converted, make_release):
    assert figures.figures(not_converted) == {}
    assert list(figures.figures(make_release(latency=None))) == ["error_distribution"]


@pytest.mark.parametrize("name", ["error_distribution", "latency", "speedup"])
def test_png_and_svg_are_complete_files(passing, name):
    figure = figures.figures(passing)[name]
    assert frame.png(figure).startswith(b"\x89PNG")
    assert ElementTree.fromstring(frame.svg(figure)).tag.endswith("svg")


def test_the_same_summary_gives_the_same_drawing(passing):
    assert frame.svg(latency_plots.speedup(passing)) == frame.svg(latency_plots.speedup(passing))


def test_the_error_distribution_has_a_curve_per_candidate_and_provider_and_the_tolerance(passing):
    expected = [f"{name} on {where}" for name in ("converted", "fused", "int8_dynamic")
                for where in ("CPU", "OpenVINO")]  # fmt: skip
    assert labels_of(figures.error_distribution(passing)) == [*expected, "tolerance"]


def test_latency_draws_the_source_beside_every_candidate_in_a_panel_per_provider(passing):
    figure = latency_plots.latency(passing)
    assert [axes.get_title() for axes in figure.axes] == ["CPU", "OpenVINO"]
    assert labels_of(figure) == ["source", "converted", "fused", "int8_dynamic"]
    ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert ticks == ["1", "32"]


def test_the_speedup_shows_the_threshold_of_the_gate(failing):
    assert "asked for by the gate" in labels_of(latency_plots.speedup(failing))


def test_answers_without_any_difference_are_said_in_words(passing):
    exact = passing.parity.rows[0].outputs[1].model_copy(update={"rows_above": (0,) * 141})
    figure = figures.error_distribution(with_outputs(passing, exact))
    (text,) = figure.axes[0].texts
    assert text.get_text().startswith("no difference:\nconverted on CPU")


def test_only_labels_means_no_error_distribution(passing):
    summary = with_outputs(passing, passing.parity.rows[0].outputs[0])
    assert figures.error_distribution(summary) is None


def test_one_batch_size_and_many_outputs_are_drawn(passing):
    output = passing.parity.rows[0].outputs[1]
    many = [output.model_copy(update={"name": f"output {i}"}) for i in range(9)]
    summary = with_outputs(passing, *many)
    rows = tuple(row for row in passing.latency.rows if row.batch_size == 1)
    summary = summary.model_copy(
        update={"latency": passing.latency.model_copy(update={"rows": rows})}
    )
    for figure in figures.figures(summary).values():
        assert frame.png(figure)
    assert len(figures.error_distribution(summary).axes) == figures.MOST_OUTPUTS


def test_hostile_names_are_drawn_as_they_are(hostile):
    for figure in figures.figures(hostile).values():
        ElementTree.fromstring(frame.svg(figure))


def test_infinite_and_missing_figures_do_not_break_a_plot(passing):
    output = passing.parity.rows[0].outputs[1]
    infinite = output.model_copy(
        update={"rows_above": (output.rows,) * 141, "max_absolute_error": float("inf")}
    )
    assert frame.png(figures.error_distribution(with_outputs(passing, infinite)))


@pytest.mark.process
def test_importing_the_reports_loads_no_drawing_and_no_template_library():
    code = (
        "import sys; from mlflow_onnx_flavor.reporting import console, html, plots;"
        "assert not {'matplotlib', 'jinja2', 'rich', 'mlflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_drawing_leaves_the_global_state_of_matplotlib_alone(passing):
    already = (
        "matplotlib.pyplot" in sys.modules
    )  # MLflow imports it where another test logged a figure
    frame.svg(latency_plots.speedup(passing))
    assert ("matplotlib.pyplot" in sys.modules) == already
