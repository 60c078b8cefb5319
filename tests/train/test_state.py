"""A kill at any moment costs only the steps since the last save; a failed write is told."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vivace.core.errors import InfraError
from vivace.model.decoder import Decoder
from vivace.train.batches import StreamSource
from vivace.train.config import TrainConfig
from vivace.train.loop import train
from vivace.train.state import StateWriter, latest_state, load_state

CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from conftest import tiny_decoder
from vivace.train.batches import StreamSource
from vivace.train.config import TrainConfig
from vivace.train.loop import train
config = TrainConfig(max_steps=400, warmup_steps=4, workers=1, micro_tokens=128, save_steps=2)
train(tiny_decoder(), StreamSource(Path({shards!r}), 32, 256, seed=2), config, Path({run!r}),
      lambda row: print(row["step"], row["loss"].hex(), flush=True))
"""


@pytest.mark.slow
def test_after_a_kill_the_next_losses_are_those_of_an_uninterrupted_run(
    tiny: Callable[[], Decoder], shards: Path, tmp_path: Path
) -> None:
    code = CHILD.format(here=str(Path(__file__).parent), shards=str(shards), run=str(tmp_path / "run"))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout is not None
    at, straight = random.randint(5, 25), {}
    for line in child.stdout:
        step, loss = line.split()
        straight[int(step)] = float.fromhex(loss)
        if int(step) == at:
            child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    saved = latest_state(tmp_path / "run" / "state")
    assert saved is not None
    step = load_state(saved)["step"]
    assert 2 <= step <= max(straight)
    config = TrainConfig(max_steps=400, warmup_steps=4, workers=1, micro_tokens=128, save_steps=2)
    again: dict[int, float] = {}

    def keep(row: dict[str, float]) -> None:
        again[int(row["step"])] = row["loss"]
        if row["step"] == at:
            raise InfraError("far enough")

    torch.set_num_threads(1)
    if step < at:
        with pytest.raises(InfraError, match="far enough"):
            train(tiny(), StreamSource(shards, 32, 256, seed=2), config, tmp_path / "run", keep)
        assert again == pytest.approx({s: straight[s] for s in range(step + 1, at + 1)}, abs=1e-6)


def test_a_failed_write_is_raised_by_what_comes_next(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    with StateWriter(tmp_path / "state", 1) as writer:
        writer.save({"step": 1, "x": torch.ones(2)})
        with pytest.raises((InfraError, OSError)):
            writer.wait()


def test_the_snapshot_is_of_the_moment(tmp_path: Path) -> None:
    tensor = torch.ones(1000)
    with StateWriter(tmp_path, 1) as writer:
        writer.save({"step": 1, "model": {"x": tensor}, "optimizer": {}})
        tensor.zero_()
    saved = latest_state(tmp_path)
    assert saved is not None
    assert load_state(saved)["model"]["x"].sum() == 1000
