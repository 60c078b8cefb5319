"""Who is who: processes started by torchrun, arranged as data x expert x context.

Rank = (data * ep + expert) * cp + context, so that the ranks of an expert group (all-to-all in every sparse layer) and
of a context group are neighbours, inside one node when ep * cp fits there. Data and expert ranks read different rows
of a batch; the ranks of a context group read pieces of the same rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from pydantic import BaseModel, ConfigDict, Field
from torch.distributed.device_mesh import DeviceMesh

from vivace.core.errors import BadInput

PATIENCE = timedelta(hours=12)  # how long ranks wait for one that prepares data alone


class MeshConfig(BaseModel):
    """How many ways each axis splits the work; the product is the number of processes."""

    model_config = ConfigDict(extra="forbid")

    dp: int = Field(1, ge=1)  # rows of the batch; parameters are sharded over all processes
    ep: int = Field(1, ge=1)  # experts, and rows of the batch
    cp: int = Field(1, ge=1)  # tokens of a sequence
    bf16: bool = False  # compute in bf16; masters, sums of gradients and optimizer stay fp32

    @property
    def size(self) -> int:
        return self.dp * self.ep * self.cp


def parse_mesh(text: str) -> MeshConfig:
    """`dp=8,ep=8` as a mesh; what is not named is 1."""
    sizes = {}
    for part in text.split(","):
        axis, _, size = part.strip().partition("=")
        if axis not in ("dp", "ep", "cp") or not size.isdigit() or int(size) < 1:
            raise BadInput(f"{part!r} is no part of a mesh; write something like dp=8,ep=8 (axes: dp, ep, cp)")
        sizes[axis] = int(size)
    return MeshConfig(**sizes)


class Mesh:
    """This process's place, and the groups it belongs to.

    `world` holds every rank, `shard` those with the same experts (data x context), `expert` and `context` one axis.
    """

    def __init__(self, config: MeshConfig, device: torch.device) -> None:
        self.config, self.device, self.rank = config, device, dist.get_rank()
        ranks = torch.arange(config.size).view(config.dp, config.ep, config.cp)
        kind = device.type
        by_expert = DeviceMesh(kind, ranks.transpose(1, 2).reshape(-1, config.ep), mesh_dim_names=("shard", "expert"))
        by_context = DeviceMesh(kind, ranks.view(-1, config.cp), mesh_dim_names=("data", "context"))
        self.world = DeviceMesh(kind, ranks.flatten(), mesh_dim_names=("world",))
        self.shard, self.expert, self.context = by_expert["shard"], by_expert["expert"], by_context["context"]
        self.context_rank = self.rank % config.cp
        self.expert_rank = self.rank // config.cp % config.ep
        self.data_rank, self.data_ranks = self.rank // config.cp, config.dp * config.ep

    @property
    def first(self) -> bool:
        """Whether this rank speaks for all."""
        return self.rank == 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over all ranks, in place."""
        dist.all_reduce(tensor, group=self.world.get_group())
        return tensor

    def first_then_all(self, work: Callable[[], object]) -> None:
        """Rank 0 does it while the others wait."""
        if self.first:
            work()
        dist.barrier()

    def agree(self, *values: float) -> list[float]:
        """The largest of each value over all ranks: clocks and signals, so that every rank decides alike."""
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, dist.ReduceOp.MAX, group=self.world.get_group())
        return tensor.tolist()


def processes() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun started (once; nested use joins nothing): nccl on GPUs, gloo on CPUs."""
    if processes() == 1 or dist.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def open_mesh(config: MeshConfig | None) -> Iterator[Mesh | None]:
    """The mesh of a stage, or None when one process does it all. Without a config every process is a data rank.

    Raises:
        BadInput: torchrun started another number of processes than the mesh asks for.
    """
    count = processes()
    wanted = config or MeshConfig(dp=count)
    if wanted.size != count:
        raise BadInput(
            f"mesh dp={wanted.dp} ep={wanted.ep} cp={wanted.cp} needs {wanted.size} processes, there are {count}; "
            f"start it with torchrun --nproc-per-node {wanted.size} -m vivace.cli run ..., or change mesh"
        )
    if count == 1:
        yield None
        return
    with process_group():
        local = int(os.environ.get("LOCAL_RANK", "0"))
        yield Mesh(wanted, torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu"))
