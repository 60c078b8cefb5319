"""The link between the terminal and the loop: what the user types and stops, in another thread than the work."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import suppress

from vivace.commands.interactive.screen import Screen
from vivace.core.types import Delta
from vivace.harness.hooks import Event, Hooks


class Front(Hooks):
    """`steer` and `stop` may be called at any time. `interrupt` is a descriptor that becomes readable by a stop."""

    listens = True

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._lines: list[str] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.interrupt, self._wake = os.pipe()
        os.set_blocking(self.interrupt, False)

    def begin(self) -> None:
        """Forget an earlier stop."""
        self._stop.clear()
        with suppress(BlockingIOError):
            os.read(self.interrupt, 4096)

    def steer(self, line: str) -> None:
        with self._lock:
            self._lines.append(line)

    def stop(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
            os.write(self._wake, b"x")

    def close(self) -> None:
        os.close(self.interrupt)
        os.close(self._wake)

    def event(self, event: Event) -> None:
        self.screen.event(event)

    def delta(self, delta: Delta) -> None:
        self.screen.delta(delta)

    def forgotten(self, kept: int) -> None:
        self.screen.taken_back()

    def steering(self) -> Sequence[str]:
        """What was typed since the last time; also called to fetch what came too late for a turn."""
        with self._lock:
            taken, self._lines = self._lines, []
        return taken

    def stopped(self) -> bool:
        return self._stop.is_set()
