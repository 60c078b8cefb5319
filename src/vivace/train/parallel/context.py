"""Context parallelism: the ranks of a group hold consecutive pieces of the same sequences.

A sliding layer needs the window - 1 keys before its piece, nearly always from the left neighbour alone: a halo. A full
layer gathers the keys and values of the group and lets each query see those up to its own; the gradient is summed
back to the owners. Pieces are contiguous, which keeps the halo at one message; the price is that in full layers (one
of six) the last rank sees all the keys and the first few.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import pad

from vivace.model.attention import Attention
from vivace.model.decoder import Decoder
from vivace.train.batches import MicroBatch
from vivace.train.parallel.expert import exchange
from vivace.train.parallel.mesh import Mesh

TIME = 2  # of a (B, K, T, d) tensor


def _time_first(x_BKTd: Tensor) -> Tensor:
    return x_BKTd.movedim(TIME, 0).contiguous()


class _Halo(Function):
    """The last `size` steps of the left neighbour (nothing on the first rank); the gradient goes back left."""

    @staticmethod
    def forward(ctx: Any, x_BKTd: Tensor, size: int, group: dist.ProcessGroup) -> Tensor:
        rank, ranks = dist.get_rank(group), dist.get_world_size(group)
        ctx.group, ctx.length = group, x_BKTd.shape[TIME]
        ctx.send = [size * (i == rank + 1) for i in range(ranks)]
        ctx.receive = [size * (i == rank - 1) for i in range(ranks)]
        mine = _time_first(x_BKTd[:, :, -size:])[: sum(ctx.send)]
        return exchange(mine, ctx.send, ctx.receive, group).movedim(0, TIME)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        mine = exchange(_time_first(grads[0]), ctx.receive, ctx.send, ctx.group).movedim(0, TIME)
        return pad(mine, (0, 0, ctx.length - mine.shape[TIME], 0)), None, None


class _Gather(Function):
    """Pieces of all ranks, joined along time; the gradient of each piece is the sum over ranks."""

    @staticmethod
    def forward(ctx: Any, x_BKTd: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group, ranks = group, dist.get_world_size(group)
        mine = _time_first(x_BKTd)
        out = mine.new_empty(ranks * len(mine), *mine.shape[1:])
        dist.all_gather_single(out, mine, group=group)
        return out.movedim(0, TIME)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        whole = _time_first(grads[0])
        mine = whole.new_empty(len(whole) // dist.get_world_size(ctx.group), *whole.shape[1:])
        dist.reduce_scatter_single(mine, whole, group=ctx.group)
        return mine.movedim(0, TIME), None


class ContextAttention:
    """Stands in for `Attention.attend` while `cut` is set; the inputs are then this rank's pieces."""

    cut = False

    def __init__(self, attention: Attention, group: dist.ProcessGroup) -> None:
        self.attention, self.group = attention, group

    def __call__(self, q_BHTd: Tensor, k_BKTd: Tensor, v_BKTd: Tensor) -> Tensor:
        if self.cut:
            k_BKTd, v_BKTd = (self.before_and_own(t) for t in (k_BKTd, v_BKTd))
        return Attention.attend(self.attention, q_BHTd, k_BKTd, v_BKTd)

    def before_and_own(self, x_BKTd: Tensor) -> Tensor:
        """Keys or values from the first that this rank's first query may see to its own last."""
        length, halo = x_BKTd.shape[TIME], self.attention.window - 1
        if self.attention.sliding and halo <= length:
            return torch.cat([_Halo.apply(x_BKTd, halo, self.group), x_BKTd], dim=TIME) if halo else x_BKTd
        end = (dist.get_rank(self.group) + 1) * length
        start = max(0, end - length - halo) if self.attention.sliding else 0
        return _Gather.apply(x_BKTd, self.group)[:, :, start:end]


def split_context(model: Decoder, mesh: Mesh) -> list[ContextAttention]:
    """Prepare every attention layer; without effect until `cutting`."""
    if mesh.config.cp == 1:
        return []
    made = []
    for block in model.layers:
        attention: Any = block.self_attn
        made.append(ContextAttention(attention, mesh.context.get_group()))
        setattr(attention, "attend", made[-1])  # noqa: B010 - shadows the method
    return made


@contextmanager
def cutting(layers: list[ContextAttention]) -> Iterator[None]:
    """Within the block the model is fed pieces of sequences; outside it, whole ones."""
    for layer in layers:
        layer.cut = True
    try:
        yield
    finally:
        for layer in layers:
            layer.cut = False


def piece(batch: MicroBatch, mesh: Mesh) -> tuple[MicroBatch, Tensor | None]:
    """This rank's piece of a micro-batch and the positions (B, T) of its tokens; None: from 0 on."""
    ranks = mesh.config.cp
    if ranks == 1:
        return batch, None
    extra = -batch.input_ids.shape[1] % ranks
    padded = MicroBatch(*(pad(t, (0, extra)) for t in batch))
    length = padded.input_ids.shape[1] // ranks
    start = mesh.context_rank * length
    own = MicroBatch(*(t[:, start : start + length].contiguous() for t in padded))
    return own, torch.arange(start, start + length).expand_as(own.input_ids)
