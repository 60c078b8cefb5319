from __future__ import annotations

from collections.abc import Iterator

import pytest

from vivace.core.types import Task
from vivace.sandbox import Sandbox
from vivace.tasks import admission
from vivace.tasks.admission import Admission
from vivace.tasks.candidates import Function, Site, same_code
from vivace.tasks.cover import Survey
from vivace.tasks.layers import Layer

TESTS = "tests/test_stats.py"


@pytest.fixture(scope="module")
def judge(layer: Layer, surveyed: Survey, sandbox: Sandbox) -> Iterator[Admission]:
    with Admission(layer, sandbox, surveyed.seconds, slots=1, audit=1 << 40) as opened:
        opened.audited = 1  # warm runs alone must tell
        yield opened


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"FAIL_TO_PASS": [f"{TESTS}::test_clamp", f"{TESTS}::test_clamp_low"]}, "a fail-to-pass test passes"),
        ({"FAIL_TO_PASS": [f"{TESTS}::test_clamp", f"{TESTS}::test_nowhere"]}, "a fail-to-pass test passes"),
        ({"PASS_TO_PASS": [f"{TESTS}::test_clamp_inside"]}, "a pass-to-pass test fails"),
        ({"gold_patch": ""}, "gold patch fails"),
        ({"bug_patch": ""}, "a fail-to-pass test passes"),
        ({"FAIL_TO_PASS": [f"{TESTS}::test_clamp"], "PASS_TO_PASS": [f"{TESTS}::test_depends_on_the_hash_seed"]},
         "a pass-to-pass test fails"),
    ],
)  # fmt: skip
def test_warm_admission(change: dict[str, object], reason: str, task: Task, judge: Admission) -> None:
    changed = task.model_copy(update=change)
    assert judge.rejection(changed, [*task.FAIL_TO_PASS, *task.PASS_TO_PASS]) == reason


def test_gold_runs_serve_all_bugs_that_the_same_tests_watch(
    task: Task, judge: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = [*task.FAIL_TO_PASS, *task.PASS_TO_PASS, f"{TESTS}::test_longest"]
    runs: list[bool] = []
    real = Admission.run

    def run(self: Admission, changed: dict[str, str | None], *rest: int) -> object:
        runs.append(bool(changed))
        return real(self, changed, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Admission, "run", run)
    assert judge.rejection(task, tests) == ""
    assert runs == [True, True, False, False]
    runs.clear()
    assert judge.rejection(task, tests, seen=True) == ""
    assert runs == [True]


def test_an_audit_that_disagrees_makes_all_further_judgements_cold(
    task: Task, layer: Layer, surveyed: Survey, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def cold(task: Task, *rest: object) -> str:
        asked.append(task.id)
        return "gold patch fails"

    monkeypatch.setattr(admission, "rejection", cold)
    with Admission(layer, sandbox, surveyed.seconds, slots=1, audit=1 << 40) as judge:
        tests = [*task.FAIL_TO_PASS, *task.PASS_TO_PASS]
        assert judge.rejection(task, tests) == "gold patch fails"  # the first of a layer is always audited
        assert judge.rejection(task, tests) == "gold patch fails"
    assert len(asked) == 2


def test_edits_that_compile_to_the_same_are_seen() -> None:
    text = "def f(a):\n    return (a + 1)\n"
    function = Function("f", 1, 2)
    other = Site(text.index("+"), text.index("+") + 1, "x", "-", 2, "f")
    same = Site(text.index("(a + 1)"), text.index("(a + 1)") + 7, "x", "a + 1", 2, "f")
    assert same_code(text, function, same)
    assert not same_code(text, function, other)
