"""Expert parallelism: each rank of a group owns a run of experts, and tokens travel to them and back.

Slots arrive here grouped by expert, hence by owner. Counts are exchanged first, then slots with their gates; the owner
regroups them from (sender, expert) to (expert, sender), runs its experts, and sends the results back the same way.
Nothing is dropped and nothing padded.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function

from vivace.core.errors import BadInput
from vivace.model.decoder import Decoder
from vivace.model.moe import SparseMLP
from vivace.train.parallel.mesh import Mesh

Group = dist.ProcessGroup


class _AllToAll(Function):
    """Rows to their receivers: `send[i]` rows go to rank i, `receive[i]` come from it. The gradient goes back."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, send: list[int], receive: list[int], group: Group) -> Tensor:
        ctx.send, ctx.receive, ctx.group = send, receive, group
        return exchange(rows, send, receive, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        return exchange(grads[0], ctx.receive, ctx.send, ctx.group), None, None, None


class _Permute(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0].index_select(0, ctx.saved_tensors[0]), None, None


def exchange(rows: Tensor, send: list[int], receive: list[int], group: Group) -> Tensor:
    """All-to-all of rows with uneven splits."""
    out = rows.new_empty(sum(receive), *rows.shape[1:])
    dist.all_to_all_single(out, rows.contiguous(), receive, send, group=group)
    return out


class ExpertParallel:
    """Stands in for `SparseMLP.experts`: the same function of the same arguments."""

    def __init__(self, mlp: SparseMLP, group: Group) -> None:
        self.mlp, self.group, self.ranks = mlp, group, dist.get_world_size(group)

    def __call__(self, x_MD: Tensor, gate_M: Tensor, load_E: Tensor) -> Tensor:
        wanted_RE = load_E.view(self.ranks, -1)  # of each rank's experts, by me
        given_RE = torch.empty_like(wanted_RE)  # of my experts, by each rank
        dist.all_to_all_single(given_RE, wanted_RE.contiguous(), group=self.group)
        send, receive = wanted_RE.sum(1).tolist(), given_RE.sum(1).tolist()
        expert_S = torch.arange(given_RE.shape[1], device=x_MD.device).repeat(self.ranks)
        order = expert_S.repeat_interleave(given_RE.flatten()).argsort(stable=True)
        inverse = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=x_MD.device))
        x, gate = (_AllToAll.apply(t, send, receive, self.group) for t in (x_MD, gate_M))
        x, gate = (_Permute.apply(t, order, inverse) for t in (x, gate))
        y = _Permute.apply(SparseMLP.experts(self.mlp, x, gate, given_RE.sum(0)), inverse, order)
        return _AllToAll.apply(y, receive, send, self.group)


def shard_experts(model: Decoder, mesh: Mesh) -> None:
    """Keep this rank's experts of every sparse layer, and send tokens for the others to their owners."""
    ranks, experts = mesh.config.ep, model.config.num_experts
    if ranks == 1:
        return
    if experts % ranks:
        raise BadInput(f"mesh ep={ranks} must divide the model's {experts} experts")
    each = experts // ranks
    mine = slice(mesh.expert_rank * each, (mesh.expert_rank + 1) * each)
    for block in model.layers:
        if isinstance(mlp := block.mlp, SparseMLP):
            mlp.gate_up, mlp.down = (nn.Parameter(p.detach()[mine].clone()) for p in (mlp.gate_up, mlp.down))
            setattr(mlp, "experts", ExpertParallel(mlp, mesh.expert.get_group()))  # noqa: B010 - shadows the method
