"""A program on a real pseudo-terminal, driven as a person would: keys in, text out."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][A-B0-2]|\x1b[=>78]|\r")
PATIENCE = 90.0  # on a machine with much else to do


class Terminal:
    """`vivace` with these arguments on a terminal of 80 columns."""

    def __init__(self, *arguments: object, env: Mapping[str, str]) -> None:
        self.main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", **env}
        environment.pop("COLUMNS", None)
        code = "from vivace.cli import main; main()"
        self.process = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdin=side, stdout=side,
                                        stderr=side, env=environment, start_new_session=True)
        os.close(side)
        self._said = ""
        self._read_to = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def expect(self, text: str) -> str:
        """Wait until the program has said `text` since what was last expected; what it said up to there."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with self._lock:
                at = self._said.find(text, self._read_to)
                if at >= 0:
                    before, self._read_to = self._said[self._read_to : at], at + len(text)
                    return before
            time.sleep(0.02)
        raise AssertionError(f"{text!r} was not said; instead:\n{self._said[self._read_to:][-3000:]}")

    def send(self, keys: str) -> None:
        os.write(self.main, keys.encode())

    def enter(self, line: str) -> None:
        self.send(line + "\r")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def end(self) -> int:
        """Exit code, once the program has ended by itself."""
        return self.process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        os.close(self.main)

    def _listen(self) -> None:
        pending = b""
        with suppress(OSError):
            while data := os.read(self.main, 65536):
                pending += data
                if b"\x1b[6n" in data:  # where is the cursor?
                    os.write(self.main, b"\x1b[30;1R")
                text = _ESCAPES.sub("", pending.decode(errors="ignore"))
                with self._lock:
                    self._said = text


def environment(tmp_path: Path) -> dict[str, str]:
    """State, cache and settings of its own."""
    return {"VIVACE_STATE": str(tmp_path / "state"), "VIVACE_CACHE": str(tmp_path / "cache"),
            "VIVACE_CONFIG": str(tmp_path / "config")}
