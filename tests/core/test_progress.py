"""The plain form of a bar: what earlier sittings did is shown, and does not flatter the rate."""

import pytest

from vivace.core import progress
from vivace.core.progress import Progress


def test_a_resumed_bar_rates_this_sitting_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Progress("train", 100.0, done=80.0) as bar:
        now = 20.0
        bar.advance(5, "step 17")
    assert "train: 85/100 (0.2/s, 20s, 60s left) step 17" in capsys.readouterr().err
