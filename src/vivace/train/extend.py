"""Longer context in steps: the same stream in longer windows, and a model that accepts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from vivace.core.errors import BadInput
from vivace.model.decoder import Decoder
from vivace.model.rope import RotaryTable
from vivace.train.batches import Row, Source


class Extension(BaseModel):
    """Windows of `seq_len` tokens until the stream has given `tokens` of them."""

    model_config = ConfigDict(extra="forbid")

    seq_len: int = Field(ge=2)
    tokens: int = Field(ge=1)


class SteppedSource:
    """(source, tokens) pairs in turn, each until it has given that many tokens; the last one goes on without end."""

    def __init__(self, steps: Sequence[tuple[Source, int]]) -> None:
        if not steps:
            raise BadInput("a context extension needs at least one step")
        self.steps, self.at, self.given = list(steps), 0, 0

    def next_batch(self) -> list[Row]:
        while self.at + 1 < len(self.steps) and self.given >= self.steps[self.at][1]:
            self.at, self.given = self.at + 1, 0
        rows = self.steps[self.at][0].next_batch()
        self.given += sum(len(row.weights) for row in rows)
        return rows

    def state(self) -> dict[str, Any]:
        return {"at": self.at, "given": self.given, "sources": [source.state() for source, _ in self.steps]}

    def load_state(self, state: dict[str, Any]) -> None:
        if len(state["sources"]) != len(self.steps):
            raise BadInput("the context extension has another number of steps than when this run was saved")
        self.at, self.given = state["at"], state["given"]
        for (source, _), held in zip(self.steps, state["sources"], strict=True):
            source.load_state(held)


def lengthen(model: Decoder, tokens: int) -> None:
    """Let the model take `tokens` tokens, in place; nothing if it does already.

    Nothing is interpolated: full layers carry no positions, and in sliding layers rotary angles matter only within a
    window, whatever the position. So a model may be lengthened before it has seen long text.
    """
    config = model.config
    if tokens > config.max_position_embeddings:
        model.config = config.model_copy(update={"max_position_embeddings": tokens})
        device = model.rope.cos.device
        model.rope = RotaryTable(config.head_dim, tokens, config.rope_theta).to(device)
