"""Commands in README and the documentation are ones that the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mlflow_onnx_flavor.cli.parser import build_parser

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
IN_PROSE = re.compile(r"`(mlflow-onnx [^`\n]+)`")
IN_BLOCK = re.compile(r"^(?:    |)(mlflow-onnx .+)$", re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Return each command that a page shows, on one line; optional parts in brackets are given."""
    text = page.read_text().replace("\\\n", " ")
    lines = [line.split("#")[0] for line in IN_BLOCK.findall(text)] + IN_PROSE.findall(text)
    several = [part for line in lines for part in re.split(r"(?=mlflow-onnx )", line)]
    return [
        re.sub(r"[\[\]]", "", part).strip()
        for part in several
        if part.strip() and "…" not in part and "VERB" not in part
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_one_that_the_command_line_takes(page):
    parser = build_parser()
    for command in commands(page):
        words = shlex.split(command.split(" > ")[0])[1:]
        if len(words) < 2 and words != ["targets"] and words != ["providers"]:
            continue  # the name of a verb in a sentence
        try:
            parser.parse_args(words)
        except SystemExit as ended:
            assert ended.code == 0, f"{page.name}: {command}"


def test_the_pages_show_commands():
    """The pattern above finds what it is for."""
    assert len([command for page in PAGES for command in commands(page)]) > 30
