"""Group-relative advantages: A_i = R_i - mean_j R_j over the valid rollouts of one prompt.

No division by the standard deviation: it would blow up tiny differences of length among rollouts that all
solved the task, and weigh near-solved and near-hopeless tasks up (Composer 2, arXiv 2603.24477; Dr. GRPO,
2503.20783).
"""

from __future__ import annotations

from collections.abc import Sequence

EQUAL = 1e-9


def taken_back_advantage(value: float, price: float) -> float:
    """Of answers that were taken back: that of their rollout, but never above zero, less `price`. In a rollout that
    was solved they are what did not solve it."""
    return min(value, 0.0) - price


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
