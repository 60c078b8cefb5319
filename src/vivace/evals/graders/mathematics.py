"""Mathematical equality by math-verify, in a worker process: its own time-outs use signals, which threads have not."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from vivace.core.errors import BadInput, InfraError

PATIENCE_S = 20.0
"""Processor seconds of a comparison."""
_START_S, _WALL_S = 300.0, 300.0
SETTINGS = {"library": "math-verify", "float_rounding": 6, "order": "verify(gold, answer)", "cpu_seconds": PATIENCE_S}
_WORKER = Path(__file__).with_name("mathworker.py")


class MathJudge:
    """Asks one worker at a time, from any thread; a worker that takes too long is replaced."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[str] | None = None

    def equal(self, gold: str, answer: str) -> bool:
        """Whether two texts in LaTeX or plain notation mean the same value. What takes 20 s of processor time
        to compare does not."""
        return self._ask("equal", gold, answer)

    def either_way(self, gold: str, answer: str) -> bool:
        """`equal` to four decimals, in one order or the other, or after the answer's last equals sign."""
        return self._ask("either_way", gold, answer)

    def same_formula(self, gold: str, answer: str, tries: Sequence[str]) -> bool:
        """Whether two formulas agree for every assignment such as `a=2,b=3`, to eight decimals."""
        return self._ask("same_formula", gold, answer, list(tries))

    def _ask(self, *request: object) -> bool:
        """
        Raises:
            BadInput: math-verify is not installed.
            InfraError: the worker dies of itself.
        """
        with self._lock:
            worker = self._running()
            stdin = worker.stdin
            assert stdin is not None
            try:
                stdin.write(json.dumps(request) + "\n")
                stdin.flush()
            except OSError as error:
                self._end()
                raise InfraError(f"the worker of math-verify died ({error}); evaluate again") from error
            try:
                line = _line(worker, _WALL_S)
            except queue.Empty:  # stuck in one long operation that no signal ends
                self._end()
                return False
            if not line:
                self._end()
                raise InfraError("the worker of math-verify died; evaluate again")
            return bool(json.loads(line))

    def close(self) -> None:
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[str]:
        if self._worker is None:
            if find_spec("math_verify") is None:
                raise BadInput("mathematical suites need math-verify: pip install 'vivace[eval]'")
            self._worker = subprocess.Popen([sys.executable, str(_WORKER), str(PATIENCE_S)], stdin=subprocess.PIPE,
                                            text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            try:
                ready = _line(self._worker, _START_S)
            except queue.Empty:
                ready = ""
            if ready.strip() != "ready":
                self._end()
                raise InfraError("the worker of math-verify does not start; evaluate again")
        return self._worker

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None


def _line(worker: subprocess.Popen[str], seconds: float) -> str:
    """The worker's next line; queue.Empty when it takes longer."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    stdout = worker.stdout
    assert stdout is not None
    threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
    return lines.get(timeout=seconds)


judge = MathJudge()
