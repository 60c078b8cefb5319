"""Ctrl-C as a flag: long work looks at it where it can stop without losing anything."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupt:
    """Turns SIGINT and SIGTERM into a flag that is read between steps; a second signal acts at once."""

    def __init__(self) -> None:
        self.received = False

    def _handle(self, number: int, frame: object) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = True

    @contextmanager
    def installed(self) -> Iterator[None]:
        """In effect within the block; without effect in any but the main thread, which alone gets signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        previous = [signal.signal(number, self._handle) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, previous, strict=True):
                signal.signal(number, handler)
