"""The bar of an RL stage follows the budget that is nearer its end, and says how many rollouts there were."""

import pytest

from vivace.core.progress import Progress
from vivace.rl import meter
from vivace.rl.config import RLConfig
from vivace.rl.meter import Meter, used


def test_the_larger_share_counts() -> None:
    assert used(RLConfig(steps=40), 10, 1e9) == 0.25
    assert used(RLConfig(steps=40, max_seconds=160), 4, 40.0) == 0.25
    assert used(RLConfig(steps=40, max_seconds=160), 20, 40.0) == 0.5
    assert used(RLConfig(steps=40, max_seconds=160), 4, 500.0) == 1.0
    assert used(RLConfig(steps=0), 0, 0.0) == 1.0


def test_it_moves_within_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(meter.time, "monotonic", lambda: now)
    config = RLConfig(steps=10, prompts=2, group=5, max_seconds=100)
    bar = Progress("rl", 100.0)
    shown = Meter(bar, config, rollouts=0)
    shown.begin(0, 0.0)
    shown.attempted(5)  # half of the first of ten steps, no time gone
    assert bar.done == pytest.approx(5)
    now = 40.0
    shown.attempted(1)
    assert bar.done == pytest.approx(40)
    shown.end(1, 50.0, 10, ", pass 20%")
    assert bar.done == pytest.approx(50)
    assert bar.note == "step 1 of 10, 10 rollouts, pass 20%"
