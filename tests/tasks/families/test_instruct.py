"""Answers of prescribed content and form: every form can be met, and neither content nor form alone passes."""

from __future__ import annotations

import random

import pytest
from demonstrations import demonstrated, first

from vivace.core.types import Task
from vivace.tasks.families import FAMILIES, Bench
from vivace.tasks.families.forms import FORMS, drafted
from vivace.tasks.families.instruct import constraints_of, said, topics
from vivace.tasks.grade import grade_trajectory
from vivace.text.instructions import CONSTRAINTS, judge

NAMES = ("alpha_beta", "gamma", "delta_two")


@pytest.fixture(scope="module")
def task(bench: Bench) -> Task:
    return first(bench, "instruct", "functions", lambda topic: topic.path.endswith("labels.py"))


@pytest.mark.parametrize("maker", FORMS, ids=lambda maker: maker.__name__)
def test_every_form_is_met_by_its_draft_and_not_by_chance(maker: object) -> None:
    for seed in range(5):
        form = maker(NAMES, random.Random(seed))  # type: ignore[operator]
        assert form.constraint in CONSTRAINTS
        assert judge([form.constraint], [form.arguments], drafted(NAMES, [form]), mended=True).strict == (True,)
        sloppy = "alpha_beta, gamma, delta_two function python module defines following " + "word " * 150
        counted = form.constraint == "length_constraints:number_words" and form.arguments["relation"] != "less than"
        assert judge([form.constraint], [form.arguments], sloppy.strip(), mended=True).strict == (counted,)


def test_the_expert_and_wrong_answers(task: Task, bench: Bench) -> None:
    assert task.check["names"] == ["_joined", "label", "short"]
    assert len(constraints_of(task)) >= 2
    trajectory, verdict = demonstrated(task, bench, "read", "nano-ask")
    assert verdict.solved, trajectory.answer()
    gold = task.check["answer"][0]
    for wrong in ("", gold.replace("short", "brief"), "_joined label short", f"{gold} _share",
                  "Names of functions in the right form."):  # fmt: skip
        assert said(task, wrong), wrong
    touched = trajectory.model_copy(update={"patch": "anything"})
    assert "changed" in grade_trajectory(task, bench.layer, touched, bench.sandbox).detail


def test_a_row_that_the_package_contradicts_is_refused(task: Task, bench: Bench) -> None:
    family = FAMILIES["instruct"]
    assert family.rejection(task, bench.layer, bench.sandbox) == ""
    other = task.model_copy(update={"check": {**task.check, "names": ["label", "short"]}})
    assert family.rejection(other, bench.layer, bench.sandbox) == "the package says otherwise"
    damaged = task.model_copy(update={"check": {**task.check, "answer": ["label"]}})
    assert family.rejection(damaged, bench.layer, bench.sandbox) == "gold answer fails"


def test_topics_are_facts(bench: Bench) -> None:
    found = {(one.kind, one.path, one.name): one.names for one in topics(bench.layer, 0)}
    assert found["parameters", "src/wares/prices.py", "gross"] == ("net", "kind", "extra")
    assert found["functions", "src/wares/prices.py", ""] == ("_share", "gross", "discount")
