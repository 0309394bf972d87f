"""A verb is one file: its options and what it does, found by presence."""

from __future__ import annotations

import pytest

from mlflow_onnx_flavor import cli
from mlflow_onnx_flavor.cli import verbs
from mlflow_onnx_flavor.cli.parser import build_parser

ANOTHER = """
HELP = "count to a number"

def add_arguments(parser):
    parser.add_argument("number", type=int)

def run(arguments):
    print(*range(arguments.number))
    return arguments.number
"""


def test_a_file_that_is_there_is_a_verb(tmp_path, monkeypatch, capsys):
    (tmp_path / "count_up.py").write_text(ANOTHER)
    monkeypatch.setattr(verbs, "__path__", [*verbs.__path__, str(tmp_path)])
    assert cli.main(["count-up", "3"]) == 3
    assert capsys.readouterr().out == "0 1 2\n"
    assert "count to a number" in build_parser().format_help()


@pytest.mark.parametrize("name", list(verbs.verbs()))
def test_every_verb_says_what_it_does_and_takes_the_options_of_all(name, capsys):
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert verbs.verbs()[name].HELP.split()[0] in shown
    assert all(option in shown for option in ("--json", "--tracking-uri", "--quiet"))


def test_release_comes_first_and_the_others_in_alphabetical_order():
    first, *others = verbs.verbs()
    assert first == "release"
    assert others == sorted(others)
