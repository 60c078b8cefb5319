"""One bench for the tests of all families; it runs with the interpreter that runs these tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wares

from vivace.core.types import Grade, Task, Trajectory
from vivace.harness.loop import Limits, run
from vivace.sandbox import Sandbox
from vivace.tasks.admission import Refused
from vivace.tasks.cover import survey
from vivace.tasks.environments import open_home
from vivace.tasks.families import PRODUCERS, Bench, family_of
from vivace.tasks.grade import grade_trajectory
from vivace.tasks.local import local_source
from vivace.tasks.workspaces import open_task


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wares.checkout(tmp_path_factory.mktemp("wares"))


@pytest.fixture(scope="session")
def bench(checkout: Path, sandbox: Sandbox) -> Iterator[Bench]:
    source, facts = local_source(checkout)
    layer = open_home(source, facts, python=Path(sys.executable)).layer
    one = Bench(layer, survey(layer, sandbox), sandbox, seed=1)
    yield one
    one.close()


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
