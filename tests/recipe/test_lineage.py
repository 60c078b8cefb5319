"""The training a base has behind it: carried from release to release, on the card, refused when damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from vivace.core.errors import BadInput
from vivace.core.run import Run
from vivace.model.presets import preset
from vivace.recipe.basecard import base_card
from vivace.recipe.lineage import FILE_NAME, POINTS, Lineage, StageRow, extend, read_lineage

BEFORE = Lineage(stages=[StageRow(name="pretrain", steps=3, tokens=1000, tok_s=10, seconds=100, loss=4.0, note="old")],
                 measures={"bits_per_byte": 2.0})  # fmt: skip


def trained(folder: Path) -> Run:
    run = Run(folder, {"name": "r", "seed": 1, "corpus": {}, "midtrain": {}})
    run.stage("corpus").finish(tokens=5)
    stage = run.stage("midtrain")
    for step in range(1, 101):
        stage.log(step=step, tokens=step * 10, loss=5 - step / 50)
    stage.finish(steps=100, tokens=1000, tok_s=50.0, loss=3.02)
    return run


def test_a_training_adds_to_what_was_before(tmp_path: Path) -> None:
    lineage = extend(BEFORE, trained(tmp_path / "run"), {"bits_per_byte": 1.5})
    assert [stage.name for stage in lineage.stages] == ["pretrain", "midtrain"]
    assert lineage.tokens == 2000
    assert len(lineage.curve) == POINTS
    assert lineage.curve[-1].tokens == 1000
    assert lineage.measures == {"bits_per_byte": 1.5}
    (tmp_path / FILE_NAME).write_text(lineage.model_dump_json())
    assert read_lineage(tmp_path) == lineage


def test_the_card_shows_all_of_it() -> None:
    part = {"documents": 3, "bytes": 3000, "tokens": 1000, "packages": 2}
    card = base_card("nano-base", preset("nano"), {"val": part, "train": part, "heldout_overlap": 0.01}, BEFORE)
    assert "| pretrain | 3 | 1,000 | 10 | 100 | 4.000 | old |" in card
    assert "| 2.0 |" in card
    assert "12.9M parameters" in card


def test_none_or_damaged(tmp_path: Path) -> None:
    assert read_lineage(tmp_path) == Lineage()
    (tmp_path / FILE_NAME).write_text('{"stages": 3}')
    with pytest.raises(BadInput, match="is damaged"):
        read_lineage(tmp_path)
