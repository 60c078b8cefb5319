"""Which rows of a whole parameter live on this rank: always one run of its first dimension."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from vivace.train.parallel.data import is_expert, is_router
from vivace.train.parallel.mesh import Mesh


class Span(NamedTuple):
    """Rows [start, stop) of a tensor of `shape`; `copies` ranks hold the same ones."""

    start: int
    stop: int
    shape: tuple[int, ...]
    copies: int = 1


def chunk(length: int, ranks: int, rank: int) -> tuple[int, int]:
    """Rows of a rank as torch.chunk cuts them: equal, the last ones shorter or empty."""
    size = -(-length // ranks)
    return min(length, rank * size), min(length, (rank + 1) * size)




def span_of(name: str, p: Tensor, mesh: Mesh) -> Span:
    """`p` has this rank's experts, if any, and the whole of everything else as its (global) shape."""
    shape, config = tuple(p.shape), mesh.config
    if is_expert(name, p):
        start, stop = chunk(shape[0], mesh.shard.size(), mesh.shard.get_local_rank())
        first = mesh.expert_rank * shape[0]
        return Span(first + start, first + stop, (shape[0] * config.ep, *shape[1:]))
    if is_router(name):
        return Span(*chunk(shape[0], mesh.shard.size(), mesh.shard.get_local_rank()), shape, config.ep)
    return Span(*chunk(shape[0], mesh.world.size(), mesh.rank), shape)


def local_shape(span: Span) -> tuple[int, ...]:
    """Shape of the rows that live here."""
    return (span.stop - span.start, *span.shape[1:])
