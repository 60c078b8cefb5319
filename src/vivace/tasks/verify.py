"""Admission: a task enters only if the empty patch fails and the gold patch passes, each twice, strictly graded."""

from __future__ import annotations

from vivace.core.types import Grade, Task
from vivace.sandbox import Sandbox
from vivace.tasks.grade import grade
from vivace.tasks.layers import Layer

REPEATS = 2


def rejection(task: Task, layer: Layer, sandbox: Sandbox, repeats: int = REPEATS) -> str:
    """Why a task must not be admitted, as one of a few fixed phrases; "" if it may. Takes 2 x `repeats` cold runs.

    Cheapest doubts first: every FAIL_TO_PASS test must fail on the empty patch, not just one of them, and no
    PASS_TO_PASS test may; the gold patch must bring back the clean tree's behaviour.
    """
    for _ in range(repeats):
        empty = grade(task, layer, "", sandbox)
        problem = _doubt_empty(empty)
        if problem:
            return problem
        gold = grade(task, layer, task.gold_patch, sandbox)
        if gold.status != "solved":
            return "infra" if gold.status == "infra" else "gold patch fails"
    return ""


def _doubt_empty(empty: Grade) -> str:
    if empty.status == "infra":
        return "infra"
    if empty.status == "solved":
        return "empty patch passes"
    if empty.scores.get("canary") != 1.0:
        return "tests do not run to their end"
    if empty.scores["f2p"] > 0.0:
        return "a fail-to-pass test passes"
    return "a pass-to-pass test fails" if empty.scores["p2p"] < 1.0 else ""
