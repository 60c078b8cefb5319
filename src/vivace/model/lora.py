"""Low-rank adapters (Hu et al., arXiv 2106.09685): y = W x + (alpha / rank) B A x, with W frozen.

    add_adapters(model, LoraConfig(rank=16, alpha=32))   # freezes everything else
    merged(model)                                        # a state dict with every B A added to its W

Layers hold their adapters by the name of the matrix and call `adapted` after each product. A stack of expert matrices
(E, out, in) gets stacks A (E, rank, in) and B (E, out, rank), multiplied group by group like the experts themselves.
A is normal with deviation 1/sqrt(in), B zero: training starts from the model as it is.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import grouped_mm, linear

from vivace.core.errors import BadInput

Target = Literal["qkv", "o_proj", "gate_up", "down"]
INFIX = ".adapters."


class LoraConfig(BaseModel):
    """Which matrices are adapted, and how: `qkv` and `o_proj` of attention, `gate_up` and `down` of every feed-forward
    layer, dense, shared or experts. The rank is a multiple of 8, as grouped products want it."""

    model_config = ConfigDict(extra="forbid")

    rank: int = Field(16, ge=8, multiple_of=8)
    alpha: float = Field(32.0, gt=0)
    targets: list[Target] = Field(default_factory=lambda: list[Target](["qkv", "o_proj", "gate_up", "down"]),
                                  min_length=1)  # fmt: skip


class LowRank(nn.Module):
    """(alpha / rank) B A for one matrix (out, in), or for a stack of them."""

    def __init__(self, matrix: Tensor, config: LoraConfig, generator: torch.Generator) -> None:
        super().__init__()
        *stack, out, size = matrix.shape
        self.scale = config.alpha / config.rank
        start = torch.empty(*stack, config.rank, size).normal_(0.0, size**-0.5, generator=generator)
        self.a = nn.Parameter(start.to(matrix.device))
        self.b = nn.Parameter(torch.zeros(*stack, out, config.rank, device=matrix.device))

    def forward(self, x: Tensor, offsets: Tensor | None) -> Tensor:
        a, b = self.a.to(x.dtype), self.b.to(x.dtype)
        if offsets is None:
            return linear(linear(x, a), b) * self.scale
        return grouped_mm(grouped_mm(x, a.mT, offs=offsets), b.mT, offs=offsets) * self.scale

    def delta(self) -> Tensor:
        """What merging adds to the matrix, fp32."""
        return (self.b.detach().float() @ self.a.detach().float()) * self.scale


def adapted(adapters: nn.ModuleDict, name: str, x: Tensor, y: Tensor, offsets: Tensor | None = None) -> Tensor:
    """`y`, the product of `x` with the matrix `name`, plus the product with its adapter if it has one."""
    return y + adapters[name](x, offsets) if name in adapters else y


def add_adapters(model: nn.Module, config: LoraConfig, seed: int = 0) -> int:
    """Freeze the model and give the targeted matrices adapters; the number of parameters that are left to train."""
    if any(INFIX in name for name, _ in model.named_parameters()):
        raise BadInput("this model has adapters already; save it, which merges them, and adapt what was saved")
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for module in list(model.modules()):
        held = getattr(module, "adapters", None)
        if isinstance(held, nn.ModuleDict):
            for target in config.targets:
                if (matrix := _matrix(module, target)) is not None:
                    held[target] = LowRank(matrix, config, generator)
    return sum(p.numel() for p in trainable(model).values())


def _matrix(module: nn.Module, target: str) -> Tensor | None:
    """The matrix (or stack) that `target` names in a layer; query, key and value in one."""
    if target == "qkv":
        parts = [getattr(module, f"{name}_proj", None) for name in "qkv"]
        return torch.cat([part.weight for part in parts if part is not None]) if all(parts) else None
    found = getattr(module, target, None)
    return found.weight if isinstance(found, nn.Linear) else found


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training moves, by name: all of them, or with adapters only those."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def merged(model: nn.Module) -> dict[str, Tensor]:
    """`state_dict()` as if adapters had been trained into the matrices; the model itself is left as it is."""
    state = model.state_dict()
    plain = {name: tensor for name, tensor in state.items() if INFIX not in name}
    for path, module in model.named_modules():
        if not isinstance(module, LowRank):
            continue
        layer, _, target = path.rpartition(INFIX)
        names = [f"{layer}.{n}_proj.weight" for n in "qkv"] if target == "qkv" else [f"{layer}.{target}"]
        names = [name if name in plain else f"{name}.weight" for name in names]
        deltas = module.delta().split([plain[name].shape[-2] for name in names], dim=-2)
        for name, delta in zip(names, deltas, strict=True):
            plain[name] = (plain[name].float() + delta).to(plain[name].dtype)
    return plain
