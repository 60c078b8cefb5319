"""Rewards of one group: R_i = R_task * gate - w h(rho_q) cost_i. Infrastructure failures have none.

R_task is 1 for a solution, `effect` for an attempt that changed something in vain, 0 for one that changed nothing. The
pass rate rho_q counts solutions alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from vivace.core.types import Attempt, Effort
from vivace.rl.config import RLConfig
from vivace.rl.length import cost, pressure, spent


@dataclass(frozen=True)
class GroupReward:
    """`rewards` has None where there is no verdict; `pass_rate` is over the verdicts (NaN-free: 0 when none)."""

    rewards: list[float | None]
    pass_rate: float
    valid: int


def group_rewards(attempts: Sequence[Attempt], config: RLConfig, effort: Effort | None = None) -> GroupReward:
    """Score the attempts at one task. Budget, format and refusal ends train as failures; `infra` is left out."""
    verdicts = [_task_reward(attempt, config) for attempt in attempts]
    valid = [verdict for verdict in verdicts if verdict is not None]
    pass_rate = sum(valid) / len(valid) if valid else 0.0
    weight = pressure(pass_rate, config.length, effort)
    rewards: list[float | None] = []
    for attempt, verdict in zip(attempts, verdicts, strict=True):
        charged = verdict is not None and (verdict > 0 or not config.length.only_solved)
        price = weight * cost(spent(attempt.trajectory, config.length), config.length) if charged else 0.0
        effect = config.effect if config.reward == "task" and attempt.trajectory.patch.strip() else 0.0
        rewards.append(None if verdict is None else max(verdict, effect) - price)
    return GroupReward(rewards, pass_rate, len(valid))


def _task_reward(attempt: Attempt, config: RLConfig) -> float | None:
    """1 for a task solved without a tamper flag, 0 for any other verdict, None without one."""
    if not attempt.grade.verdict:
        return None
    if config.reward == "random":
        return float(random.Random(f"{config.seed}/{attempt.task_id}/{attempt.sample}").random() < 0.5)
    return float(attempt.grade.solved and not attempt.grade.scores.get("tamper"))
