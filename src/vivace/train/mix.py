"""Several sources in fixed proportions, as one source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vivace.core.errors import BadInput
from vivace.train.batches import Row, Source


class MixedSource:
    """A batch of at least `batch_tokens`, drawn each time from the source furthest behind its share of all tokens.

    `sources` are (source, share) pairs; shares are relative. Members should give small batches (one row), so that
    each batch is mixed. Deterministic, and resumable with its members.
    """

    def __init__(self, sources: Sequence[tuple[Source, float]], batch_tokens: int) -> None:
        if not sources or any(share <= 0 for _, share in sources):
            raise BadInput("a mixture needs sources with positive shares")
        self.sources, self.batch_tokens = list(sources), batch_tokens
        self.given = [0] * len(self.sources)

    def next_batch(self) -> list[Row]:
        batch: list[Row] = []
        tokens = 0
        while tokens < self.batch_tokens:
            at = min(range(len(self.sources)), key=lambda i: self.given[i] / self.sources[i][1])
            rows = self.sources[at][0].next_batch()
            size = sum(len(row.weights) for row in rows)
            self.given[at] += size
            tokens += size
            batch += rows
        return batch

    def state(self) -> dict[str, Any]:
        return {"given": list(self.given), "sources": [source.state() for source, _ in self.sources]}

    def load_state(self, state: dict[str, Any]) -> None:
        if len(state["sources"]) != len(self.sources):
            raise BadInput("the mixture has another number of sources than when this run was saved; start a new run")
        self.given = list(state["given"])
        for (source, _), held in zip(self.sources, state["sources"], strict=True):
            source.load_state(held)
