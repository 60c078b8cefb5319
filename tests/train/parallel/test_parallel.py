"""Four processes give the losses of one, on every axis and on all together; what they save, any number reads."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from gloo import decoder, learn, learn_all, result, together
from vivace.model.checkpoint import load_checkpoint, verify_checkpoint
from vivace.train.parallel.mesh import MeshConfig
from vivace.train.state import latest_state, load_state

MESHES = {
    "data": MeshConfig(dp=4), "expert": MeshConfig(ep=4), "context": MeshConfig(cp=4),
    "data+expert": MeshConfig(dp=2, ep=2), "data+context": MeshConfig(dp=2, cp=2),
    "all": MeshConfig(dp=1, ep=2, cp=2),
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process, then four for every mesh; "all" also saves, at steps 10 and 20."""
    folder = tmp_path_factory.mktemp("runs")
    learn(folder / "one", None, save=True)
    together(4, learn_all, folder, MESHES, {"save": True, "save_steps": 10})
    return folder


@pytest.mark.parametrize("name", MESHES)
def test_losses_of_four_processes_are_those_of_one(runs: Path, name: str) -> None:
    one, four = result(runs / "one"), result(runs / name)
    assert len(one["losses"]) == 20
    assert one["losses"][-1] < one["losses"][0] - 0.5
    assert four["losses"] == pytest.approx(one["losses"], abs=1e-4)
    assert four["norms"] == pytest.approx(one["norms"], rel=1e-3)
    assert four["loads"] == one["loads"]
    assert four["held_out"] == pytest.approx(one["held_out"], abs=1e-4)
