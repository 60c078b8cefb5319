"""Which tasks a step draws: mostly those the policy sometimes solves, some unseen, a few re-checked.

The ledger remembers every visit, survives a restart exactly, and never gives a task up: what looked solved or
hopeless comes back as a re-check.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from vivace.rl.config import CurriculumConfig


class Visits(BaseModel):
    """What is known of one task: visits with a verdict, running pass rate, the step of the last visit."""

    model_config = ConfigDict(extra="forbid")

    visits: int = 0
    pass_rate: float = 0.0
    last: int = -1


class Curriculum:
    """Samples task ids by bucket. All randomness comes from (seed, step), so a resumed run draws the same tasks."""

    def __init__(self, task_ids: Sequence[str], config: CurriculumConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        self.ledger = {task_id: Visits() for task_id in task_ids}

    def draw(self, step: int, count: int) -> list[str]:
        """`count` distinct tasks (fewer if there are fewer) for one step.

        A bucket that runs short hands its share to the others, the learnable one first.
        """
        rng = random.Random(f"{self.seed}/{step}/tasks")
        buckets = self.buckets()
        for bucket in buckets:
            rng.shuffle(bucket)
            bucket.sort(key=lambda task_id: self.ledger[task_id].last)  # stable: the longest unvisited first
        chosen: list[str] = []
        for bucket, quota in zip(buckets, self._quotas(rng, count), strict=True):
            chosen += bucket[:quota]
            del bucket[:quota]
        spare = [task_id for bucket in buckets for task_id in bucket]
        return chosen + spare[: count - len(chosen)]

    def buckets(self) -> tuple[list[str], list[str], list[str]]:
        """(learnable, unseen, settled) task ids, in the order of the task list."""
        low, high = self.config.learnable
        learnable, unseen, settled = [], [], []
        for task_id, seen in self.ledger.items():
            if not seen.visits:
                unseen.append(task_id)
            elif low <= seen.pass_rate <= high:
                learnable.append(task_id)
            else:
                settled.append(task_id)
        return learnable, unseen, settled

    def record(self, task_id: str, pass_rate: float, step: int) -> None:
        """Enter one visit that had verdicts."""
        seen = self.ledger[task_id]
        weight = self.config.memory if seen.visits else 1.0
        seen.pass_rate += weight * (pass_rate - seen.pass_rate)
        seen.visits += 1
        seen.last = step

    def state(self) -> dict[str, Any]:
        return {task_id: seen.model_dump() for task_id, seen in self.ledger.items()}

    def load(self, state: dict[str, Any]) -> None:
        """Restore a ledger; tasks no longer in the list are forgotten, new ones stay unseen."""
        for task_id, seen in state.items():
            if task_id in self.ledger:
                self.ledger[task_id] = Visits.model_validate(seen)

    def _quotas(self, rng: random.Random, count: int) -> list[int]:
        """Shares of `count` as whole numbers; what rounding leaves goes by lot, so that small counts are fair."""
        total = sum(self.config.shares)
        exact = [share / total * count for share in self.config.shares]
        quotas = [int(value) for value in exact]
        rests = [value - whole for value, whole in zip(exact, quotas, strict=True)]
        for _ in range(count - sum(quotas)):
            pick = rng.choices(range(len(rests)), [rest + 1e-9 for rest in rests])[0]
            quotas[pick] += 1
            rests[pick] = 0.0
        return quotas
