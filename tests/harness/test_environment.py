"""Running tests: shared reports, and no traces left behind."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from calc_repo import TASK

from vivace.core.errors import SandboxError
from vivace.core.types import TestSpec
from vivace.harness import environment
from vivace.harness.environment import Environment, TestCache, agent_limits, task_environment
from vivace.sandbox import WarmTests, Workspace, open_sandbox
from vivace.sandbox.testrun import TestReport

REPORT = TestReport(outcomes={}, exit_code=0, output="", duration_s=0.0, collected_ok=True)


def test_equal_states_share_a_run(base: Path) -> None:
    cache = TestCache()
    with Workspace(base, open_sandbox()) as one, Workspace(base, open_sandbox()) as two:
        first, second = (task_environment(w, TASK, Path(sys.executable), cache=cache) for w in (one, two))
        ids = TASK.FAIL_TO_PASS
        assert not first.test(ids).passed(ids)
        assert second.test(ids) is first.test(list(reversed(ids)))
        assert (cache.misses, cache.hits) == (1, 2)
        for workspace in (one, two):
            workspace.write_text("calc/ops.py", workspace.read_text("calc/ops.py").replace("a - b", "a + b"))
        assert second.test(ids).passed(ids)
        assert first.test(ids).passed(ids)
        assert (cache.misses, len(cache)) == (2, 2)
        first.test(ids[:1])
        assert cache.misses == 3


def test_requests_at_the_same_time_wait_for_one_run() -> None:
    cache, runs = TestCache(), []

    def slow() -> TestReport:
        runs.append(1)
        time.sleep(0.05)
        return REPORT

    threads = [threading.Thread(target=cache.get_or_run, args=("key", slow)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 1


def test_failures_of_the_machinery_are_not_kept() -> None:
    cache = TestCache()

    def broken() -> TestReport:
        raise SandboxError("gone")

    with pytest.raises(SandboxError):
        cache.get_or_run("key", broken)
    assert cache.get_or_run("key", lambda: REPORT) is REPORT


def test_what_the_clock_stopped_is_believed_the_second_time() -> None:
    cache, slow = TestCache(), replace(REPORT, timed_out=True, killed="time")
    reports = iter([slow, REPORT, slow, slow])
    assert cache.get_or_run("unlucky", lambda: next(reports)) is slow
    assert cache.get_or_run("unlucky", lambda: next(reports)) is REPORT
    assert cache.get_or_run("hangs", lambda: next(reports)) is slow
    for _ in range(3):
        assert cache.get_or_run("hangs", lambda: next(reports)) is slow
    assert (cache.misses, cache.hits, len(cache)) == (4, 2, 2)


def test_an_agent_waits_ten_seconds_at_most() -> None:
    assert agent_limits(TestSpec(timeout_s=30.0)).wall_s == 10.0
    assert agent_limits(TestSpec(timeout_s=30.0)).cpu_s == 4.0
    assert agent_limits(TestSpec(timeout_s=3.0)).wall_s == 3.0


@pytest.mark.parametrize("warm_run", [True, False])
def test_a_run_of_the_agent_s_tests_that_hangs_is_cut_short(
    workspace: Workspace, warm: WarmTests, warm_run: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "AGENT_SECONDS", 1.5)
    workspace.write_text("calc/ops.py", "while True:\n    pass\n")
    env = task_environment(workspace, TASK, Path(sys.executable), warm=warm if warm_run else None)
    assert TASK.test.timeout_s == 30.0
    report = env.test(TASK.FAIL_TO_PASS)
    assert report.timed_out
    assert report.duration_s < 15


def test_files_written_by_tests_are_put_back(make_env: Callable[[dict[str, str]], Environment]) -> None:
    env = make_env({
        "data.txt": "base\n",
        "gone.txt": "base\n",
        "mine.txt": "base\n",
        "test_a.py": "import os\n\n\ndef test_writes():\n    for name in ('data', 'mine', 'new', 'back'):\n"
        "        open(name + '.txt', 'w').write('by a test')\n    os.remove('gone.txt')\n",
        "back.txt": "base\n",
    })  # fmt: skip
    env.workspace.write_text("mine.txt", "edited\n")
    env.workspace.delete("back.txt")
    before = env.workspace.diff()
    report = env.test(None)
    assert report.outcomes == {"test_a.py::test_writes": "passed"}
    assert env.workspace.diff() == before
    assert env.workspace.read_text("gone.txt") == "base\n"
    assert env.workspace.read_text("mine.txt") == "edited\n"
