"""Running a suite: every task through the harness, many at once, appended as they finish, resumable by task."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vivace.core.crew import Crew
from vivace.core.errors import BadInput
from vivace.core.files import append_jsonl, digest, read_jsonl, write_json
from vivace.core.progress import Progress
from vivace.core.types import Attempt, Task
from vivace.tasks.attempt import require_verdict

Play = Callable[[Task, int, int], Attempt]
"""(task, seed, sample) to a graded attempt. Failures of the machinery come back as `infra`, not as exceptions."""

FILE = "attempts.jsonl"
RETRIES = 1


def run_suite(
    tasks: Sequence[Task], play: Play, out: Path, *, identity: dict[str, Any], workers: int, samples: int = 1,
    seed: int = 0,
    description: str = "evaluate",
) -> list[Attempt]:
    """Attempt every task `samples` times; returns the attempts ordered by task, then sample.

    `out`/attempts.jsonl grows as attempts finish; what is there already is not done again, except `infra`, which is
    also retried once on the spot. `identity` names whatever changes results (model digest, limits, sampling): a
    folder with another identity is refused rather than mixed. Ctrl-C: attempts under way finish first, and are kept.

    Raises:
        InfraError: not one attempt has a verdict. All of them are tried again by the next call.
    """
    wanted = [(task, sample) for task in tasks for sample in range(samples)]
    _claim(out, {**identity, "seed": seed})
    held = {key: attempt for key, attempt in read_attempts(out).items() if attempt.grade.status != "infra"}
    missing = [(task, sample) for task, sample in wanted if (task.id, sample) not in held]
    done = {(task.id, sample): held[task.id, sample] for task, sample in wanted if (task.id, sample) in held}

    def one(task: Task, sample: int) -> Attempt:
        for _ in range(RETRIES + 1):
            attempt = play(task, attempt_seed(seed, task.id, sample), sample)
            if attempt.grade.status != "infra":
                break
        return attempt

    with Progress(description, len(missing)) as bar, Crew[Attempt](workers, "attempt") as crew:
        for task, sample in missing:
            crew.submit(one, task, sample)
        for future in crew.finished():
            attempt = future.result()
            done[attempt.task_id, attempt.sample] = attempt
            append_jsonl(out / FILE, attempt.model_dump(mode="json"))
            bar.advance(note=running_rate(list(done.values())))
    require_verdict(list(done.values()), description)
    return [done[task.id, sample] for task, sample in wanted]


def read_attempts(folder: Path) -> dict[tuple[str, int], Attempt]:
    """What a folder holds, by (task id, sample); a later line replaces an earlier one."""
    path = folder / FILE
    if not path.exists():
        return {}
    rows = (Attempt.model_validate(row) for row in read_jsonl(path))
    return {(row.task_id, row.sample): row for row in rows}


def running_rate(attempts: Sequence[Attempt]) -> str:
    """Pass rate so far, for the progress bar."""
    graded = [attempt for attempt in attempts if attempt.grade.status != "infra"]
    solved = sum(attempt.grade.solved for attempt in graded)
    infra = f", {len(attempts) - len(graded)} infra" if len(graded) < len(attempts) else ""
    return f"{solved}/{len(graded)} solved{infra}" if attempts else ""


def attempt_seed(seed: int, task_id: str, sample: int) -> int:
    """Depends on the task and the sample only, so that a resumed or re-ordered suite draws the same."""
    return random.Random(f"{seed}/{task_id}/{sample}").getrandbits(31)


def _claim(out: Path, identity: dict[str, Any]) -> None:
    path = out / "suite.json"
    if not path.exists():
        write_json(path, identity)
        return
    held = json.loads(path.read_text())
    if digest(held) != digest(identity):
        keys = sorted(key for key in {*held, *identity} if digest(held.get(key)) != digest(identity.get(key)))
        raise BadInput(f"{out} holds attempts made with another {', '.join(keys)}; choose another folder, or delete it")
