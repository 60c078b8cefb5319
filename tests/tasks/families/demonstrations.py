"""What the tests of families share: the first task of a kind, and its expert at work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vivace.core.types import Grade, Task, Trajectory
from vivace.harness.loop import Limits, run
from vivace.tasks.admission import Refused
from vivace.tasks.families import PRODUCERS, Bench, family_of
from vivace.tasks.grade import grade_trajectory
from vivace.tasks.workspaces import open_task


def first(bench: Bench, producer: str, stage: str = "", where: Callable[[Any], bool] = lambda candidate: True) -> Task:
    """The first admitted task of a producer, of this stage and made of such a candidate."""
    family = PRODUCERS[producer]
    for candidate in filter(where, family.candidates(bench)):
        try:
            task = family.make(candidate, bench)
        except Refused:
            continue
        if task.stage == (stage or task.stage) and not family.rejection(task, bench.layer, bench.sandbox, bench):
            return task
    raise AssertionError(f"no {producer} task of {stage or 'any stage'}")


def demonstrated(task: Task, bench: Bench, style: str, profile: str) -> tuple[Trajectory, Grade]:
    """The expert's attempt in the real harness, and its verdict."""
    environment = open_task(task, bench.layer, bench.sandbox)
    with environment.workspace:
        expert = family_of(task).expert(task, bench.layer, None, style, 0)
        trajectory = run(task, environment, expert, Limits(max_turns=20), profile=profile)
    return trajectory, grade_trajectory(task, bench.layer, trajectory, bench.sandbox)
