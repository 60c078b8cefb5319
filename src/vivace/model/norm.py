"""Root-mean-square normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vivace.model.functional import rms_norm


class RMSNorm(nn.Module):
    """Scale to unit root mean square, then by a learnt weight."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)
