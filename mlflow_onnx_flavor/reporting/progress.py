"""Progress of long steps on standard error: a spinner on a terminal, plain lines elsewhere.

progress = Progress()
with progress("converting with skl2onnx"):
    ...
    progress.note("float32 inputs")
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from mlflow_onnx_flavor.formatting import numbers
from mlflow_onnx_flavor.formatting.text import encodable, one_line
from mlflow_onnx_flavor.reporting.terminal import is_terminal

if TYPE_CHECKING:
    import rich.progress


class Progress:
    """A display of the current step and its duration.

    ``quiet``: prints nothing.  ``file``: None for standard error.  Steps may be nested; an error
    inside a step ends its line with "failed" and propagates.
    """

    def __init__(self, *, quiet: bool = False, file: TextIO | None = None):
        self._quiet = quiet
        self._file = file
        self._steps: list[str] = []
        self._live: rich.progress.Progress | None = (
            None  # the rich display, while a step runs on a terminal
        )
        self._tasks: list = []

    @contextmanager
    def __call__(self, text: str) -> Iterator[None]:
        """Run a step: ``text`` describes it."""
        text = one_line(text)
        started_ns = time.perf_counter_ns()
        ended = "failed"
        self._begin(text)
        try:
            yield
            ended = "done"
        finally:
            self._end(text, ended, (time.perf_counter_ns() - started_ns) / 1e9)

    def note(self, text: str) -> None:
        """Print a sentence within a step; on a terminal it stays at the spinner until the next."""
        text = one_line(text)
        if self._quiet:
            return
        if self._live is not None:
            self._live.update(self._tasks[-1], detail=text)
        else:
            self._line(f"{'  ' * len(self._steps)}{text}")

    @property
    def _stream(self) -> TextIO:
        # Looked up at each use: tests and notebooks replace sys.stderr.
        return self._file if self._file is not None else sys.stderr

    def _begin(self, text: str) -> None:
        indent = "  " * len(self._steps)
        self._steps.append(text)
        if self._quiet:
            return
        if not is_terminal(self._stream):
            self._line(f"{indent}{text} ...")
            return
        if self._live is None:
            self._live = _spinner(self._stream)
            self._live.start()
        self._tasks.append(self._live.add_task(f"{indent}{text}", total=None, detail=""))

    def _end(self, text: str, ended: str, seconds: float) -> None:
        self._steps.pop()
        if self._quiet:
            return
        indent = "  " * len(self._steps)
        if self._live is not None:
            self._live.remove_task(self._tasks.pop())
            if not self._tasks:
                self._live.stop()
                self._live = None
        line = f"{indent}{text}: {ended} in {numbers.duration(seconds)}"
        if self._live is not None:
            self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            self._line(line)

    def _line(self, text: str) -> None:
        self._stream.write(encodable(text + "\n", self._stream))
        self._stream.flush()


def _spinner(file: TextIO):
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import ProgressColumn, SpinnerColumn
    from rich.table import Column
    from rich.text import Text

    class StepColumn(ProgressColumn):
        """The current step, its duration and the last note; cut at the end of the line."""

        def render(self, task) -> Text:
            elapsed = numbers.duration(int(task.elapsed or 0))
            return Text.assemble(
                task.description, (f"  {elapsed}", "yellow"), (f"  {task.fields['detail']}", "dim")
            )

    return RichProgress(
        SpinnerColumn(),
        StepColumn(Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        console=Console(file=file, force_terminal=True),
        transient=True,
        expand=True,
        # Text that the program itself prints on standard output must stay as it is.
        redirect_stdout=False,
        redirect_stderr=False,
    )
