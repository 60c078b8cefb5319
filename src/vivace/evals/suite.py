"""Running suites: every item through its player, many at once, appended as they finish, resumable by item identity."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

from vivace.core.crew import Crew
from vivace.core.errors import BadInput
from vivace.core.files import append_jsonl, digest, read_json, read_jsonl, write_json
from vivace.core.progress import Progress
from vivace.core.types import Attempt
from vivace.tasks.attempt import require_verdict

FILE, IDENTITY = "attempts.jsonl", "suite.json"
RETRIES = 1


class Item(Protocol):
    """What is attempted: a task or a question; nothing but its identity matters here."""

    @property
    def id(self) -> str: ...


Play = Callable[[Any, int, int], Attempt]
"""(item, seed, sample) to a graded attempt. Failures of the machinery come back as `infra`, not as exceptions."""


@dataclass
class Column:
    """One model on one suite: what is to be played, and the folder its attempts go to.

    `identity` names whatever changes results (model digest, limits, sampling): a folder with another identity is
    refused rather than mixed.
    """

    items: Sequence[Item]
    play: Play
    out: Path
    identity: dict[str, Any]
    samples: int = 1
    seed: int = 0
    label: str = ""
    done: dict[tuple[str, int], Attempt] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def wanted(self) -> list[tuple[Item, int]]:
        """Every item once, then every item again: a run that is cut short has as many items as possible."""
        return [(item, sample) for sample in range(self.samples) for item in self.items]

    def attempts(self) -> list[Attempt]:
        """Those at hand, ordered by item, then sample."""
        keys = [(item.id, sample) for item in self.items for sample in range(self.samples)]
        return [self.done[key] for key in keys if key in self.done]

    def open(self) -> list[tuple[Item, int]]:
        """Claim the folder, take over what it holds, and say what is missing. `infra` is tried again."""
        _claim(self.out, {**self.identity, "seed": self.seed})
        held = read_attempts(self.out)
        wanted = self.wanted()
        for item, sample in wanted:
            attempt = held.get((item.id, sample))
            if attempt is not None and attempt.grade.status != "infra":
                self.done[item.id, sample] = attempt
        return [(item, sample) for item, sample in wanted if (item.id, sample) not in self.done]

    def one(self, item: Item, sample: int) -> Attempt:
        """One attempt, retried on the spot when the machinery failed."""
        for _ in range(RETRIES + 1):
            attempt = self.play(item, attempt_seed(self.seed, item.id, sample), sample)
            if attempt.grade.status != "infra":
                break
        return attempt

    def keep(self, attempt: Attempt) -> None:
        """Put an attempt on disk; called by whoever made it, before the next begins, so that a death costs no more than
        what was under way."""
        with self._lock:
            self.done[attempt.task_id, attempt.sample] = attempt
            append_jsonl(self.out / FILE, attempt.model_dump(mode="json"))


def run_columns(
    columns: Sequence[Column], workers: int, *, watch: Callable[[Column, Attempt], None] | None = None,
    spent: Callable[[], bool] | None = None,
) -> bool:
    """Play what is missing in every column, in turns, `workers` at a time. False when a budget ended it early.

    A finished attempt is on disk before `watch` sees it. Once `spent()` is true no further attempt begins; those
    under way finish. Ctrl-C does the same, and raises KeyboardInterrupt at the end.
    """
    queues = [[(column, item, sample) for item, sample in column.open()] for column in columns]
    jobs = [job for row in zip_longest(*queues) for job in row if job is not None]
    whole = True

    def one(column: Column, item: Item, sample: int) -> tuple[Column, Attempt | None]:
        if spent is not None and spent():
            return column, None
        attempt = column.one(item, sample)
        column.keep(attempt)
        return column, attempt

    with Crew[tuple[Column, Attempt | None]](workers, "attempt") as crew:
        for job in jobs:
            crew.submit(one, *job)
        for future in crew.finished():
            column, attempt = future.result()
            if attempt is None:
                whole = False
                continue
            if watch is not None:
                watch(column, attempt)
    return whole


def run_suite(
    tasks: Sequence[Item], play: Play, out: Path, *, identity: dict[str, Any], workers: int, samples: int = 1,
    seed: int = 0,
    description: str = "evaluate",
) -> list[Attempt]:
    """Attempt every task `samples` times with one model; returns the attempts ordered by task, then sample.

    `out`/attempts.jsonl grows as attempts finish; what is there already is not done again, except `infra`, which is
    also retried once on the spot. Ctrl-C: attempts under way finish first, and are kept.

    Raises:
        InfraError: not one attempt has a verdict. All of them are tried again by the next call.
    """
    column = Column(tasks, play, out, identity, samples, seed)
    missing = len(column.open())

    with Progress(description, missing) as bar:
        def watch(column: Column, attempt: Attempt) -> None:
            bar.advance(note=running_rate(list(column.done.values())))

        run_columns([column], workers, watch=watch)
    require_verdict(list(column.done.values()), description)
    return column.attempts()


def read_attempts(folder: Path) -> dict[tuple[str, int], Attempt]:
    """What a folder holds, by (task id, sample); a later line replaces an earlier one."""
    path = folder / FILE
    if not path.exists():
        return {}
    rows = (Attempt.model_validate(row) for row in read_jsonl(path))
    return {(row.task_id, row.sample): row for row in rows}


def read_identity(folder: Path) -> dict[str, Any]:
    """What the attempts of a folder were made with."""
    held = read_json(folder / IDENTITY, f"delete {folder}, and evaluate again")
    return dict(held)


def running_rate(attempts: Sequence[Attempt]) -> str:
    """Pass rate so far, for the progress bar."""
    graded = [attempt for attempt in attempts if attempt.grade.verdict]
    solved = sum(attempt.grade.solved for attempt in graded)
    infra = f", {len(attempts) - len(graded)} infra" if len(graded) < len(attempts) else ""
    return f"{solved}/{len(graded)} solved{infra}" if attempts else ""


def attempt_seed(seed: int, task_id: str, sample: int) -> int:
    """Depends on the task and the sample only, so that a resumed or re-ordered suite draws the same."""
    return random.Random(f"{seed}/{task_id}/{sample}").getrandbits(31)


def _claim(out: Path, identity: dict[str, Any]) -> None:
    path = out / IDENTITY
    if not path.exists():
        write_json(path, identity)
        return
    held = json.loads(path.read_text())
    if digest(held) != digest(identity):
        keys = sorted(key for key in {*held, *identity} if digest(held.get(key)) != digest(identity.get(key)))
        raise BadInput(f"{out} holds attempts made with another {', '.join(keys)}; choose another folder, or delete it")
