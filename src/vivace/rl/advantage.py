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


def by_prefix(segments: Sequence[Sequence[int]], values: Sequence[float]) -> list[list[float]]:
    """The advantage of every id: that of its rollout, less the mean over the rollouts that share all ids before it.

    What all of them did alike earns nothing, and what parted them earns the difference it made: of ten answers that
    choose the same line and two that mend it, only the mending is rewarded. Once a rollout is alone, the mean of the
    last ones that went with it stands. The gradient's expectation is that of `advantages`, its variance is lower
    (baselines by state, as in VinePPO, arXiv 2410.01679, here at no further rollout). One list for each rollout.
    """
    found = [[value] * len(ids) for ids, value in zip(segments, values, strict=True)]
    waiting = [(list(range(len(segments))), 0)]
    while waiting:
        members, start = waiting.pop()
        mean = sum(values[i] for i in members) / len(members)
        for i in members:
            found[i][start:] = [values[i] - mean] * (len(segments[i]) - start)
        part = start
        while len({_at(segments[i], part) for i in members}) == 1 and _at(segments[members[0]], part) is not None:
            part += 1
        branches: dict[int | None, list[int]] = {}
        for i in members:
            branches.setdefault(_at(segments[i], part), []).append(i)
        waiting += [(branch, part + 1) for token, branch in branches.items() if token is not None and len(branch) > 1]
    return found


def _at(ids: Sequence[int], place: int) -> int | None:
    return ids[place] if place < len(ids) else None


def informative(rewards: Sequence[float | None]) -> bool:
    """Whether a group has anything to teach: two valid rollouts at least, with unequal rewards."""
    valid = [reward for reward in rewards if reward is not None]
    return len(valid) > 1 and max(valid) - min(valid) > EQUAL
