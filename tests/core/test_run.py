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
    assert done["seconds"] >= round(json.loads((tmp_path / "r/sft/seconds.json").read_text())["seconds"], 2)


def test_time_adds_up_and_memory_is_the_most_of_all_sittings(tmp_path: Path) -> None:
    first = Run(tmp_path / "r", {}).stage("rl")
    first.begin({})
    first.interrupted(peak_rss_mb=900.0)
    second = Run(tmp_path / "r", {}).stage("rl")
    second.begin({})
    done = second.finish(peak_rss_mb=300.0)
    assert done["peak_rss_mb"] == 900.0
    assert done["seconds"] >= 0


def test_a_plain_number_of_seconds_is_still_read(tmp_path: Path) -> None:
    stage = Run(tmp_path / "r", {}).stage("rl")
    (stage.directory / "seconds.json").write_text("186.5\n")
    stage.begin({"base": "1"})
    done = stage.finish(peak_rss_mb=5.0)
    assert done["seconds"] >= 186.5
    assert done["peak_rss_mb"] == 5.0


def test_other_inputs_are_refused_and_older_runs_accepted(tmp_path: Path) -> None:
    stage = Run(tmp_path / "r", {}).stage("sft")
    stage.begin({"base": "1", "rows": "2"})
    stage.interrupted()
    again = Run(tmp_path / "r", {}).stage("sft")
    with pytest.raises(BadInput, match="rows changed since stage 'sft'"):
        again.begin({"base": "1", "rows": "3"})
    again.begin({"base": "1", "rows": "2"})
    assert again.finish()["inputs"] == {"base": "1", "rows": "2"}
    again.check_inputs({"base": "1", "rows": "2"})
    with pytest.raises(BadInput, match=r"base changed .*; choose another folder with --out, or delete that one"):
        again.check_inputs({"base": "9", "rows": "2"})
    old = Run(tmp_path / "r", {}).stage("old")
    (old.directory / "done.json").write_text('{"name": "old", "seconds": 1, "outputs": {}}')
    old.check_inputs({"base": "9"})


@pytest.mark.parametrize("text", ["{", "", "[1]", "\udcff"])
@pytest.mark.parametrize(("name", "said"), [
    ("config.json", "choose another name with --out"), ("sft/done.json", "delete it, and the stage is done again"),
    ("sft/seconds.json", "delete it; the stage goes on"),
])
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str, said: str, text: str) -> None:
    Run(tmp_path / "r", {"seed": 1}).stage("sft")
    (tmp_path / "r" / name).write_bytes(text.encode(errors="surrogateescape"))

    def resume() -> None:
        stage = Run(tmp_path / "r", {"seed": 1}).stage("sft")
        assert stage.done is None
        stage.begin({})

    with pytest.raises(BadInput, match=said) as refused:
        resume()
    assert str(tmp_path / "r") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_steps_done_again_after_a_hard_kill_count_once(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", {})
    run.log(note="no step")
    for step in (1, 2, 3, 4):
        run.log(stage="pre", step=step, tokens=step, loss=1.0)
        if step in (2, 4):
            run.log(stage="pre", step=step, tokens=step, held_out=1.0)
    run.log(stage="rl", step=1, reward=0.5)
    for step in (2, 3):  # killed after step 4, resumed from step 1, and out of time after step 3
        run.log(stage="pre", step=step, tokens=step, loss=2.0)
        run.log(stage="pre", step=step, tokens=step, held_out=2.0)
    rows = [(row.get("stage"), row.get("step"), row.get("loss", row.get("held_out"))) for row in run.metrics()]
    again = [("pre", 2, 2.0), ("pre", 2, 2.0), ("pre", 3, 2.0), ("pre", 3, 2.0)]
    assert rows == [(None, None, None), ("pre", 1, 1.0), ("rl", 1, None), *again]
