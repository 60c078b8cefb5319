"""Group-relative advantages: A_i = R_i - mean_j R_j over the valid rollouts of one prompt.

No division by the standard deviation: it would blow up tiny differences of length among rollouts that all
solved the task, and weigh near-solved and near-hopeless tasks up (Composer 2, arXiv 2603.24477; Dr. GRPO,
2503.20783).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vivace.core.types import Attempt

EQUAL = 1e-9


class VoidAdvantage(NamedTuple):
    """What answers that stayed and answers that were taken back get on top of their rollout's advantage."""

    kept: float
    taken_back: float


NOTHING_VOID = VoidAdvantage(0.0, 0.0)


def void_advantage(attempts: Sequence[Attempt], price: float) -> VoidAdvantage:
    """Group-relative too, by answer: a void one costs `price`, and the mean over the group's answers is taken off.

    With a share v of void answers: price * v for the others, -price * (1 - v) for these. It is a verdict on the single
    answer that needs no tests, so it tells apart what was well-formed also where all or none of a group is solved.
    """
    answers = sum(attempt.trajectory.turns for attempt in attempts)
    void = sum(attempt.trajectory.taken_back for attempt in attempts)
    if not void or not price:
        return NOTHING_VOID
    share = void / max(answers, void)
    return VoidAdvantage(price * share, -price * (1 - share))


def advantages(rewards: Sequence[float | None]) -> list[float | None]:
    """Centre rewards on the mean of the valid ones; None marks an infrastructure failure and stays None.

    A single valid rollout has nothing to be compared with: its advantage is 0.
    """
    valid = [reward for reward in rewards if reward is not None]
    if not valid:
        return [None] * len(rewards)
    mean = sum(valid) / len(valid)
    return [None if reward is None else reward - mean for reward in rewards]


def informative(rewards: Sequence[float | None]) -> bool:
    """Whether a group has anything to teach: two valid rollouts at least, with unequal rewards."""
    valid = [reward for reward in rewards if reward is not None]
    return len(valid) > 1 and max(valid) - min(valid) > EQUAL
