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
SETTINGS = {"library": "math-verify", "float_rounding": 6, "order": "verify(gold, answer)", "seconds": PATIENCE_S}
_WORKER = Path(__file__).with_name("mathworker.py")


class MathJudge:
    """Asks one worker at a time, from any thread; a worker that takes too long is replaced."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[str] | None = None

    def equal(self, gold: str, answer: str) -> bool:
        """Whether two texts in LaTeX or plain notation mean the same value. What takes 20 s to compare does not."""
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
            lines: queue.SimpleQueue[str] = queue.SimpleQueue()
            stdin, stdout = worker.stdin, worker.stdout
            assert stdin is not None
            assert stdout is not None
            try:
                stdin.write(json.dumps(request) + "\n")
                stdin.flush()
            except OSError as error:
                self._end()
                raise InfraError(f"the worker of math-verify died ({error}); evaluate again") from error
            threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
            try:
                line = lines.get(timeout=PATIENCE_S)
            except queue.Empty:
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
            self._worker = subprocess.Popen([sys.executable, str(_WORKER)], stdin=subprocess.PIPE, text=True,
                                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return self._worker

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None


judge = MathJudge()
