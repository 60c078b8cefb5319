"""Four processes give the losses of one, on every axis and on all together; what they save, any number reads."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from gloo import learn, learn_all, result, together

from vivace.model.checkpoint import load_checkpoint
from vivace.train.parallel.mesh import MeshConfig

pytestmark = pytest.mark.slow
MESHES = {
    "data": MeshConfig(dp=4), "expert": MeshConfig(ep=4), "context": MeshConfig(cp=4),
    "data+expert": MeshConfig(dp=2, ep=2), "data+context": MeshConfig(dp=2, cp=2),
    "all": MeshConfig(dp=1, ep=2, cp=2),
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process, then four for every mesh; "one" and "all" also save their model and a state at step 10."""
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


def test_the_model_that_four_write_is_the_one_that_one_writes(runs: Path) -> None:
    (one, shape), (four, _) = load_checkpoint(runs / "one" / "model"), load_checkpoint(runs / "all" / "model")
    assert shape == four.config
    for a, b in zip(one.state_dict().values(), four.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("ranks", "mesh"), [(1, None), (2, MeshConfig(ep=2))])
def test_a_state_of_four_is_continued_by_fewer(runs: Path, tmp_path: Path, ranks: int, mesh: MeshConfig | None) -> None:
    (tmp_path / "run" / "state").mkdir(parents=True)
    half = "state-00000010.parts"
    shutil.copytree(runs / "all" / "state" / half, tmp_path / "run" / "state" / half)
    if mesh is None:
        learn(tmp_path / "run", None)
    else:
        together(ranks, learn, tmp_path / "run", mesh)
    assert result(tmp_path / "run")["losses"] == pytest.approx(result(runs / "one")["losses"][10:], abs=1e-4)
