"""Rollouts: every drawn task is attempted a group of times, many attempts at once, through the harness."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from vivace.core.crew import Crew
from vivace.core.protocols import Client
from vivace.core.types import Attempt, Effort, Task
from vivace.rl.advantage import advantages, informative
from vivace.rl.config import RLConfig
from vivace.rl.reward import GroupReward, group_rewards

Clients = Callable[[Effort | None], Client]
"""The policy as a client whose prompts carry the given effort."""


class Play(Protocol):
    """One graded attempt. Failures of the machinery come back as `infra`, not as exceptions."""

    def __call__(self, task: Task, client: Client, *, seed: int, sample: int) -> Attempt: ...


@dataclass
class Group:
    """The attempts at one task of one step, then what they are worth."""

    task: Task
    effort: Effort | None
    attempts: list[Attempt] = field(default_factory=list)
    pending: int = 0

    def mixed(self) -> bool:
        """Whether the verdicts so far differ (or are all missing), so that more attempts may teach something."""
        verdicts = {attempt.grade.solved for attempt in self.attempts if attempt.grade.verdict}
        return len(verdicts) != 1


@dataclass(frozen=True)
class Scored:
    """A group with its rewards; `informative` ones make up the batch."""

    group: Group
    reward: GroupReward
    advantages: list[float | None]
    informative: bool


def collect(
    tasks: Sequence[Task], clients: Clients, play: Play, config: RLConfig, step: int,
    attempted: Callable[[int], object],
) -> list[Scored]:
    """All attempts of one step. Seeds depend on (run seed, step, task, sample) only, never on timing.

    `attempted` is told how many attempts are over, those that a unanimous probe saves included.
    """
    rng = random.Random(f"{config.seed}/{step}/efforts")
    groups = [Group(task, rng.choice(config.efforts) if config.efforts else None) for task in tasks]
    owner: dict[Future[Attempt], Group] = {}

    def submit(group: Group, first: int, last: int) -> None:
        client = clients(group.effort)
        for sample in range(first, last):
            seed = attempt_seed(config.seed, step, group.task.id, sample)
            owner[crew.submit(play, group.task, client, seed=seed, sample=sample)] = group
            group.pending += 1

    with Crew[Attempt](config.workers, "rollout") as crew:
        for group in groups:
            submit(group, 0, config.probe or config.group)
        for future in crew.finished():
            group = owner.pop(future)
            group.attempts.append(future.result())
            group.pending -= 1
            attempted(1)
            made = len(group.attempts)
            if group.pending or made == config.group:
                continue
            if group.mixed():
                submit(group, made, config.group)
            else:
                attempted(config.group - made)
    return [score(group, config) for group in groups]


def score(group: Group, config: RLConfig) -> Scored:
    """Rewards and advantages of a group, its attempts in the order of their sample numbers."""
    group.attempts.sort(key=lambda attempt: attempt.sample)
    reward = group_rewards(group.attempts, config, group.effort)
    return Scored(group, reward, advantages(reward.rewards), informative(reward.rewards))


def attempt_seed(seed: int, step: int, task_id: str, sample: int) -> int:
    """A seed of its own for every attempt of a run, the same after a resume."""
    return random.Random(f"{seed}/{step}/{task_id}/{sample}").getrandbits(31)
