"""Mathematical equality by math-verify, in a worker process: its own time-outs use signals, which threads have not."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from importlib.util import find_spec

from vivace.core.errors import BadInput, InfraError

PATIENCE_S = 20.0
SETTINGS = {"library": "math-verify", "float_rounding": 6, "order": "verify(gold, answer)", "seconds": PATIENCE_S}
_WORKER = """
import json, sys
from math_verify import parse, verify
def one(row):
    gold, answer = (parse(part, parsing_timeout=None) for part in row)
    return bool(gold and answer and verify(gold, answer, float_rounding=6, timeout_seconds=None))
for line in sys.stdin:
    try:
        found = one(json.loads(line))
    except Exception:  # the answer is the model's: whatever it breaks in the parser, it is no right answer
        found = False
    print(json.dumps(found), flush=True)
"""


class MathJudge:
    """Asks one worker at a time, from any thread; a worker that takes too long is replaced."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[str] | None = None

    def equal(self, gold: str, answer: str) -> bool:
        """Whether two texts in LaTeX or plain notation mean the same value. What takes 20 s to compare does not.

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
                stdin.write(json.dumps([gold, answer]) + "\n")
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
            self._worker = subprocess.Popen([sys.executable, "-c", _WORKER], stdin=subprocess.PIPE, text=True,
                                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return self._worker

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None


judge = MathJudge()
