"""Admission at the price of a few forks: empty patch fails, gold patch passes, each twice, in warm sandboxes.

The four runs of the rule stay, but none pays for an interpreter, a copy of the tree or an import of the test runner.
The two rounds use servers with different hash seeds, so a result that hangs on the order of a set is not admitted. The
gold patch leads back to the clean tree byte for byte (checked), hence one pair of gold runs serves all bugs that the
same tests watch. The first task of a layer and a fixed share of the others are judged cold as well, from the patches
alone in fresh workspaces; once such an audit disagrees, the layer's tests are told from warm ones no longer and every
further task is judged cold.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from vivace.core.files import digest
from vivace.core.types import Task, TestSpec
from vivace.sandbox import Sandbox, WarmTests, apply_patch
from vivace.sandbox.testrun import TestReport
from vivace.tasks.cover import deselection
from vivace.tasks.layers import Layer
from vivace.tasks.sources import PackageSource
from vivace.tasks.testing import run_warm
from vivace.tasks.verify import rejection
from vivace.tasks.workspaces import buggy_files, layer_files

AUDIT = 16  # one task in so many is judged cold as well
TIMEOUT_S = 30.0
LEAST_CPU_S = 2.0
PATIENCE = 3.0  # times what the tests took under coverage; what needs more is taken for a loop


class Refused(Exception):
    """A candidate that makes no task. The message is one of few fixed phrases, counted in reports."""


class Admission:
    """Judges the tasks of one layer. Thread-safe.

    Args:
        seconds: what each test takes, as the layer's survey says.
        slots: warm sandboxes for each of the two rounds.
        audit: one task in so many is judged cold as well; 1 judges all of them cold.
    """

    def __init__(self, layer: Layer, sandbox: Sandbox, seconds: Mapping[str, float], *, slots: int = 2,
                 audit: int = AUDIT) -> None:
        self.layer, self.sandbox, self.audit = layer, sandbox, audit
        self.spec = test_spec(layer.source)
        self.audited = 0
        self._seconds = seconds
        self._rounds = [WarmTests(lambda: layer.workspace(sandbox), layer.python, slots=slots,
                                  env={"PYTHONHASHSEED": str(seed)}) for seed in range(2)]
        self._gold: dict[tuple[str, ...], str] = {}
        self._locks: dict[tuple[str, ...], threading.Lock] = {}
        self._lock = threading.Lock()

    def run(self, changed: Mapping[str, str | None], tests: Sequence[str], turn: int = 0) -> TestReport:
        """These tests on the clean tree with these files changed; `turn` 0 or 1 is the round."""
        seconds = sum(self._seconds.get(test, 1.0) for test in tests)
        tree = {path: None if text is None else text.encode() for path, text in changed.items()}
        return run_warm(self._rounds[turn], self.spec, tree, tests, canary=True,
                        cpu_s=max(LEAST_CPU_S, PATIENCE * seconds))

    def rejection(self, task: Task, tests: Sequence[str], *, seen: bool = False) -> str:
        """Why a task must not be admitted, as one of a few fixed phrases; "" if it may.

        Args:
            tests: a superset of its FAIL_TO_PASS and PASS_TO_PASS; the same for many tasks makes the gold runs cheap.
            seen: round 0 has shown the empty patch to fail in just this way.
        """
        wanted = [*task.FAIL_TO_PASS, *task.PASS_TO_PASS]
        buggy = buggy_files(task, self.layer)
        for turn in (1,) if seen else (0, 1):
            problem = _doubt(self.run(buggy, wanted, turn), task)
            if problem:
                return problem
        present = {path: text for path, text in buggy.items() if text is not None}
        if apply_patch(present, task.gold_patch) != layer_files(self.layer, sorted(buggy)):
            return "gold patch fails"
        problem = self._clean_problem(tuple(dict.fromkeys([*tests, *wanted])))
        return problem or (self._cold(task) if self._to_audit(task) else "")

    def _clean_problem(self, tests: tuple[str, ...]) -> str:
        """"" if these tests pass on the clean tree in both rounds; found once for each set of tests."""
        with self._lock:
            lock = self._locks.setdefault(tests, threading.Lock())
        with lock:
            if tests not in self._gold:
                passes = all(self.run({}, tests, turn).passed(tests) for turn in (0, 1))
                self._gold[tests] = "" if passes else "gold patch fails"
            return self._gold[tests]

    def _to_audit(self, task: Task) -> bool:
        with self._lock:
            first, self.audited = self.audited == 0, self.audited or 1
        return first or int(digest(task.bug_patch, 8), 16) % self.audit == 0

    def _cold(self, task: Task) -> str:
        problem = rejection(task, self.layer, self.sandbox, 1)
        with self._lock:
            if problem not in ("", "infra"):
                self.audit = 1  # here warm runs are no guide
        return problem

    def close(self) -> None:
        """End the test servers."""
        for pool in self._rounds:
            pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def test_spec(source: PackageSource) -> TestSpec:
    """How the tests of a package's tasks are run."""
    args = [source.test_dirs[0]] if source.runner == "unittest" else [*source.args, *deselection(source.deselect)]
    return TestSpec(runner=source.runner, args=args, timeout_s=TIMEOUT_S)


def _doubt(report: TestReport, task: Task) -> str:
    """Why a run on the bug does not show what the task says."""
    if report.stopped or report.canary_ok is not True or not report.collected_ok or not report.trusted:
        return "tests do not run to their end"
    if any(report.outcomes.get(test) not in ("failed", "error") for test in task.FAIL_TO_PASS):
        return "a fail-to-pass test passes"
    kept = all(report.outcomes.get(test) == "passed" for test in task.PASS_TO_PASS)
    return "" if kept else "a pass-to-pass test fails"
