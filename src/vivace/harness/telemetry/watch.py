"""Looking at taken edits while a front end is running; what comes due without one is looked at by the next."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from vivace.core.errors import VivaceError
from vivace.harness.telemetry.store import measure, next_moment

_LONGEST_S = 30.0


class Watch:
    """A thread that measures when something is due. Use as a context; does nothing unless `enabled`."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def __enter__(self) -> Watch:
        if self.enabled:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self.enabled:
            self._thread.join(5)

    def _run(self) -> None:
        while not self._over.wait(min(next_moment(time.time()) or _LONGEST_S, _LONGEST_S)):
            with suppress(OSError, VivaceError):
                measure()
