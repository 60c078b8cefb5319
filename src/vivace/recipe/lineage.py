"""The training that a shipped base has behind it, as a file beside its weights: a later training goes on from it."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field, ValidationError

from vivace.core.errors import BadInput
from vivace.core.run import Run
from vivace.core.types import Record

FILE_NAME = "training.json"
POINTS = 16  # of the loss curve of one training


class StageRow(Record):
    """One stage of training, as its run recorded it. `loss` is the mean over its last steps, nats per token."""

    name: str
    steps: int
    tokens: int
    tok_s: float
    seconds: float
    loss: float
    note: str = ""


class CurvePoint(Record):
    """Training loss (nats per weighted token) after `tokens` of a stage."""

    stage: str
    tokens: int
    loss: float


class Lineage(Record):
    """Everything that was trained before, first to last, and what was measured at the end."""

    stages: list[StageRow] = Field(default_factory=list)
    curve: list[CurvePoint] = Field(default_factory=list)
    measures: dict[str, float] = Field(default_factory=dict)

    @property
    def tokens(self) -> int:
        return sum(stage.tokens for stage in self.stages)


def read_lineage(checkpoint: Path) -> Lineage:
    """What a checkpoint folder records; empty where it records nothing.

    Raises:
        BadInput: the file is damaged.
    """
    path = checkpoint / FILE_NAME
    if not path.exists():
        return Lineage()
    try:
        return Lineage.model_validate(json.loads(path.read_text()))
    except (ValidationError, ValueError) as error:
        raise BadInput(f"{path} is damaged; restore it from version control, or delete it") from error


def extend(before: Lineage, run: Run, measures: dict[str, float]) -> Lineage:
    """The lineage of what `run` trained on top of `before`."""
    done = [run.stage(name).done for name in run.config if name not in ("name", "seed")]
    stages = [StageRow.model_validate({key: stage[key] for key in StageRow.model_fields if key in stage})
              for stage in done if stage and "tok_s" in stage]
    trained = {stage.name for stage in stages}
    rows = [CurvePoint(stage=row["stage"], tokens=row["tokens"], loss=round(row["loss"], 4))
            for row in run.metrics() if "loss" in row and row.get("stage") in trained]
    return Lineage(stages=[*before.stages, *stages], curve=[*before.curve, *_thin(rows)], measures=measures)


def _thin(rows: list[CurvePoint]) -> list[CurvePoint]:
    """About `POINTS` rows, evenly spaced, the last one included."""
    if len(rows) <= POINTS:
        return rows
    step = (len(rows) - 1) / (POINTS - 1)
    return [rows[round(i * step)] for i in range(POINTS)]
