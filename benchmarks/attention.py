"""Causal attention in training, forward and backward, on one CPU core: our blocks beside torch's fused kernel.

Shapes of the nano preset (4 query heads, 2 key-value heads, head_dim 64), about 1,500 tokens a call; milliseconds,
alternating, medians.

    python benchmarks/attention.py [--repeats 9] [--json rows.json]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from rows import Row, finish, paired, parser
from vivace.model.attention import sliding_attention
from vivace.model.block_attention import block_attention
from vivace.train.workers import keep_freed_memory

HEADS, KV_HEADS, SIZE, WINDOW = 4, 2, 64, 512
SHAPES = ((12, 128), (6, 256), (3, 512), (2, 768), (1, 2048))  # batch, tokens


def inputs(batch: int, length: int) -> list[Tensor]:
    """q, k, v as the projections leave them: heads beside each other in memory."""
    return [torch.randn(batch, length, heads, SIZE).transpose(1, 2).requires_grad_()
            for heads in (HEADS, KV_HEADS, KV_HEADS)]


def milliseconds(attend: Callable[..., Tensor], qkv: list[Tensor], grad: Tensor) -> float:
    start = time.perf_counter()
    torch.autograd.grad(attend(*qkv), qkv, grad)
    return 1000 * (time.perf_counter() - start)


def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


def windowed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return block_attention(q, k, v, WINDOW)


def fused_windowed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return sliding_attention(q, k, v, WINDOW)


def measure(repeats: int) -> list[Row]:
    rows = []
    for batch, length in SHAPES:
        kinds = [("global", block_attention, fused)]
        if length > WINDOW:
            kinds.append((f"window {WINDOW}", windowed, fused_windowed))
        for kind, ours, peer in kinds:
            qkv, grad = inputs(batch, length), torch.randn(batch, HEADS, length, SIZE)
            rows.append(paired(f"{kind}, {batch} x {length} tokens", "ms", partial(milliseconds, ours, qkv, grad),
                               partial(milliseconds, peer, qkv, grad), "torch fused SDPA", repeats))  # fmt: skip
    return rows


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--repeats", type=int, default=9)
    options = options_of.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    keep_freed_memory()
    finish(measure(options.repeats), options.json)


if __name__ == "__main__":
    main()
