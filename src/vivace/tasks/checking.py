"""Judging rows that exist, and grading itself: the reference passes, nothing fails, and no cheat passes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from vivace.core.errors import BadInput
from vivace.core.progress import Progress
from vivace.core.types import Task
from vivace.sandbox import Sandbox
from vivace.tasks.attacks import audit
from vivace.tasks.families import family_of
from vivace.tasks.layers import build_layers
from vivace.tasks.make import ordered_map
from vivace.tasks.registry import read_tasks
from vivace.tasks.sources import Manifest


def check_tasks(file: Path, manifest: Manifest, sandbox: Sandbox, *, cheat: bool = False, limit: int | None = None,
                seed: int = 0, workers: int = 2, say: Callable[[str], None] = print) -> int:
    """Number of tasks that would not be admitted now, or at which a cheat passes; each is told with the reason.

    Args:
        cheat: try the cheating patches on tasks of which tests decide.
        limit: this many tasks, drawn with the seed.
    """
    tasks = read_tasks(file)
    if limit is not None and limit < len(tasks):
        tasks = random.Random(seed).sample(tasks, limit)
    known = {package.env for package in manifest.package}
    if strange := sorted({task.env for task in tasks} - known):
        raise BadInput(f"{file}: {strange[0]} is of no package of the manifest; give the one they were made with by "
                       "--manifest")
    layers = build_layers(manifest, [manifest.by_env(env) for env in sorted({task.env for task in tasks})])
    tried = [0]

    def judge(task: Task) -> list[str]:
        problem = family_of(task).rejection(task, layers[task.env], sandbox)
        found = [problem] if problem else []
        if cheat and task.FAIL_TO_PASS:
            for one in audit(task, layers[task.env], sandbox, tried=lambda: tried.__setitem__(0, tried[0] + 1)):
                found.append(f"{one.what}: {one.grade.status} ({one.grade.detail})")
        return found

    bad = 0
    with Progress("check tasks", len(tasks)) as bar:
        for task, problems in zip(tasks, ordered_map(judge, tasks, workers)):
            bad += bool(problems)
            bar.advance(1, f"{bad} bad")
            for problem in problems:
                say(f"{task.id}: {problem}")
    more = f"; {tried[0]} patches were tried on them" if cheat else ""
    say(f"{len(tasks) - bad} of {len(tasks)} tasks hold{more}")
    return bad
