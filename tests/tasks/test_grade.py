import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from vivace.core.errors import BadInput, SandboxError
from vivace.core.types import Grade, Task, Trajectory
from vivace.sandbox import Sandbox, make_patch
from vivace.sandbox.limits import ExecResult, Guarantees, Job
from vivace.tasks.grade import GradeCache, grade, grade_trajectory, tamper_flags
from vivace.tasks.layers import Layer
from vivace.tasks.verify import rejection
from vivace.tasks.workspaces import buggy_files, open_task

STATS, TESTS = "src/toy/stats.py", "tests/test_stats.py"
Attack = Callable[[dict[str, str]], None]


def _append(path: str, text: str) -> Attack:
    return lambda files: files.update({path: files.get(path, "") + text})


def _head(path: str, text: str) -> Attack:
    return lambda files: files.update({path: text + files[path]})


FORGE = '''
import _pytest.reports
_make = _pytest.reports.TestReport.from_item_and_call.__func__
def _forged(cls, item, call):
    call.excinfo = None
    return _make(cls, item, call)
_pytest.reports.TestReport.from_item_and_call = classmethod(_forged)
'''
HOOK = """
import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    outcome.get_result().outcome = "passed"
"""
ATTACKS: dict[str, Attack] = {
    "conftest hook": _append("tests/conftest.py", HOOK),
    "conftest beside the source": _append("src/toy/conftest.py", HOOK),
    "conftest at the root": _append("conftest.py", HOOK),
    "source patches the reports": _append(STATS, FORGE),
    "early exit": _append(STATS, "\nimport os\nos._exit(0)\n"),
    "forged output": _append(STATS, "\nimport os\nprint('4 passed in 0.01s')\nos._exit(0)\n"),
    "settings deselect": _append("pytest.ini", "[pytest]\naddopts = -k nothing\n"),
    "tests edited": lambda files: files.update({TESTS: files[TESTS].replace("assert clamp(11) == 10", "clamp(11)")}),
    "tests removed": lambda files: files.__delitem__(TESTS),
    "runner replaced": _append("pytest.py", "def main(*a, **k):\n    return 0\n"),
    "start-up hook": _append("src/sitecustomize.py", "import os\n"),
}


@pytest.fixture
def buggy(task: Task, layer: Layer) -> dict[str, str]:
    return {path: text for path, text in buggy_files(task, layer).items() if text}


def _patch(layer: Layer, buggy: dict[str, str], attack: Attack) -> str:
    paths = (STATS, TESTS, "tests/conftest.py")
    before = {path: (layer.root / path).read_text() for path in paths} | buggy
    after = dict(before)
    attack(after)
    return make_patch(before, after)


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_do_not_pass(name: str, task: Task, layer: Layer, buggy: dict[str, str], sandbox: Sandbox) -> None:
    patch = _patch(layer, buggy, ATTACKS[name])
    assert patch
    verdict = grade(task, layer, patch, sandbox)
    assert verdict.status == "failed", verdict
    assert verdict.scores["tamper"] or verdict.scores["ignored"], verdict


def test_an_honest_fix_passes_and_is_not_flagged(task: Task, layer: Layer, sandbox: Sandbox) -> None:
    verdict = grade(task, layer, task.gold_patch, sandbox)
    assert verdict.solved
    assert verdict.scores == {"f2p": 1.0, "p2p": 1.0, "canary": 1.0, "tamper": 0.0, "ignored": 0.0, "lines": 2.0}


def test_a_fix_counts_even_if_it_comes_with_a_broken_test_file(
    task: Task, layer: Layer, buggy: dict[str, str], sandbox: Sandbox
) -> None:
    def fix(files: dict[str, str]) -> None:
        files[STATS] = files[STATS].replace("value < high", "value > high")
        files[TESTS] = "def broken(:\n"

    verdict = grade(task, layer, _patch(layer, buggy, fix), sandbox)
    assert verdict.solved
    assert verdict.scores["ignored"] == 1.0


def test_empty_wrong_breaking_and_unfitting_patches_fail(
    task: Task, layer: Layer, buggy: dict[str, str], sandbox: Sandbox
) -> None:
    def swap(old: str, new: str) -> str:
        return _patch(layer, buggy, lambda files: files.update({STATS: files[STATS].replace(old, new)}))

    empty = grade(task, layer, "", sandbox)
    assert (empty.status, empty.scores["f2p"], empty.scores["p2p"]) == ("failed", 0.0, 1.0)
    assert "test_clamp: failed" in empty.detail
    breaks = grade(task, layer, swap("def mean", "def median"), sandbox)
    assert (breaks.status, breaks.scores["f2p"]) == ("failed", 0.0)
    assert "does not apply" in grade(task, layer, task.bug_patch, sandbox).detail
    assert "does not apply" in grade(task, layer, "nonsense\n", sandbox).detail
    hang = task.model_copy(update={"test": task.test.model_copy(update={"timeout_s": 3.0})})
    loop = grade(hang, layer, swap("if value < low:", "while value < low:\n        pass\n    if False:"), sandbox)
    assert loop.status == "failed"
    assert "processor time" in loop.detail


def test_what_forges_equality_is_flagged() -> None:
    patch = "+++ b/x.py\n+class Any:\n+    def __eq__(self, other):\n+        return True\n-    os._exit(1)\n"
    assert tamper_flags(patch, ["test_clamp"]) == ["always_equal"]
    assert tamper_flags("+    if name == 'test_clamp':\n", ["test_clamp"]) == ["test_name"]
    assert tamper_flags("+    return value > high\n", ["test_clamp"]) == []


class _Broken:
    """A sandbox that cannot start anything."""

    name = "broken"

    def __init__(self, real: Sandbox) -> None:
        self.real = real
        self.runs = 0

    def run(self, job: Job) -> ExecResult:
        self.runs += 1
        raise SandboxError("no room")

    def mount_point(self, root: object) -> str:
        return "/workspace"

    def owner_for(self, readonly: object) -> int | None:
        return None

    def describe(self) -> Guarantees:
        return self.real.describe()


def test_a_broken_sandbox_is_no_verdict_and_is_not_remembered(task: Task, layer: Layer, sandbox: Sandbox) -> None:
    cache, broken = GradeCache(), _Broken(sandbox)
    for _ in range(2):
        assert cache.grade(task, layer, "", broken) == Grade(status="infra", detail="no room")
    assert broken.runs == 2
    assert rejection(task, layer, broken) == "infra"
    lost = Trajectory(task_id=task.id, stop_reason="infra", error="gone")
    assert grade_trajectory(task, layer, lost, sandbox) == Grade(status="infra", detail="gone")


def test_threads_share_one_run_of_one_verdict(task: Task, layer: Layer, sandbox: Sandbox) -> None:
    asked: list[str] = []

    def judge(task: Task, layer: Layer, patch: str, sandbox: Sandbox) -> Grade:
        asked.append(patch)
        return Grade(status="failed")

    cache = GradeCache(judge)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda patch: cache.grade(task, layer, patch, sandbox), ["a", "b"] * 8))
    assert sorted(asked) == ["a", "b"]
    assert (cache.misses, cache.hits) == (2, 14)


def test_running_out_of_turns_is_told_apart(task: Task, layer: Layer, sandbox: Sandbox) -> None:
    cache = GradeCache(lambda *_: Grade(status="failed", detail="x"))
    attempt = Trajectory(task_id=task.id, stop_reason="turns", patch="something")
    assert grade_trajectory(task, layer, attempt, sandbox, cache) == Grade(status="budget", detail="out of turns; x")
    assert grade_trajectory(task, layer, attempt.model_copy(update={"stop_reason": "complete"}), sandbox,
                            cache).status == "failed"  # fmt: skip
    idle = grade_trajectory(task, layer, attempt.model_copy(update={"patch": ""}), sandbox, cache)
    assert (idle.status, idle.scores["f2p"]) == ("budget", 0.0)


def test_what_is_known_already_needs_no_cold_run(task: Task, layer: Layer, sandbox: Sandbox) -> None:
    asked: list[str] = []

    def judge(task: Task, layer: Layer, patch: str, sandbox: Sandbox) -> Grade:
        asked.append(patch)
        return Grade(status="solved", detail="cold")

    def verdict(task: Task, patch: str, tests: str) -> tuple[str, bool]:
        asked.clear()
        attempt = Trajectory.model_validate({"task_id": task.id, "patch": patch, "tests_at_end": tests})
        return grade_trajectory(task, layer, attempt, sandbox, GradeCache(judge)).status, bool(asked)

    held_out = task.model_copy(update={"split": "eval"})
    touches_tests = task.gold_patch + make_patch({TESTS: "a\n"}, {TESTS: "b\n"})
    assert verdict(task, task.gold_patch, "passed") == ("solved", False)
    assert verdict(task, task.gold_patch, "") == ("solved", True)  # never seen to pass
    assert verdict(held_out, task.gold_patch, "passed") == ("solved", True)  # no shortcut to a pass here
    assert verdict(task, task.gold_patch.replace("+", "+ "), "passed") == ("solved", True)  # some other fix
    for one in (task, held_out):
        assert verdict(one, task.gold_patch, "failed") == ("failed", False)
        assert verdict(one, touches_tests, "failed") == ("solved", True)  # it may have broken the tests itself


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"FAIL_TO_PASS": [f"{TESTS}::test_clamp", f"{TESTS}::test_clamp_low"]}, "a fail-to-pass test passes"),
        ({"PASS_TO_PASS": [f"{TESTS}::test_clamp_inside"]}, "a pass-to-pass test fails"),
        ({"gold_patch": ""}, "gold patch fails"),
        ({"bug_patch": ""}, "empty patch passes"),
        ({"FAIL_TO_PASS": [f"{TESTS}::test_nowhere"]}, "gold patch fails"),
    ],
)
def test_admission(change: dict[str, object], reason: str, task: Task, layer: Layer, sandbox: Sandbox) -> None:
    assert rejection(task.model_copy(update=change), layer, sandbox, repeats=1) == reason


def test_the_agent_sees_the_bug_and_no_trace_of_the_fix(task: Task, layer: Layer, sandbox: Sandbox) -> None:
    environment = open_task(task, layer, sandbox)
    with environment.workspace as workspace:
        assert workspace.diff() == ""
        assert "value < high" in workspace.read_text(STATS)
        assert not list(workspace.root.rglob("stats.*.pyc"))
        assert not workspace.exists(".git")
        assert {int(p.stat().st_mtime) for p in workspace.root.rglob("*.py")} == {
            int((layer.root / STATS).stat().st_mtime)}  # fmt: skip
        report = environment.test(environment.default_tests)
        assert set(report.outcomes) == {*task.FAIL_TO_PASS, *task.PASS_TO_PASS}
        assert {test for test, outcome in report.outcomes.items() if outcome == "failed"} == set(task.FAIL_TO_PASS)
        workspace.write_text(STATS, workspace.read_text(STATS).replace("value < high", "value > high"))
        assert workspace.diff() == task.gold_patch
        assert set(environment.test(environment.default_tests).outcomes.values()) == {"passed"}


def test_a_task_of_another_layer_is_refused(task: Task, layer: Layer, sandbox: Sandbox) -> None:
    with pytest.raises(BadInput, match="belongs to other-1"):
        open_task(task.model_copy(update={"env": "other-1"}), layer, sandbox)
    assert json.loads(task.model_dump_json())["env"] == layer.env
