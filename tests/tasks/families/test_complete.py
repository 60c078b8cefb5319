"""Gaps: filled by an edit or by an answer, judged by the tests, and by nothing else having changed."""

from __future__ import annotations

import pytest
from demonstrations import demonstrated, first

from vivace.core.types import Task
from vivace.sandbox import make_patch
from vivace.tasks.families import FAMILIES, Bench
from vivace.tasks.families.complete import completed, gap
from vivace.tasks.grade import grade
from vivace.tasks.workspaces import buggy_files


@pytest.fixture(scope="module", params=["line", "block", "span"])
def task(request: pytest.FixtureRequest, bench: Bench) -> Task:
    return first(bench, "complete", request.param, lambda hole: hole.kind == request.param)


def test_edit_and_answer(task: Task, bench: Bench) -> None:
    found, family = gap(task, bench.layer), FAMILIES["complete"]
    clean = (bench.layer.root / found.path).read_text()
    assert found.prefix + found.middle + found.suffix == clean
    for answer, right in ((found.middle, True), (f"```python\n{found.middle}\n```", True), ("", False),
                          ("None" if task.stage == "span" else "pass", False)):  # fmt: skip
        assert family.grade(task, bench.layer, "", answer, bench.sandbox).solved is right, answer
    assert completed(task, bench.layer, found.middle) == task.gold_patch
    trajectory, verdict = demonstrated(task, bench, "read", "nano")
    assert verdict.solved, trajectory.messages


def test_nothing_else_may_change(task: Task, bench: Bench) -> None:
    [(path, broken)] = buggy_files(task, bench.layer).items()
    clean = (bench.layer.root / path).read_text()
    others = {"comment": {path: clean + "# more\n"}, "new file": {path: clean, "src/wares/extra.py": "x = 1\n"},
              "docstring": {path: clean.replace('"""', '"""New. ', 1)}}  # fmt: skip
    for name, after in others.items():
        verdict = grade(task, bench.layer, make_patch({path: broken or ""}, after), bench.sandbox)
        assert (verdict.status, verdict.scores["f2p"]) == ("failed", 0.0), name
        assert "outside of the gap" in verdict.detail


def test_gaps_are_where_tests_go_and_are_spread(bench: Bench) -> None:
    holes = list(FAMILIES["complete"].candidates(bench))
    assert {hole.kind for hole in holes} == {"line", "block", "span"}
    assert all(hole.line in bench.survey.lines(hole.path) for hole in holes)
    assert len({hole.key for hole in holes}) == len(holes)
