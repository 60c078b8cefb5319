"""Adaptive solution length: tasks the policy finds easy pay for tokens, hard ones hardly do.

    x    = sampled * generated + observed * read + turn * turns                 (tokens)
    cost = C(x / unit) / C(budget / unit), cut at 1,   C(u) = 2 (sqrt(1 + u) - 1)
    h    = 0 if rho < threshold else rho
    penalty = w * h * cost

rho is the pass rate of the rollout's own group. C is concave (Composer 2's curve with k = 1, q = 1/2): the
first tokens cost most, so easy tasks shrink while hard ones keep room. With w < 1 a solved rollout (at least
1 - w) always outranks a failed one (at most 0).
"""

from __future__ import annotations

import math

from vivace.core.types import Effort, Trajectory
from vivace.rl.config import LengthConfig


def spent(trajectory: Trajectory, config: LengthConfig) -> float:
    """x: the effort of one rollout in weighted tokens. A segment's opening prompt costs nothing, later input does."""
    generated = observed = 0
    for segment in trajectory.segments:
        sampled = sum(segment.mask)
        first = segment.mask.index(1) if sampled else len(segment.mask)
        generated += sampled
        observed += len(segment.mask) - first - sampled
    generated = max(generated, trajectory.usage.output_tokens)  # answers that were taken back are paid for too
    return config.sampled * generated + config.observed * observed + config.turn * trajectory.turns


def cost(tokens: float, config: LengthConfig) -> float:
    """Share of the budget used, on the concave scale: 0 for nothing, 1 from the budget on."""
    return min(1.0, _curve(tokens / config.unit) / _curve(config.budget / config.unit))


def pressure(pass_rate: float, config: LengthConfig, effort: Effort | None = None) -> float:
    """w * h(rho): the penalty of a rollout that uses its whole budget."""
    if pass_rate < config.threshold:
        return 0.0
    weight = config.weight * (config.effort.get(effort, 1.0) if effort else 1.0)
    return min(weight, 0.95) * pass_rate


def _curve(u: float) -> float:
    return 2 * (math.sqrt(1 + u) - 1)
