"""Planted leaks are found, each by its rule, and what may be said is not taken for one."""

from __future__ import annotations

import pytest

from vivace.core.types import Task
from vivace.sandbox import make_patch
from vivace.tasks.layers import Layer
from vivace.tasks.leaks import audit

PATH = "src/toy/stats.py"


@pytest.fixture
def stubbed(task: Task, layer: Layer) -> Task:
    """`longest` has lost its loop."""
    clean = (layer.root / PATH).read_text()
    start = clean.index("    for word in words:\n        if len(word) > len(best)")
    broken = clean[:start] + "    raise NotImplementedError\n"
    changed = clean.replace("best = default", "best_so_far = 'seventeen'")
    return task.model_copy(update={
        "id": "stub", "problem_statement": "`longest` in src/toy/stats.py is not written yet.",
        "bug_patch": make_patch({PATH: clean}, {PATH: broken}),
        "gold_patch": make_patch({PATH: broken}, {PATH: changed}),
    })  # fmt: skip


@pytest.mark.parametrize(("words", "rule"), [
    ("", ""), ("Use a loop over words, as `mean` does.", ""), ("It wants if len(word) > len(best): somewhere.", "line"),
    ("Call it best_so_far.", "word"), ("Begin with 'seventeen'.", "literal"),
    ("See /home/ann/toy/stats.py.", "machine"),
])  # fmt: skip
def test_of_changes(words: str, rule: str, stubbed: Task, layer: Layer) -> None:
    said = stubbed.model_copy(update={"problem_statement": f"{stubbed.problem_statement} {words}"})
    found, families = audit([said], {layer.env: layer}, 10)
    assert {leak.rule for leak in found} - {"word"} == ({rule} - {"word"} if rule else set())
    assert bool(found) is bool(rule)
    assert families == {"repair": 1}


def test_of_tests_and_answers(task: Task, layer: Layer) -> None:
    hidden = task.model_copy(update={"FAIL_TO_PASS": ["tests/test_new.py::test_brand_new"],
                                     "problem_statement": "tests/test_new.py::test_brand_new fails."})
    asked = task.model_copy(update={"id": "q", "family": "question", "gold_patch": "", "bug_patch": "",
                                    "problem_statement": "Is it src/toy/stats.py:11?",
                                    "check": {"answer": ["src/toy/stats.py:11"]}})
    chore = task.model_copy(update={"id": "c", "family": "terminal", "bug_patch": "",
                                    "gold_patch": make_patch({}, {"desk/out.csv": "city,total\nOslo,4336\n"}),
                                    "problem_statement": "Write desk/out.csv, say Oslo,4336."})
    found, _ = audit([hidden, asked, chore, task], {layer.env: layer}, 10)
    assert sorted((leak.task_id, leak.rule) for leak in found) == [("c", "result"), ("q", "answer"), ("toy-1", "test")]


def test_the_sample_is_drawn_by_the_seed(task: Task, layer: Layer) -> None:
    rows = [task.model_copy(update={"id": f"t{n}"}) for n in range(9)]
    assert audit(rows, {layer.env: layer}, 4)[1].total() == 4
