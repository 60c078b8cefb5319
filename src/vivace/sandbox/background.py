"""Commands that go on while their caller does something else; they end with their workspace at the latest."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from vivace.core.errors import BadInput, InfraError
from vivace.sandbox.limits import ExecResult
from vivace.sandbox.supervise import KeptOutput

_END_S = 10.0
_MOST_TYPED = 1 << 16

Run = Callable[[Callable[[bytes], None], int, int], ExecResult]
"""Runs the command to its end; gets who listens to its output, its standard input and a descriptor to cancel it by."""


class Background:
    """One command in a thread of its own. `output_bytes` of what it writes are kept, head and tail."""

    def __init__(self, run: Run, output_bytes: int) -> None:
        self._kept, self._lock = KeptOutput(output_bytes), threading.Lock()
        self.told = False
        """Whether its end has been told to whoever started it; for their use."""
        self._open = True
        self._result: ExecResult | None = None
        self._problem: BaseException | None = None
        self._cancel_read, self._cancel_write = os.pipe()
        self._input_read, self._input_write = os.pipe()
        self._started, self._heard = time.monotonic(), time.monotonic()
        self._thread = threading.Thread(target=self._run, args=(run,), daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the command has not ended yet."""
        return self._thread.is_alive()

    @property
    def seconds(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started

    def output(self) -> str:
        """What the command has written so far."""
        with self._lock:
            return self._kept.text()[0]

    def wait(self, seconds: float, interrupt: int | None = None) -> ExecResult | None:
        """Its result once it has ended, None if that takes longer. It is stopped when `interrupt` becomes readable.

        Raises:
            InfraError: the sandbox failed, or had to be given up.
        """
        end = time.monotonic() + seconds
        while self.running and time.monotonic() < end:
            self._thread.join(min(0.05, max(0.0, end - time.monotonic())) if interrupt is not None else seconds)
            if interrupt is not None and select.select([interrupt], [], [], 0)[0]:
                return self.stop()
        return None if self.running else self._outcome()

    def wait_quiet(self, seconds: float, quiet: float) -> ExecResult | None:
        """As `wait`, but also returns once nothing was written for `quiet` seconds."""
        start = time.monotonic()
        while self.running and time.monotonic() < start + seconds:
            if time.monotonic() - max(self._heard, start) > quiet:
                return None
            self._thread.join(0.02)
        return None if self.running else self._outcome()

    def type(self, text: str) -> None:
        """Write to the command's standard input.

        Raises:
            BadInput: it does not read, or has ended.
        """
        data = text.encode()
        with self._lock:
            if not self._open or len(data) > _MOST_TYPED:
                raise BadInput("too much text at once; type less" if self._open else "the command has ended")
            os.set_blocking(self._input_write, False)
            try:
                os.write(self._input_write, data)
            except OSError as error:
                raise BadInput("the command does not read its input") from error

    def stop(self) -> ExecResult:
        """End the command and all that it has started; its result."""
        with self._lock, suppress(OSError):
            if self._open:
                os.write(self._cancel_write, b"x")
        self._thread.join(_END_S)
        return self._outcome()

    def _outcome(self) -> ExecResult:
        if self._problem is not None:
            raise self._problem
        if self._result is None:
            raise InfraError("a command in the background could not be ended; close the workspace")
        return self._result

    def _run(self, run: Run) -> None:
        try:
            self._result = run(self._listen, self._input_read, self._cancel_read)
        except (InfraError, BadInput) as error:
            self._problem = error
        finally:
            with self._lock:
                self._open = False
                for fd in (self._cancel_read, self._cancel_write, self._input_read, self._input_write):
                    os.close(fd)

    def _listen(self, data: bytes) -> None:
        with self._lock:
            self._kept.add(data)
            self._heard = time.monotonic()
