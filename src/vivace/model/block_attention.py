"""Causal attention on the CPU, a block of queries at a time, with a hand-written gradient.

Torch's fused CPU kernel reaches half of what its plain matrix products do; here every block is two products and a
softmax over just the keys it may see, so a sliding window costs T * window and memory grows with T, not T * T.
`benchmarks/attention.py` measures it against the fused kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

BLOCK = 64
KEEP = 4096
"""Up to this many tokens the probabilities are kept for the backward pass; beyond, they are computed again."""


class _Part(NamedTuple):
    """Queries [start, stop) look at keys [first, last); query i stands at the position of key i + last - stop."""

    start: int
    stop: int
    first: int
    last: int


def _parts(queries: int, keys: int, window: int) -> Iterator[_Part]:
    before = keys - queries
    for start in range(0, queries, BLOCK):
        stop = min(start + BLOCK, queries)
        yield _Part(start, stop, max(0, before + start - window + 1), before + stop)


def _fill_unseen(scores_XGQS: Tensor, part: _Part, window: int) -> None:
    """-inf where a query must not look: after itself, and before its window. Only the corners are touched."""
    queries = part.stop - part.start
    later = torch.ones(queries, queries, dtype=torch.bool).triu_(1)
    scores_XGQS[..., -queries:].masked_fill_(later, float("-inf"))
    before = part.last - window - part.first  # keys that the last query no longer sees
    if before > 0:
        i = torch.arange(part.last - queries, part.last)[:, None]
        j = torch.arange(part.first, part.first + before)[None]
        scores_XGQS[..., :before].masked_fill_(j <= i - window, float("-inf"))


def _probabilities(q_XGTd: Tensor, k_XTd: Tensor, part: _Part, window: int) -> Tensor:
    """Softmax of one block, (X, G*queries, keys). `q_XGTd` is scaled already."""
    scores = torch.bmm(_rows(q_XGTd, part), k_XTd[:, part.first : part.last].mT)
    _fill_unseen(scores.view(len(scores), q_XGTd.shape[1], part.stop - part.start, -1), part, window)
    return torch.softmax(scores, dim=-1)


def _rows(x_XGTd: Tensor, part: _Part) -> Tensor:
    """The block's queries (or what is shaped like them), groups folded into rows: (X, G*queries, d)."""
    return x_XGTd[:, :, part.start : part.stop].flatten(1, 2)


class _BlockAttention(Function):
    """X = batch * key-value heads, G = query heads to each."""

    @staticmethod
    def forward(ctx: Any, q_BHTd: Tensor, k_BKTd: Tensor, v_BKTd: Tensor, window: int) -> Tensor:
        length, size = q_BHTd.shape[2:]
        q = (q_BHTd * size**-0.5).unflatten(1, (k_BKTd.shape[1], -1)).flatten(0, 1)
        k, v = k_BKTd.flatten(0, 1).contiguous(), v_BKTd.flatten(0, 1).contiguous()
        out = torch.empty_like(q, memory_format=torch.contiguous_format)
        kept: list[Tensor] = []
        keep = k.shape[1] <= KEEP and any(ctx.needs_input_grad)
        for part in _parts(length, k.shape[1], window):
            p = _probabilities(q, k, part, window)
            block = out[:, :, part.start : part.stop]
            block.copy_(torch.bmm(p, v[:, part.first : part.last]).view(block.shape))
            if keep:
                kept.append(p)
        ctx.window = window
        ctx.save_for_backward(q, k, v, out, *kept)
        return out.view(q_BHTd.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, v, out, *kept = ctx.saved_tensors
        grad = grads[0].reshape(out.shape)
        grad_q, grad_k, grad_v = torch.empty_like(out), torch.zeros_like(k), torch.zeros_like(v)
        dot = (grad * out).sum(-1, keepdim=True)
        for number, part in enumerate(_parts(q.shape[2], k.shape[1], ctx.window)):
            seen = slice(part.first, part.last)
            p = kept[number] if kept else _probabilities(q, k, part, ctx.window)
            rows = _rows(grad, part)
            grad_v[:, seen] += torch.bmm(p.mT, rows)
            score = torch.bmm(rows, v[:, seen].mT).sub_(_rows(dot, part)).mul_(p)
            block = grad_q[:, :, part.start : part.stop]
            block.copy_(torch.bmm(score, k[:, seen]).view(block.shape))
            grad_k[:, seen] += torch.bmm(score.mT, _rows(q, part))
        shape = grads[0].shape
        grad_q, kv = grad_q.mul_(q.shape[-1] ** -0.5).view(shape), (shape[0], -1)
        return grad_q, grad_k.unflatten(0, kv), grad_v.unflatten(0, kv), None


def block_attention(q_BHTd: Tensor, k_BKTd: Tensor, v_BKTd: Tensor, window: int | None = None) -> Tensor:
    """Causal grouped-query attention (B, H, T, d) over the last `window` keys, itself included; None: over all.

    With more keys than queries, the queries are the last ones.
    """
    return _BlockAttention.apply(q_BHTd, k_BKTd, v_BKTd, window or k_BKTd.shape[2])
