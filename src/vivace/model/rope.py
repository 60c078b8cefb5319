"""Rotary position embedding in the half-rotation layout of transformers (Su et al., arXiv 2104.09864)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vivace.core.errors import BadInput


class RotaryTable(nn.Module):
    """cos and sin for every position below `max_positions`, in fp32. Not part of a checkpoint."""

    cos: Tensor
    sin: Tensor

    def __init__(self, head_dim: int, max_positions: int, theta: float) -> None:
        super().__init__()
        self.head_dim, self.max_positions, self.theta = head_dim, max_positions, theta
        cos, sin = self._angles()
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def _angles(self) -> tuple[Tensor, Tensor]:
        frequency = self.theta ** (-torch.arange(0, self.head_dim, 2, dtype=torch.float32) / self.head_dim)
        angle = torch.arange(self.max_positions, dtype=torch.float32)[:, None] * frequency
        return angle.cos(), angle.sin()

    def forward(self, length: int, positions_BT: Tensor | None) -> tuple[Tensor, Tensor]:
        """cos, sin shaped (B or 1, T, 1, d/2), to broadcast over heads of x_BTHd."""
        if positions_BT is None:
            return self.cos[None, :length, None], self.sin[None, :length, None]
        try:
            return self.cos[positions_BT].unsqueeze(2), self.sin[positions_BT].unsqueeze(2)
        except IndexError as error:
            raise BadInput(f"a position lies beyond this model's context of {self.max_positions}") from error
