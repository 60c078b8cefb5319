"""Load balancing of experts without an auxiliary loss (Wang et al., arXiv 2408.15664).

After every step the selection bias of an expert moves up when it got fewer tokens than the mean over the global
batch and down when it got more.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vivace.model.decoder import Decoder
from vivace.model.moe import SparseMLP


@torch.no_grad()
def update_router_bias(model: Decoder, counts_LE: Tensor, rate: float) -> None:
    """Move every sparse layer's bias by `rate` towards even load; the mean of the moves is removed."""
    routers = [block.mlp for block in model.layers if isinstance(block.mlp, SparseMLP)]
    for mlp, counts_E in zip(routers, counts_LE.float(), strict=True):
        if mlp.e_score_correction_bias is not None:  # a softmax router has none
            move = torch.sign(counts_E.mean() - counts_E)
            mlp.e_score_correction_bias.add_(move - move.mean(), alpha=rate)


def load_metrics(counts_LE: Tensor) -> dict[str, float]:
    """`load_max_over_mean` of the worst layer (1 is even) and the number of experts that got nothing."""
    if not counts_LE.numel():
        return {}
    counts = counts_LE.float()
    ratio = counts.amax(1) / counts.mean(1).clamp(min=1e-9)
    return {"load_max_over_mean": round(float(ratio.max()), 3), "experts_idle": int((counts_LE == 0).sum())}
