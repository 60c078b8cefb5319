"""The dense feed-forward layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from vivace.model.config import ModelConfig
from vivace.model.functional import swiglu
from vivace.model.lora import adapted


class DenseMLP(nn.Module):
    """SwiGLU: x_BTD -> x_BTD. gate_up (2F, D) holds the gate's rows, then up's."""

    def __init__(self, config: ModelConfig, width: int | None = None) -> None:
        super().__init__()
        width = config.intermediate_size if width is None else width
        self.gate_up = nn.Parameter(torch.empty(2 * width, config.hidden_size))
        self.down = nn.Parameter(torch.empty(config.hidden_size, width))
        self.adapters = nn.ModuleDict()  # low-rank updates by matrix: `vivace.model.lora`

    def forward(self, x_BTD: Tensor) -> Tensor:
        hidden_BTF = swiglu(adapted(self.adapters, "gate_up", x_BTD, linear(x_BTD, self.gate_up)))
        return adapted(self.adapters, "down", hidden_BTF, linear(hidden_BTF, self.down))
