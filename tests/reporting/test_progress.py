"""Progress goes to standard error: a spinner on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import io
import re

import pytest

from mlflow_onnx_flavor.reporting.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(progress: Progress) -> None:
    with progress("converting [red]x"):
        progress.note("float32\ninputs")
        with progress("checking"):
            pass


def test_plain_lines_say_what_begins_and_how_long_it_took():
    file = io.StringIO()
    run(Progress(file=file))
    assert re.sub(r"[\d.]+ s", "N s", file.getvalue()).splitlines() == [
        "converting [red]x ...",
        "  float32 inputs",
        "  checking ...",
        "  checking: done in N s",
        "converting [red]x: done in N s",
    ]


def test_standard_error_is_where_it_goes_and_standard_output_stays_clean(capsys):
    run(Progress())
    captured = capsys.readouterr()
    assert captured.out == "" and "converting" in captured.err


def test_quiet_says_nothing(capsys):
    run(Progress(quiet=True))
    assert capsys.readouterr() == ("", "")


def test_an_error_ends_the_step_and_goes_on_its_way():
    file = io.StringIO()
    progress = Progress(file=file)
    with pytest.raises(ValueError, match="x"), progress("measuring"):
        raise ValueError("x")
    progress.note("after")
    assert "measuring: failed in" in file.getvalue()
    assert file.getvalue().endswith("\nafter\n")


def test_a_terminal_shows_a_spinner_and_keeps_one_line_per_finished_step(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    file = Terminal()
    run(Progress(file=file))
    text = file.getvalue()
    assert "\x1b[?25l" in text and "\x1b[?25h" in text  # the cursor is hidden and shown again
    assert "checking: done in" in text
    assert re.search(r"converting \[red\]x: done in [\d.]+ s\n$", text)


def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    file = Terminal()
    run(Progress(file=file))
    assert "\x1b" not in file.getvalue()
