"""Rollouts to micro-batches. What rollouts of a group have in common at their start is run once, not once for each.

A policy that has learned the form opens most attempts at a task alike (same prompt, same search, same file read), so
the common start is often longer than what follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise, takewhile

import torch
from torch import Tensor

from vivace.core.types import Attempt, Segment
from vivace.rl.advantage import taken_back_advantage

BATCH_OVERHEAD = 128  # what one more micro-batch costs, in tokens


@dataclass(frozen=True)
class Row:
    """One segment of a rollout and its share of the loss: `weight` is 1 / (P * N_q), for its sampled tokens from `skip`
    on."""

    segment: Segment
    advantage: float
    weight: float
    skip: int = 0

    def __len__(self) -> int:
        return len(self.segment.ids)


@dataclass(frozen=True)
class MicroBatch:
    """`prefix_P` (possibly empty) is followed by each of the `ids_BT`, right-padded.

    Column t of the fp32 tensors, (B, P + T - 1), is about predicting token t + 1 of prefix and row; weight 0 = not
    sampled, or learnt in another row. Rows agree on all columns of the prefix but the advantages and weights.
    """

    prefix_P: Tensor
    ids_BT: Tensor
    behaviour: Tensor
    advantages: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> MicroBatch:
        return MicroBatch(*(getattr(self, field.name).to(device) for field in fields(self)))


def group_rows(
    attempts: Sequence[Attempt], advantages: Sequence[float | None], prompts: int, price: float | None = 0.0
) -> list[Row]:
    """Rows of one prompt's valid rollouts. Segments of a compacted rollout share its advantage, and the
    denominator counts tokens of rollouts, so one cut into pieces weighs no more than a whole one. Answers that were
    taken back are rows too, of which only they are learnt: see `taken_back_advantage`; not with a `price` of None."""
    valid = [(a.trajectory, value) for a, value in zip(attempts, advantages, strict=True) if value is not None]
    masks = [part.mask for trajectory, _ in valid for part in trajectory.segments]
    if price is not None:
        masks += [part.mask for trajectory, _ in valid for part in trajectory.forgotten]
    tokens = sum(map(sum, masks))
    weight = 1 / (prompts * max(tokens, 1))
    rows = []
    for trajectory, value in valid:
        rows += [Row(s.trained(), value, weight) for s in trajectory.segments if any(s.mask)]
        if price is not None:
            rows += [Row(f.within(trajectory.segments[-1]), taken_back_advantage(value, price), weight, f.at)
                     for f in trajectory.forgotten]
    return [row for row in rows if row.advantage]


def micro_batches(rows: Sequence[Row], max_tokens: int) -> list[MicroBatch]:
    """Cut one prompt's rows into batches of at most `max_tokens` (a longer row goes alone), the cheapest way.

    Sorted by content, rows that start alike are neighbours; a dynamic programme then finds the contiguous cut with
    the fewest tokens to compute, each batch paying its common start once and padding its rows to the longest.
    """
    rows = sorted(rows, key=lambda row: (row.segment.ids, row.segment.mask))
    shared = [_common(a.segment, b.segment) for a, b in pairwise(rows)]
    best: list[tuple[float, int]] = [(0.0, 0)]  # tokens for the first n rows, and where their last batch starts
    for end in range(1, len(rows) + 1):
        choices = []
        for start in range(end - 1, -1, -1):
            tokens = _tokens(rows[start:end], min(shared[start : end - 1], default=0))
            if tokens <= max_tokens or end - start == 1:
                choices.append((best[start][0] + tokens + BATCH_OVERHEAD, start))
        best.append(min(choices))
    batches, end = [], len(rows)
    while end:
        start = best[end][1]
        batches.append(collate(rows[start:end], min(shared[start : end - 1], default=0)))
        end = start
    return batches[::-1]


def _tokens(rows: Sequence[Row], shared: int) -> int:
    start = max(shared - 1, 0)
    return start + len(rows) * (max(len(row) for row in rows) - start)


def collate(rows: Sequence[Row], shared: int) -> MicroBatch:
    """One padded batch of rows whose first `shared` tokens are the same."""
    start = max(shared - 1, 0)  # the last shared token stays with the rows: it predicts their first own one
    width = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.int64)
    behaviour, advantages, weights = (torch.zeros(len(rows), width - 1) for _ in range(3))
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row.segment.ids)
        behaviour[i, : len(row) - 1] = torch.tensor(row.segment.logprobs[1:])
        weights[i, : len(row) - 1] = torch.tensor(row.segment.mask[1:]) * row.weight
        weights[i, : max(row.skip - 1, 0)] = 0.0
        advantages[i] = row.advantage
    return MicroBatch(ids[0, :start].clone(), ids[:, start:], behaviour, advantages, weights)


def _common(a: Segment, b: Segment) -> int:
    """Leading tokens that two segments share, sampled or given alike."""
    columns = zip(a.ids, b.ids, a.mask, b.mask, strict=False)
    return sum(1 for _ in takewhile(lambda column: column[0] == column[1] and column[2] == column[3], columns))
