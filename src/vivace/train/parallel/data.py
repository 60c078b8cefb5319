"""Data parallelism with sharded parameters, gradients and optimizer (FSDP2).

Every block gathers its parameters before it runs and scatters the sum of its gradients after its backward pass.
Experts are sharded over the ranks that own the same ones, everything else over all. The router lives in the module of
the experts and is gathered with them, so its gradient lacks the other expert ranks' part: `router_gradients` adds it.
"""

from __future__ import annotations

import warnings

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from vivace.model.decoder import Decoder
from vivace.model.moe import SparseMLP
from vivace.train.parallel.mesh import Mesh


def shard_parameters(model: Decoder, mesh: Mesh, *, bf16: bool = False) -> None:
    """Shard every parameter along its first dimension; gradients are summed, not averaged (the loss is a share)."""
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if bf16 else None, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for block in model.layers:
        if isinstance(block.mlp, SparseMLP):
            fully_shard(block.mlp, mesh=mesh.shard, mp_policy=policy)
        fully_shard(block, mesh=mesh.world, mp_policy=policy)
    # The sparse layer's result is a view; the block adds it out of place, which is what this warning asks for.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    fully_shard(model, mesh=mesh.world, mp_policy=policy, reshard_after_forward=False)
    register_fsdp_forward_method(model, "loss")
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo has no scaled sum


def local(p: Tensor) -> Tensor:
    """This rank's rows of a parameter."""
    return p.to_local() if isinstance(p, DTensor) else p


def local_gradients(model: Decoder, mesh: Mesh) -> dict[str, Tensor]:
    """Take the summed gradients of this rank's rows off the parameters."""
    found: dict[str, Tensor] = {}
    for name, p in model.named_parameters():
        found[name] = torch.zeros_like(local(p)) if p.grad is None else local(p.grad)
        p.grad = None
    router_gradients(found, mesh)
    return found


def router_gradients(grads: dict[str, Tensor], mesh: Mesh) -> None:
    """Sum the routers' gradients over the expert ranks, in place."""
    if mesh.config.ep > 1:
        for name, grad in grads.items():
            if is_router(name):
                dist.all_reduce(grad, group=mesh.expert.get_group())


def is_router(name: str) -> bool:
    """Whether a parameter is held by every expert rank."""
    return name.endswith("mlp.gate.weight")


def is_expert(name: str, p: nn.Parameter | Tensor) -> bool:
    """Whether a parameter stacks experts."""
    return p.dim() == 3
