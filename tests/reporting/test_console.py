"""The terminal text: complete, one row a line where it is plain, and never steered by a name."""

from __future__ import annotations

import io
import re

import pytest

from mlflow_onnx_flavor.formatting.text import plain_table
from mlflow_onnx_flavor.gates import judge_latency, judge_parity
from mlflow_onnx_flavor.reporting.console import print_latency, print_parity, print_summary

UI = "mlflow ui --backend-store-uri sqlite:///mlflow.db"


def printed(summary, **options) -> str:
    file = io.StringIO()
    print_summary(
        summary, file=file, report_location="/runs/1/report.html", ui_command=UI, **options
    )
    return file.getvalue()


def section(text: str, title: str) -> list[str]:
    """The lines under the title that starts so."""
    start = text.index(title)
    return text[start : text.index("\n\n", start)].splitlines()[1:]


def test_it_says_what_was_converted_and_how(passing):
    lines = section(printed(passing), "Conversion")
    assert "source: models:/digits@staging = models:/digits/3 (sklearn)" in lines[0]
    assert any("converted: float32 with cast inputs (skl2onnx 1.20.0, opset 21" in x for x in lines)


def test_a_doubt_stands_below_what_was_converted(passing):
    made = passing.conversion.attempts
    doubted = [
        each.model_copy(update={"cause": "it finds ties"}) if each.outcome == "converted" else each
        for each in made
    ]
    conversion = passing.conversion.model_copy(update={"attempts": tuple(doubted)})
    lines = section(printed(passing.model_copy(update={"conversion": conversion})), "Conversion")
    at = next(number for number, line in enumerate(lines) if "converted: " in line)
    assert lines[at + 1].strip() == "doubtful: it finds ties"


def test_parity_has_a_row_per_provider_and_batch_size(passing):
    lines = section(printed(passing), "Parity with the source, candidate fused")
    assert [line.split()[0] for line in lines[1:]] == ["CPU", "CPU", "OpenVINO", "OpenVINO"]
    assert lines[1].split()[-4:] == ["1,437", "0", "3.7e-07", "measured"]


def test_latency_is_a_ratio_to_the_source_with_its_interval(passing):
    title = "Latency, candidate fused: times as fast with its 95% interval"
    lines = section(printed(passing), title)
    assert len(lines) == 5
    assert lines[1].endswith("23.85 [23.45, 24.35]")


def test_the_chosen_candidate_is_shown_gate_by_gate_the_others_on_one_line_each(passing):
    text = printed(passing)
    gates = section(text, "Gates, candidate fused")
    assert len(gates) == 1 + len(passing.verdict.of("fused"))
    assert all(line.strip().startswith("pass") for line in gates[1:])
    assert [line.split(":")[0].strip() for line in section(text, "Not chosen")] == [
        "converted",
        "int8_dynamic",
    ]


def test_without_a_chosen_candidate_every_failed_gate_is_shown(failing):
    lines = section(printed(failing), "Gates")[1:]
    assert len(lines) == len(failing.verdict.failures())
    assert all(line.strip().startswith("FAIL") for line in lines)


def test_the_end_says_version_alias_report_and_ui_command(passing):
    text = printed(passing)
    assert "registered: digits-onnx version 4, models:/digits-onnx/4" in text
    assert "alias: champion moved from version 3 to version 4" in text
    assert "report: /runs/1/report.html" in text and f"MLflow UI: {UI}" in text


def test_a_crash_is_a_row_with_its_cause(crashed):
    text = printed(crashed)
    assert "SIGSEGV" in text
    assert "crashed" in section(text, "Parity")[-1] and "crashed" in section(text, "Latency")[-1]


def test_a_failed_conversion_lists_attempts_and_next_steps(not_converted):
    text = printed(not_converted)
    assert "tried: one tree at a time (skl2onnx 1.20.0, 2.1 s): wrong answers" in text
    assert text.count("next: ") == 4


def test_plain_text_has_no_colours_no_boxes_and_no_wrapped_rows(any_summary):
    text = printed(any_summary, rich=False)
    assert "\x1b" not in text
    assert not re.search("[\u2500-\u257f]", text)
    for line in text.splitlines():
        assert not line or line[0] != " " or line.startswith("  ")
    if any_summary.parity:
        rows = [line for line in text.splitlines() if "evaluation data " in line]
        assert all(re.search(r"(measured|crashed)$", row) for row in rows) and rows


def test_a_file_that_is_no_terminal_gets_plain_lines(passing):
    assert printed(passing) == printed(passing, rich=False)


def test_a_terminal_gets_colours_and_ruled_tables(passing, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = printed(passing, rich=True)
    assert "\x1b[" in text and "─" in text
    assert UI in text  # on one line, to be copied


@pytest.mark.parametrize("rich", [True, False])
def test_hostile_names_neither_steer_the_terminal_nor_add_lines(hostile, rich, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = printed(hostile, rich=rich)
    assert "[red]" in text and "<script>" in text
    assert "\x1b[31m" not in text.replace("\x1b[1;31m", "")
    assert not set(text) & {"\x00", "\u202e"}
    if not rich:
        assert "\x1b" not in text


@pytest.mark.parametrize("rich", [True, False])
def test_a_terminal_without_unicode_is_served_too(passing, rich):
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    print_summary(passing, file=file, rich=rich, report_location="/tmp/modèle")
    file.flush()
    assert b"mod?le" in raw.getvalue()


def test_a_parity_report_that_stands_alone_is_shown_with_its_gate(failing):
    file = io.StringIO()
    findings = judge_parity(failing.parity, failing.verdict.gates.parity)
    print_parity(failing.parity, findings, file=file)
    text = file.getvalue()
    assert "float64 → float32" in text and "p99.9 abs" in text
    assert len(section(text, "Gates")) == 1 + len(findings)
    assert "CPUExecutionProvider: 3, OpenVINOExecutionProvider: 41" in text


def test_a_latency_report_that_stands_alone_is_shown_with_its_gate(failing):
    file = io.StringIO()
    findings = judge_latency(failing.latency, failing.verdict.gates.latency)
    print_latency(failing.latency, findings, file=file)
    text = file.getvalue()
    assert "21.36 [20.99, 21.81]" in text and "319 MB" in text
    assert len(section(text, "Gates")) == 1 + len(findings)


def test_a_plain_table_is_aligned_and_keeps_each_row_on_one_line():
    assert plain_table(("name", "cause"), [("a", "two\nlines"), ("longer", "")]) == (
        "name    cause\na       two lines\nlonger"
    )
