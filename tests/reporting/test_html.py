"""The HTML report: complete, self-contained, and safe whatever the names are."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
import yaml

from mlflow_onnx_flavor.reporting.html import render_html
from mlflow_onnx_flavor.reporting.plots.frame import INK
from mlflow_onnx_flavor.schemas.configuration import Configuration
from mlflow_onnx_flavor.schemas.evidence import ExecutionProvider

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Text, tags and attributes; raises where a tag is closed that is not open."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += " ".join(data.split()) + " "

    def values(self, name: str) -> list[str]:
        return [value for attribute, value in self.attributes if attribute == name]


@pytest.fixture
def page(rendered) -> Page:
    return Page(rendered("passing"))


def test_every_outcome_gives_a_well_formed_page(any_summary, summary_name, rendered):
    page = Page(rendered(summary_name))
    assert page.open == []
    assert any_summary.source.uri in page.text
    assert "mlflow-onnx release" in page.text


def test_the_page_needs_nothing_from_the_network_and_no_script(summary_name, rendered):
    page = Page(rendered(summary_name))
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    assert all(src.startswith("data:") for src in page.values("src"))
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_the_top_says_what_a_reader_needs_first(page):
    top = page.text[: page.text.index("Gates")]
    for expected in (
        "candidate fused on CPUExecutionProvider",
        "digits-onnx version 4",
        "23.85×",
        "Worst error",
        "4.5e-07",
    ):
        assert expected in top


def test_gates_parity_latency_conversion_and_environment_are_there(page):
    for expected in (
        "rows differ in label",
        "float64 → float32",
        "CPUExecutionProvider: 3, OpenVINOExecutionProvider: 41",
        "p99 ms",
        "319 MB",
        "Type (tensor(double)) of output arg",
        "skl2onnx 1.20.0",
        "Intel(R) Xeon(R)",
        "reused from an earlier run",
        "INFERENCE_PRECISION_HINT",
    ):
        assert expected in page.text


def test_a_crashed_provider_is_a_row_with_its_cause(rendered):
    text = Page(rendered("crashed, not required")).text
    assert "crashed" in text and "signal 11 (SIGSEGV)" in text
    assert "Passed" in text


def test_a_failed_conversion_says_what_to_do_next(rendered):
    text = Page(rendered("not converted")).text
    assert "What to do next" in text and "timed out" in text


def test_hostile_names_stay_text(hostile):
    rendered = render_html(hostile)
    page = Page(rendered)
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text
    assert "\x1b" not in rendered and "\x00" not in rendered and "\u202e" not in rendered
    assert not any(href.startswith("javascript:") for href in page.values("href"))
    rendered.encode("utf-8")


def test_the_configuration_in_the_report_is_one_that_can_be_read_back(passing, rendered):
    report = rendered("passing")
    start = report.index("execution_providers: null")
    text = report[start : report.index("</pre>", start)]
    assert Configuration.model_validate(yaml.safe_load(text)) == passing.configuration


def test_the_page_and_its_plots_follow_a_dark_theme(rendered):
    import base64

    report = rendered("passing")
    assert "prefers-color-scheme: dark" in report
    pictures = [src for src in Page(report).values("src") if src.startswith("data:image/svg")]
    assert len(pictures) == 5
    for picture in pictures:
        drawing = base64.b64decode(picture.partition(",")[2]).decode()
        assert "prefers-color-scheme: dark" in drawing and "currentColor" in drawing
        assert INK not in drawing.partition("</style>")[2]


def test_options_of_the_session_stand_beside_those_of_the_provider(passing):
    row = passing.parity.rows[0]
    entries = {"session.intra_op.allow_spinning": "0"}
    options = {"intra_op_num_threads": 1, "config_entries": entries}
    given = ExecutionProvider(name=row.execution_provider.name, session_options=options)
    rows = (*passing.parity.rows, row.model_copy(update={"execution_provider": given}))
    parity = passing.parity.model_copy(update={"rows": rows})
    page = Page(render_html(passing.model_copy(update={"parity": parity})))
    text = " ".join(page.text.split())
    assert "session.intra_op.allow_spinning 0" in text and "intra_op_num_threads 1" in text
    assert "CPUExecutionProvider (no options)" in text
