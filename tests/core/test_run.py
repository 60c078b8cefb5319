"""A run directory belongs to one config; a stage is whole only once done.json is there."""

import json
from pathlib import Path

import pytest

from vivace.core.errors import BadInput
from vivace.core.run import Run


def test_another_config_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    Run(tmp_path / "r", {"rl": {"steps": 5}, "seed": 1})
    Run(tmp_path / "r", {"seed": 1, "rl": {"steps": 5}})
    with pytest.raises(BadInput, match=r"differs in: rl\.steps"):
        Run(tmp_path / "r", {"rl": {"steps": 6}, "seed": 1})


def test_a_finished_stage_names_what_it_made(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", {})
    stage = run.stage("sft")
    assert stage.done is None
    (stage.directory / "model.bin").write_bytes(b"x")
    stage.log(step=1, loss=2.0)
    stage.interrupted()
    stage.finish(loss=2.0)
    done = run.stage("sft").done
    assert done is not None
    assert done["loss"] == 2.0
    assert list(done["outputs"]) == ["model.bin"]
    assert run.metrics()[0]["stage"] == "sft"
    assert done["seconds"] >= round(json.loads((tmp_path / "r/sft/seconds.json").read_text()), 2)
