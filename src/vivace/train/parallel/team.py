"""What the training loop asks of its processes: gradients, sums, agreement. One process is `Alone`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from vivace.model.decoder import Decoder
from vivace.model.lora import trainable
from vivace.train.batches import MicroBatch
from vivace.train.muon import MuonAdamW
from vivace.train.parallel.context import cutting, piece, split_context
from vivace.train.parallel.data import local_gradients, shard_parameters
from vivace.train.parallel.expert import shard_experts
from vivace.train.parallel.mesh import Mesh
from vivace.train.parallel.muon import ShardedMuonAdamW
from vivace.train.parallel.spans import Span, span_of
from vivace.train.workers import Workers


class Gradients(NamedTuple):
    """Of the global batch: mean loss, gradients of the rows held here, tokens per expert (L, E)."""

    loss: float
    by_name: dict[str, Tensor]
    counts_LE: Tensor


class Team(Protocol):
    """How one or many processes do a step's work together."""

    first: bool  # speaks for all
    threads: int | None  # None: as many as are configured
    rank: int
    ranks: int
    spans: dict[str, Span]  # of parameters that are not whole here

    def optimizer(self, model: Decoder, **settings: Any) -> MuonAdamW: ...
    def gradients(
        self, model: Decoder, batches: list[MicroBatch], weight: float, workers: Workers
    ) -> Gradients: ...
    def norm(self, grads: dict[str, Tensor]) -> float: ...
    def agree(self, *values: float) -> list[float]: ...


class Alone:
    """One process, perhaps several threads."""

    first, rank, ranks = True, 0, 1
    threads: int | None = None

    def __init__(self) -> None:
        self.spans: dict[str, Span] = {}

    def optimizer(self, model: Decoder, **settings: Any) -> MuonAdamW:
        return MuonAdamW(model, **settings)

    def gradients(self, model: Decoder, batches: list[MicroBatch], weight: float, workers: Workers) -> Gradients:
        """Summed in the order of the micro-batches, whichever thread is done first."""
        names, parameters = zip(*trainable(model).items(), strict=True)
        device = parameters[0].device

        def work(batch: MicroBatch) -> tuple[float, tuple[Tensor, ...], Tensor]:
            loss = model.loss(*(t.to(device) for t in batch))
            mean = loss.total / weight
            return float(mean.detach()), torch.autograd.grad(mean, parameters), loss.counts_LE

        total, counts_LE = 0.0, torch.zeros(0)
        sums: list[Tensor] = []
        for loss, grads, counts in workers.run(work, batches):
            total += loss
            if not sums:
                sums, counts_LE = list(grads), counts
            else:
                torch._foreach_add_(sums, grads)
                counts_LE = counts_LE + counts
        return Gradients(total, dict(zip(names, sums, strict=True)), counts_LE)

    def norm(self, grads: dict[str, Tensor]) -> float:
        return float(torch.stack(torch._foreach_norm(list(grads.values()))).norm())

    def agree(self, *values: float) -> list[float]:
        return list(values)


class Together:
    """The processes of a mesh; every method is collective. The model must be whole and alike on all when it comes."""

    threads: int | None = 1  # collectives of several threads would meet in any order

    def __init__(self, mesh: Mesh, model: Decoder) -> None:
        self.mesh, self.first, self.rank, self.ranks = mesh, mesh.first, mesh.rank, mesh.config.size
        model.to(mesh.device)
        shard_experts(model, mesh)
        self.spans = {name: span_of(name, p, mesh) for name, p in model.named_parameters()}
        self.cuts = split_context(model, mesh)
        shard_parameters(model, mesh, bf16=mesh.config.bf16)

    def optimizer(self, model: Decoder, **settings: Any) -> MuonAdamW:
        made = ShardedMuonAdamW(model, **settings)
        made.shard(self.mesh, self.spans)
        return made

    def gradients(self, model: Decoder, batches: list[MicroBatch], weight: float, workers: Workers) -> Gradients:
        total, counts_LE = torch.zeros((), dtype=torch.float64, device=self.mesh.device), torch.zeros(0)
        with cutting(self.cuts):
            for batch, positions in self.share(batches):
                on_device = [t.to(self.mesh.device) for t in (*batch, *([] if positions is None else [positions]))]
                loss = model.loss(*on_device)
                (loss.total / weight).backward()
                total += loss.total.detach().double() / weight
                counts_LE = loss.counts_LE if not counts_LE.numel() else counts_LE + loss.counts_LE
        return Gradients(float(self.mesh.sum(total)), local_gradients(model, self.mesh), self.mesh.sum(counts_LE))

    def share(self, batches: list[MicroBatch]) -> Iterator[tuple[MicroBatch, Tensor | None]]:
        """This rank's pieces of every data_ranks-th micro-batch; ranks left over get one without a token to learn,
        because all must take part in every exchange."""
        mesh = self.mesh
        for start in range(0, len(batches), mesh.data_ranks):
            if start + mesh.data_rank < len(batches):
                yield piece(batches[start + mesh.data_rank], mesh)
            else:
                idle = MicroBatch(*(torch.zeros_like(t[:1, : mesh.config.cp]) for t in batches[-1]))
                yield piece(idle, mesh)

    def norm(self, grads: dict[str, Tensor]) -> float:
        squares = [grad.double().square().sum() / self.spans[name].copies for name, grad in grads.items()]
        return math.sqrt(float(self.mesh.sum(torch.stack(squares).sum())))

    def agree(self, *values: float) -> list[float]:
        return self.mesh.agree(*values)


def assemble(mesh: Mesh | None, model: Decoder) -> Team:
    """Shard `model` in place over the mesh, or leave it whole when there is none."""
    return Alone() if mesh is None else Together(mesh, model)
