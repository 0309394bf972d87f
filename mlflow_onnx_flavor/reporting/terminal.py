"""Layout of printed text: ruled and coloured on a terminal, else plain lines.

Plain lines have no colours and no drawn boxes, and a row of a table is one line however long it
is, so that logs can be searched and cut.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TextIO

from mlflow_onnx_flavor.formatting.text import aligned, encodable, one_line
from mlflow_onnx_flavor.reporting.tables.parity import Cell, Table

STYLES = {"good": "green", "bad": "bold red", "warn": "yellow", "muted": "dim", "": ""}
WRAPPED_COLUMNS = ("measured", "required", "why")  # sentences; other columns stay on one line


@dataclass(frozen=True)
class Block:
    """A part of the text: a title, then a table, then lines."""

    title: str
    table: Table | None = None
    lines: tuple[Cell, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.table or self.lines)


def is_terminal(file: TextIO) -> bool:
    """Return whether ``file`` is a terminal that understands more than plain lines."""
    return file.isatty() and os.environ.get("TERM") != "dumb"


def print_blocks(blocks: Iterable[Block], file: TextIO, rich: bool | None = None) -> None:
    """Print the blocks that are not empty.

    ``rich``: None to lay text out for a terminal only if ``file`` is one.
    """
    said = [block for block in blocks if block]
    if is_terminal(file) if rich is None else rich:
        _print_rich(said, file)
    else:
        _print_plain(said, file)


def _print_plain(blocks: list[Block], file: TextIO) -> None:
    for block in blocks:
        lines = [one_line(block.title)]
        if block.table is not None:
            lines += [f"  {line}" for line in _table_lines(block.table)]
        lines += [f"  {one_line(line.text)}" for line in block.lines]
        file.write(encodable("\n".join(lines) + "\n\n", file))
    file.flush()


def _table_lines(table: Table) -> Iterator[str]:
    titles = [column.title for column in table.columns]
    rows = [[cell.text for cell in row] for row in table.rows]
    return aligned([titles, *rows], to_the_right=[column.numeric for column in table.columns])


def _print_rich(blocks: list[Block], file: TextIO) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    # Text objects, not markup: a name such as "[red]" is printed unchanged.
    console = Console(file=file, force_terminal=True, highlight=False)
    for block in blocks:
        console.print(Text(one_line(block.title), style="bold"))
        if block.table is not None:
            ruled = _rich_table(block.table, file)
            console.print(Padding(ruled, (0, 0, 0, 2), expand=False))
        for line in block.lines:
            text = Text(encodable(one_line(line.text), file), STYLES[line.tone])
            # A path or a command that is cut into lines cannot be copied.
            console.print(Text("  ") + text, soft_wrap=True)
        console.print()


def _rich_table(table: Table, file: TextIO):
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    ruled = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for column in table.columns:
        ruled.add_column(
            column.title,
            justify="right" if column.numeric else "left",
            overflow="fold",
            no_wrap=column.title not in WRAPPED_COLUMNS,
        )
    for row in table.rows:
        ruled.add_row(
            *(Text(encodable(one_line(cell.text), file), STYLES[cell.tone]) for cell in row)
        )
    return ruled
