"""A stop that another thread may ask for, seen by the loop between steps and by running commands at once."""

from __future__ import annotations

import os
import threading
from contextlib import suppress


class StopSwitch:
    """`interrupt` is a descriptor that becomes readable by a stop (see `Workspace.interrupt`)."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self.interrupt, self._wake = os.pipe()
        os.set_blocking(self.interrupt, False)

    def begin(self) -> None:
        """Forget an earlier stop."""
        self._stop.clear()
        with suppress(BlockingIOError):
            os.read(self.interrupt, 4096)

    def stop(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
            os.write(self._wake, b"x")

    def stopped(self) -> bool:
        return self._stop.is_set()

    def close(self) -> None:
        os.close(self.interrupt)
        os.close(self._wake)
