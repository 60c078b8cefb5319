"""The live table of an evaluation: one line a model and suite, with rate, tokens and time left; plain lines in logs."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from vivace.evals.compare import tokens_of
from vivace.evals.suite import Column

PLAIN_SECONDS = 15.0


class Board:
    """Redrawn as attempts finish. The time left is of the whole evaluation, from this sitting's rate."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = columns
        self._before = self._done()
        self._start = self._last = time.monotonic()
        self._live = Live(console=Console(stderr=True), refresh_per_second=4, get_renderable=self.render,
                          transient=True) if sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._live:
            self._live.stop()
        elif kind is None:
            self._line()

    def update(self, column: Column) -> None:
        """An attempt of this column has finished."""
        if self._live is None and time.monotonic() - self._last > PLAIN_SECONDS:
            self._line()

    def render(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, caption=self._left())
        for name in ("suite, model", "done", "solved", "tok K", "no verdict"):
            table.add_column(name, justify="right" if name != "suite, model" else "left")
        for column in self.columns:
            table.add_row(*self._cells(column))
        return table

    def _cells(self, column: Column) -> list[str]:
        attempts = list(column.done.values())
        graded = [attempt for attempt in attempts if attempt.grade.verdict]
        solved = sum(attempt.grade.solved for attempt in graded)
        tokens = sum(map(tokens_of, graded)) / len(graded) / 1000 if graded else 0.0
        rate = f"{solved}/{len(graded)} {100 * solved / len(graded):.0f}%" if graded else "–"
        return [column.label, f"{len(attempts)}/{len(column.wanted())}", rate, f"{tokens:.2f}",
                str(len(attempts) - len(graded))]

    def _done(self) -> int:
        return sum(len(column.done) for column in self.columns)

    def _left(self) -> str:
        played, more = self._done() - self._before, sum(len(c.wanted()) for c in self.columns) - self._done()
        seconds = time.monotonic() - self._start
        left = f"{more * seconds / played:.0f} s left" if played and more else ""
        return f"{played / max(seconds, 1e-9):.1f}/s, {seconds:.0f} s {left}".strip()

    def _line(self) -> None:
        self._last = time.monotonic()
        parts = [f"{cells[0]}: {cells[1]} done, {cells[2]} solved" for cells in map(self._cells, self.columns)]
        print(f"{'; '.join(parts)} ({self._left()})", file=sys.stderr, flush=True)
