"""How far an RL stage is: a bar that follows whichever of its budgets, steps or seconds, is nearer its end."""

from __future__ import annotations

import time

from vivace.core.progress import Progress
from vivace.rl.config import RLConfig


def used(config: RLConfig, step: float, elapsed: float) -> float:
    """Share of the stage that is over, in [0, 1]. A `step` of 2.5 is half way through the third."""
    shares = [step / config.steps if config.steps else 1.0]
    if config.max_seconds is not None:
        shares.append(elapsed / config.max_seconds)
    return min(1.0, max(shares))


class Meter:
    """Moves a bar of 100 units with every attempt, and says beside it how many there were and how they went."""

    def __init__(self, bar: Progress, config: RLConfig, rollouts: int) -> None:
        self.bar, self.config, self.rollouts = bar, config, rollouts
        self._shown, self._said = bar.done, ""
        self.begin(0, 0.0)

    def begin(self, step: int, elapsed: float) -> None:
        """A step starts after `step` whole ones and `elapsed` seconds."""
        self._step, self._elapsed, self._since, self._attempts = step, elapsed, time.monotonic(), 0

    def attempted(self, count: int) -> None:
        """`count` attempts of the step are over."""
        self._attempts += count
        self.rollouts += count
        share = self._attempts / (self.config.prompts * self.config.group)
        self._move(self._step + share, self._elapsed + time.monotonic() - self._since)

    def end(self, step: int, elapsed: float, rollouts: int, said: str) -> None:
        """The step is over and counted: there are now `step` whole ones and `rollouts` attempts."""
        self._step, self.rollouts, self._said = step, rollouts, said
        self._move(step, elapsed)

    def _move(self, step: float, elapsed: float) -> None:
        now = max(self._shown, 100 * used(self.config, step, elapsed))
        note = f"step {self._step} of {self.config.steps}, {self.rollouts:,} rollouts{self._said}"
        self.bar.advance(now - self._shown, note)
        self._shown = now
