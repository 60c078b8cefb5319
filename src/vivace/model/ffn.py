"""The dense feed-forward layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from vivace.model.config import ModelConfig
from vivace.model.functional import swiglu


class DenseMLP(nn.Module):
    """SwiGLU: x_BTD -> x_BTD. gate_up (2F, D) holds the gate's rows, then up's."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = nn.Parameter(torch.empty(2 * config.intermediate_size, config.hidden_size))
        self.down = nn.Parameter(torch.empty(config.hidden_size, config.intermediate_size))

    def forward(self, x_BTD: Tensor) -> Tensor:
        return linear(swiglu(linear(x_BTD, self.gate_up)), self.down)
