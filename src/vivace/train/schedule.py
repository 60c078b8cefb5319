"""Warm-up, stable, decay (WSD; Hu et al., arXiv 2404.06395), driven by whichever budget is nearest its end."""

from __future__ import annotations

from vivace.train.config import TrainConfig


def progress_fraction(config: TrainConfig, step: int, tokens: int, elapsed: float) -> float:
    """How much of the run is over, in [0, 1]: the largest used share among the budgets that are set."""
    used = [(step, config.max_steps), (tokens, config.max_tokens), (elapsed, config.max_seconds)]
    return min(1.0, max(done / budget for done, budget in used if budget is not None))


def lr_factor(config: TrainConfig, step: int, fraction: float) -> float:
    """Multiplier of the peak learning rates for the step numbered `step` (from 0)."""
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    stable_until = 1.0 - config.decay_fraction
    if fraction <= stable_until or config.decay_fraction == 0:
        return warm
    left = (1.0 - fraction) / config.decay_fraction
    return warm * (config.final_lr + (1.0 - config.final_lr) * left)
