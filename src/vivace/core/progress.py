"""Progress bars with rate and ETA; quiet when nobody watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import Self, TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

PLAIN_SECONDS = 15.0
T = TypeVar("T")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text("" if not rate else f"{rate:,.1f}/s", style="dim")


class Progress:
    """A bar on a terminal; one plain line every 15 seconds elsewhere (a log file, CI).

    `total` is in whatever unit `advance` counts. `done` is what earlier sittings did: shown, but no part of the rate.
    """

    def __init__(self, description: str, total: float | None = None, done: float = 0.0) -> None:
        self.description, self.total, self.done, self._before = description, total, done, done
        self.note = ""
        self._started = self._last_line = time.monotonic()
        self._bar: RichProgress | None = None
        if sys.stderr.isatty():
            from rich.console import Console

            self._bar = RichProgress(
                SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
                _Rate(), TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("[dim]{task.fields[note]}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(description, total=total, note="",
                                            completed=done)  # type: ignore[arg-type]  # said to be int, counts floats

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()
        elif kind is None:
            self._line()

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Count `amount` more; `note` is a short text shown after the numbers."""
        self.done += amount
        self.note = note or self.note
        if self._bar:
            self._bar.update(self._task, advance=amount, note=self.note)
        elif time.monotonic() - self._last_line > PLAIN_SECONDS:
            self._line()

    def _line(self) -> None:
        self._last_line = time.monotonic()
        seconds = max(self._last_line - self._started, 1e-9)
        rate = (self.done - self._before) / seconds
        of = f"/{self.total:,.0f}" if self.total else ""
        more = self.total - self.done if self.total else 0
        left = f", {more / rate:.0f}s left" if rate and more > 0 else ""
        print(f"{self.description}: {self.done:,.0f}{of} ({rate:,.1f}/s, {seconds:.0f}s{left}) {self.note}",
              file=sys.stderr, flush=True)


def progress(iterable: Iterable[T], description: str, total: float | None = None) -> Iterator[T]:
    """Iterate with a bar; `total` defaults to len(iterable) when it has one."""
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    with Progress(description, total) as bar:
        for item in iterable:
            yield item
            bar.advance()
