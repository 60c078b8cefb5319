"""What an attempt acts upon: a workspace and a way to run its tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vivace.core.files import digest
from vivace.core.types import Task, TestSpec
from vivace.sandbox import ExecLimits, Workspace
from vivace.sandbox.testrun import TestReport, run_pytest, run_unittest
from vivace.sandbox.warm import WarmTests

AGENT_SECONDS, AGENT_CPU_SECONDS = 10.0, 4.0
"""Of one test run that an agent asks for. Edits that hang are common, a group of attempts waits for the slowest, and
the tests of a task take under 3 s; grading keeps the task's own limit."""

Guard = Callable[[Any, Any, Any], AbstractContextManager[None]]
"""(tool, its arguments, context); see `policy.gate.Gate.around`."""
TestRunner = Callable[[list[str] | None], TestReport]
"""Runs the tests with these ids (None: the whole suite) against the workspace as it is now."""


class TestCache:
    """Test reports by the state they belong to, shared by the attempts at one or many tasks. Thread-safe.

    Two attempts that ask for the same state at the same time share one run. Failures of the machinery are not kept.
    A run that the clock stopped is kept only if it happens again: once may be the load of the machine, and an honest
    edit must not fail for good by it; but edits that hang do come again and again in a group, and trying each of them
    every time would cost the whole limit.
    """

    __test__ = False

    def __init__(self) -> None:
        self._reports: dict[str, TestReport] = {}
        self._stopped: set[str] = set()  # keys whose run the clock stopped once
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self.hits = self.misses = 0

    def get_or_run(self, key: str, run: Callable[[], TestReport]) -> TestReport:
        """The report kept under `key`, or that of `run()`."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            held = self._reports.get(key)
            if held is None:
                held = run()
                self.misses += 1
                if held.timed_out and key not in self._stopped:
                    self._stopped.add(key)
                else:
                    self._reports[key] = held
            else:
                self.hits += 1
            return held

    def __len__(self) -> int:
        return len(self._reports)


@dataclass
class Environment:
    """A workspace, its test runner, and which tests `runTests` means when it names none (None: the whole suite).

    `key` names the base state in the cache: workspaces opened on the same base must share it, others must not.
    """

    workspace: Workspace
    run_tests: TestRunner
    default_tests: list[str] | None = None
    cache: TestCache | None = None
    key: str = ""
    more_tools: Sequence[Any] = ()
    """Tools (`tools.base.Tool`) beside those of the profile, where that works and the model is behind an endpoint."""
    guard: Guard | None = None
    """Entered around every call of a tool; raises ToolError for one that is not allowed."""

    @property
    def mount_point(self) -> str:
        """Path of the workspace as commands see it."""
        return self.workspace.mount

    def test(self, ids: list[str] | None) -> TestReport:
        """Run tests without leaving a trace: files that the tests themselves changed are put back."""
        before = self.workspace.state_digest()
        if self.cache is None:
            return self._run_and_restore(ids, before)
        key = digest([self.key, before, sorted(ids) if ids is not None else None], 32)
        return self.cache.get_or_run(key, lambda: self._run_and_restore(ids, before))

    def _run_and_restore(self, ids: list[str] | None, before: str) -> TestReport:
        mine = self.workspace.tree_changes()
        report = self.run_tests(ids)
        if self.workspace.state_digest() != before:
            self.workspace.reset(mine)
        return report


def agent_limits(spec: TestSpec) -> ExecLimits:
    """What a test run asked for by an agent may use."""
    return ExecLimits(wall_s=min(spec.timeout_s, AGENT_SECONDS), cpu_s=min(spec.timeout_s, AGENT_CPU_SECONDS))


def task_environment(
    workspace: Workspace,
    task: Task,
    python: Path,
    *,
    named_tests: bool = True,
    extra_args: Sequence[str] = (),
    cache: TestCache | None = None,
    warm: WarmTests | None = None,
) -> Environment:
    """The environment of a task, whose tests run as its `TestSpec` says, but within `agent_limits`.

    Args:
        python: interpreter that has the package's test dependencies.
        named_tests: `runTests` without arguments runs the tests that matter to the task, FAIL_TO_PASS and PASS_TO_PASS:
            all of them stand in the workspace, and an edit that only trades one failure for another should be seen.
        extra_args: of pytest, after those of the task.
        cache: shared between attempts; keyed by task id and workspace state.
        warm: test servers on the same base, many times as fast as a cold start.
    """

    def run(ids: list[str] | None) -> TestReport:
        limits = agent_limits(task.test)
        if task.test.runner == "unittest":
            start = task.test.args[0] if task.test.args else "tests"
            if warm:
                return warm.run_unittest(workspace, ids or (), start=start, limits=limits)
            return run_unittest(workspace, python, ids or (), start=start, limits=limits)
        args = [*task.test.args, *extra_args]
        if warm:
            return warm.run_pytest(workspace, ids or (), limits=limits, extra_args=args)
        return run_pytest(workspace, python, ids or (), limits=limits, extra_args=args)

    tests = [*task.FAIL_TO_PASS, *task.PASS_TO_PASS] if named_tests else None
    return Environment(workspace, run, tests, cache, task.id)
