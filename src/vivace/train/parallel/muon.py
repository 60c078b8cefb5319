"""Muon on sharded matrices: every matrix has an owner that makes its update.

Momentum and the Nesterov sum are elementwise, so they stay with the shards. The sums then travel to the owners (one
all-to-all for all matrices), which put whole matrices together, orthogonalise them, and send each rank its rows back
(a second one). Experts are sharded by expert and therefore whole: they need no communication.
"""

from __future__ import annotations

import math
from collections import defaultdict

import torch
from torch import Tensor

from vivace.train.muon import MuonAdamW, Run, as_matrices, chunked, orthogonal, shape_scale
from vivace.train.parallel.data import is_expert, local
from vivace.train.parallel.expert import exchange
from vivace.train.parallel.mesh import Mesh
from vivace.train.parallel.spans import Span, chunk


def assign_owners(names: list[str], shapes: dict[str, tuple[int, ...]], ranks: int) -> dict[str, int]:
    """Dearest first, each to the rank that has least to do; the cost is that of the iteration's products."""
    work = [0.0] * ranks
    owners = {}
    for name in sorted(names, key=lambda n: (-math.prod(shapes[n]) * min(shapes[n]), n)):
        owners[name] = min(range(ranks), key=lambda rank: work[rank])
        work[owners[name]] += math.prod(shapes[name]) * min(shapes[name])
    return owners


class ShardedMuonAdamW(MuonAdamW):
    """`MuonAdamW` on this rank's rows; `step` takes their gradients, summed over ranks, and is collective."""

    mesh: Mesh
    spans: dict[str, Span]

    def shard(self, mesh: Mesh, spans: dict[str, Span]) -> None:
        """Say where rows live; must come before the first step."""
        self.mesh, self.spans = mesh, spans
        self.whole = [name for name in self.muon if is_expert(name, self.parameters[name])]
        self.cut = [name for name in self.muon if name not in set(self.whole)]
        self.owners = assign_owners(self.cut, {name: spans[name].shape for name in self.cut}, mesh.config.size)
        self.order = sorted(self.cut, key=lambda name: self.owners[name])

    def held(self) -> dict[str, Tensor]:
        return {name: local(p.detach()) for name, p in self.model.named_parameters()}

    def _step_matrices(self, names: object, grads: dict[str, Tensor], lr: float, run: Run) -> None:
        super()._step_matrices([name for name in self.whole if grads[name].numel()], grads, lr, run)
        sums = {}
        for name in self.cut:
            momentum = self.state[f"{name}.momentum"].lerp_(grads[name], 1 - self.momentum)
            sums[name] = grads[name].lerp(momentum, self.momentum)
        for name, update in self._orthogonal(sums, run).items():
            rows, cols = as_matrices(name, torch.empty(self.spans[name].shape, device="meta")).shape[1:]
            p = self.parameters[name]
            p.mul_(1 - lr * self.weight_decay).add_(update, alpha=-lr * shape_scale(rows, cols))

    def _orthogonal(self, sums: dict[str, Tensor], run: Run) -> dict[str, Tensor]:
        """This rank's rows of every matrix's update."""
        ranks, group = range(self.mesh.config.size), self.mesh.world.get_group()
        mine = [name for name in self.order if self.owners[name] == self.mesh.rank]
        send = [sum(sums[name].numel() for name in self.order if self.owners[name] == rank) for rank in ranks]
        receive = [sum(self._elements(name, rank) for name in mine) for rank in ranks]
        flat = torch.cat([sums[name].flatten() for name in self.order])
        parts = [lot.split([self._elements(name, rank) for name in mine])
                 for rank, lot in enumerate(exchange(flat, send, receive, group).split(receive))]  # fmt: skip
        whole = {name: torch.cat([parts[rank][i] for rank in ranks]).view(self.spans[name].shape)
                 for i, name in enumerate(mine)}  # fmt: skip
        done = self._owned(whole, run)
        back = [done[name].flatten().split([self._elements(name, rank) for rank in ranks]) for name in mine]
        flat = torch.cat([one[rank] for rank in ranks for one in back]) if mine else flat.new_empty(0)
        rows = exchange(flat, receive, send, group).split([sums[name].numel() for name in self.order])
        return {name: part.view_as(sums[name]) for name, part in zip(self.order, rows, strict=True)}

    def _owned(self, whole: dict[str, Tensor], run: Run) -> dict[str, Tensor]:
        """Orthogonal matrices for those that this rank owns; equal shapes go through together."""
        by_shape: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
        for name, matrix in whole.items():
            view = as_matrices(name, matrix)
            by_shape[tuple(view.shape[1:])].extend(view)
        lots = [lot for group in by_shape.values() for lot in chunked(group)]

        def work(lot: list[Tensor]) -> None:
            for matrix, update in zip(lot, orthogonal(torch.stack(lot)), strict=True):
                matrix.copy_(update)

        for _ in run(work, lots):
            pass
        return whole

    def _elements(self, name: str, rank: int) -> int:
        shape = self.spans[name].shape
        start, stop = chunk(shape[0], self.mesh.config.size, rank)
        return (stop - start) * math.prod(shape[1:])
