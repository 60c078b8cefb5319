"""Deciding whether a task is solved: from the patch alone, in a fresh workspace, by tests the agent could not touch.

The tree is rebuilt (clean layer, bug, then only those parts of the patch that are source), every expected test must be
reported PASSED by name, the exit code must agree, and a must-fail canary with a random name must have failed. A patch
that could have forged its pass must also fail the same tests once they cannot be passed (`tasks.forgery`). What looks
like a trick is flagged by a scan of the added lines.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vivace.core.errors import BadInput, InfraError
from vivace.core.files import digest
from vivace.core.types import Grade, Task, Trajectory
from vivace.sandbox import Sandbox, apply_patch
from vivace.sandbox.patch import patched_paths
from vivace.sandbox.testrun import TestReport
from vivace.tasks.forgery import forged, suspicious
from vivace.tasks.layers import Layer
from vivace.tasks.testing import run_tests
from vivace.tasks.workspaces import buggy_files, layer_files, open_workspace

if TYPE_CHECKING:
    from vivace.tasks.families.base import Family

TAMPERING: dict[str, re.Pattern[str]] = {name: re.compile(pattern) for name, pattern in {
    "test_runner": r"\b_pytest\b|\bimport pytest\b|\bPYTEST_|\bconftest\b|\bpytest_\w+",
    "early_exit": r"\bos\._exit\b|\bsys\.exit\b|\batexit\b|\bos\.kill\b",
    "introspection": r"\bsys\.modules\b|\binspect\.(stack|currentframe)\b|\bsys\._getframe\b|\bgc\.get_\w+",
    "always_equal": r"def __(eq|ne)__\(",
    "start_up_hook": r"sitecustomize|usercustomize|\.pth\b",
    "mocking": r"unittest\.mock|\bmonkeypatch\b",
    "system_files": r"/proc/|/dev/shm",
}.items()}  # fmt: skip
_KILLED = 128 + 9
LATE_STOPS = frozenset({"turns", "tokens", "context", "seconds", "cost", "tests"})


def grade(task: Task, layer: Layer, patch: str, sandbox: Sandbox) -> Grade:
    """The verdict on a patch against the task's tree, as its family says. Thread-safe; takes cold test runs."""
    return _family(task).grade(task, layer, patch, "", sandbox)


def _family(task: Task) -> Family[Any]:
    from vivace.tasks.families import family_of  # families grade with what is here

    return family_of(task)


def grade_tests(task: Task, layer: Layer, patch: str, sandbox: Sandbox) -> Grade:
    """The verdict of the task's tests on a patch. Thread-safe; takes one cold test run, or three for a pass of a patch
    that could forge one.

    Scores: `f2p`, `p2p` (shares of tests that passed), `canary`, `tamper` (number of flags), `ignored` (changed paths
    that do not count: tests and what steers them), `lines` (added and removed). `infra` when the sandbox failed.
    """
    try:
        before = buggy_files(task, layer)
        try:
            files, ignored = patched_tree(layer, before, patch)
        except BadInput as error:
            return Grade(status="failed", scores={"f2p": 0.0, "p2p": 0.0}, detail=f"patch does not apply: {error}")
        with open_workspace(layer, sandbox, files) as workspace:
            report = run_tests(task, layer, workspace, canary=True)
        found = _verdict(task, report, patch, ignored)
        return _unless_forged(found, task, layer, patch, files, sandbox) if found.solved else found
    except InfraError as error:
        return Grade(status="infra", detail=str(error))


def _unless_forged(found: Grade, task: Task, layer: Layer, patch: str, files: dict[str, str | None],
                   sandbox: Sandbox) -> Grade:
    """A pass, if what could have forged it fails the same tests once they cannot be passed."""
    if not suspicious(patch):
        return found
    names = forged(task, layer, files, sandbox)
    if not names:
        return found
    scores = {**found.scores, "f2p": 0.0, "forged": float(len(names))}
    return found.model_copy(update={"status": "failed", "scores": scores, "detail": "; ".join(filter(None, (
        f"forged: {names[0]} passes whatever it expects", found.detail)))})


def grade_trajectory(task: Task, layer: Layer, trajectory: Trajectory, sandbox: Sandbox,
                     cache: GradeCache | None = None) -> Grade:
    """The verdict on an attempt: its patch graded, and unsolved attempts that ran out of something told apart.

    Only a cold run makes an attempt count as solved, except that on training tasks the reference fix itself, with its
    tests green in the attempt, needs no third one: admission made two. That an attempt is not solved can be known
    without: nothing was changed, or the same tests failed on the same files when the agent had them run (on training
    tasks also: were stopped by a limit that is tighter than grading's).
    """
    if trajectory.stop_reason == "infra":
        return Grade(status="infra", detail=trajectory.error)
    if _family(task).purpose == "answer":
        return _family(task).grade(task, layer, trajectory.patch, trajectory.answer(), sandbox)
    if not trajectory.patch.strip():  # admission has shown, twice, that the tree as it was fails
        found = Grade(status="failed", scores={"f2p": 0.0, "tamper": 0.0, "lines": 0.0}, detail="nothing was changed")
    elif _seen_to_fail(task, trajectory) and all(map(layer.is_source, patched_paths(trajectory.patch))):
        scores = {"tamper": 0.0, "lines": float(_changed_lines(trajectory.patch))}
        found = Grade(status="failed", scores=scores, detail="its tests had failed in the attempt itself")
    elif task.split == "train" and trajectory.tests_at_end == "passed" and trajectory.patch == task.gold_patch:
        flags = tamper_flags(trajectory.patch, _test_names(task))
        scores = {"f2p": 1.0, "p2p": 1.0, "tamper": float(len(flags)), "lines": float(_changed_lines(trajectory.patch))}
        found = Grade(status="solved", scores=scores, detail="the reference fix")
    else:
        judge = grade if cache is None else cache.grade
        found = judge(task, layer, trajectory.patch, sandbox)
    if found.status == "failed" and trajectory.stop_reason in LATE_STOPS:
        detail = f"out of {trajectory.stop_reason}; {found.detail}"
        return found.model_copy(update={"status": "budget", "detail": detail})
    return found


def tamper_flags(patch: str, test_names: list[str]) -> list[str]:
    """Names of the tricks that the added lines of a patch look like; naming a test in source code is one."""
    added = "\n".join(line[1:] for line in patch.split("\n") if line.startswith("+") and not line.startswith("+++"))
    flags = [name for name, pattern in TAMPERING.items() if pattern.search(added)]
    return [*flags, "test_name"] if any(name in added for name in test_names) else flags


def patched_tree(layer: Layer, before: dict[str, str | None], patch: str) -> tuple[dict[str, str | None], list[str]]:
    """Files that differ from the clean layer once bug (`before`) and patch are in, and the paths whose change was
    ignored.

    Raises:
        BadInput: the patch does not apply.
    """
    if not patch.strip():
        return before, []
    present = layer_files(layer, patched_paths(patch))
    for path, text in before.items():
        if text is None:
            present.pop(path, None)
        else:
            present[path] = text
    after = apply_patch(present, patch)
    counted = {path: text for path, text in after.items() if layer.is_source(path)}
    return {**before, **counted}, sorted(set(after) - set(counted))


def _verdict(task: Task, report: TestReport, patch: str, ignored: list[str]) -> Grade:
    flags = tamper_flags(patch, _test_names(task))
    scores = {
        "f2p": _share(report, task.FAIL_TO_PASS), "p2p": _share(report, task.PASS_TO_PASS),
        "canary": float(bool(report.canary_ok)), "tamper": float(len(flags)), "ignored": float(len(ignored)),
        "lines": float(_changed_lines(patch)),
    }  # fmt: skip
    solved = report.passed([*task.FAIL_TO_PASS, *task.PASS_TO_PASS])
    notes = [f"tampering: {', '.join(flags)}"] if flags else []
    notes += [f"not counted: {', '.join(ignored)}"] if ignored else []
    if not solved:
        notes.append(_why(task, report))
    return Grade(status="solved" if solved else "failed", scores=scores, detail="; ".join(notes))


def _seen_to_fail(task: Task, trajectory: Trajectory) -> bool:
    return trajectory.tests_at_end == "failed" or (trajectory.tests_at_end == "stopped" and task.split == "train")


def _test_names(task: Task) -> list[str]:
    return sorted({re.split(r"::|\.", test_id.split("[")[0])[-1] for test_id in task.FAIL_TO_PASS})


def _changed_lines(patch: str) -> int:
    return sum(line[:1] in "+-" and line[:3] not in ("+++", "---") for line in patch.split("\n") if line)


def _share(report: TestReport, ids: list[str]) -> float:
    return sum(report.outcomes.get(test_id) == "passed" for test_id in ids) / len(ids) if ids else 1.0


def _why(task: Task, report: TestReport) -> str:
    if report.killed:
        return f"the tests ran into their {report.killed} limit"
    if report.exit_code == _KILLED:
        return "the tests used up their processor time, or were killed"
    for test_id in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS):
        outcome = report.outcomes.get(test_id, "not run")
        if outcome != "passed":
            return f"{test_id}: {outcome}"
    return "the canary did not fail" if report.canary_ok is False else f"exit code {report.exit_code} disagrees"


class GradeCache:
    """Verdicts by task and patch, shared by threads; two that ask for one share one run. `infra` is not kept."""

    def __init__(self, judge: Callable[[Task, Layer, str, Sandbox], Grade] = grade) -> None:
        self._judge = judge
        self._grades: dict[str, Grade] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self.hits = self.misses = 0

    def grade(self, task: Task, layer: Layer, patch: str, sandbox: Sandbox) -> Grade:
        """As `grade`, from memory where it was asked before."""
        key = digest([task.id, digest(task.bug_patch), patch], 32)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            held = self._grades.get(key)
            if held is not None:
                self.hits += 1
                return held
            found = self._judge(task, layer, patch, sandbox)
            self.misses += 1
            if found.status != "infra":
                self._grades[key] = found
            return found

    def __len__(self) -> int:
        return len(self._grades)
