"""Blocks of queries give what plain attention gives, values and gradients, at every awkward length and window."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vivace.model import block_attention as module
from vivace.model.block_attention import block_attention


def plain(q_BHTd: Tensor, k_BKTd: Tensor, v_BKTd: Tensor, window: int | None) -> Tensor:
    """The definition, with the whole matrix of scores."""
    groups, length = q_BHTd.shape[1] // k_BKTd.shape[1], q_BHTd.shape[2]
    k, v = (t.repeat_interleave(groups, dim=1) for t in (k_BKTd, v_BKTd))
    i, j = torch.arange(length)[:, None], torch.arange(length)[None]
    hidden = (j > i) | (j <= i - (window or length))
    scores = (q_BHTd @ k.mT) * q_BHTd.shape[-1] ** -0.5
    return scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v


@pytest.mark.parametrize("keep", [4096, 0])
@pytest.mark.parametrize(("length", "window"), [(1, None), (64, None), (65, None), (200, None), (200, 1), (200, 50),
                                                (200, 64), (193, 100), (130, 128), (130, 500)])  # fmt: skip
def test_values_and_gradients(monkeypatch: pytest.MonkeyPatch, length: int, window: int | None, keep: int) -> None:
    monkeypatch.setattr(module, "KEEP", keep)
    torch.manual_seed(length)
    qkv = [torch.randn(2, length, heads, 8, dtype=torch.float64).transpose(1, 2).requires_grad_()
           for heads in (4, 2, 2)]  # fmt: skip
    grad = torch.randn(2, 4, length, 8, dtype=torch.float64)
    ours, theirs = block_attention(*qkv, window), plain(*qkv, window)
    torch.testing.assert_close(ours, theirs)
    pairs = zip(torch.autograd.grad(ours, qkv, grad), torch.autograd.grad(theirs, qkv, grad), strict=True)
    for mine, other in pairs:
        torch.testing.assert_close(mine, other)


def test_without_gradient_nothing_is_kept() -> None:
    q, k, v = torch.randn(1, 2, 100, 8), torch.randn(1, 1, 100, 8), torch.randn(1, 1, 100, 8)
    with torch.no_grad():
        torch.testing.assert_close(block_attention(q, k, v, 30), plain(q, k, v, 30))


@pytest.mark.parametrize(("queries", "window"), [(1, None), (70, None), (70, 40), (130, 90), (199, 64)])
def test_the_last_queries_over_all_keys(queries: int, window: int | None) -> None:
    torch.manual_seed(queries)
    q, k, v = (torch.randn(2, heads, 200, 8, dtype=torch.float64, requires_grad=True) for heads in (4, 2, 2))
    whole, part = plain(q, k, v, window)[:, :, -queries:], block_attention(q[:, :, -queries:], k, v, window)
    torch.testing.assert_close(part, whole)
    grad = torch.randn_like(whole)
    for mine, other in zip(torch.autograd.grad(part, (q, k, v), grad), torch.autograd.grad(whole, (q, k, v), grad),
                           strict=True):  # fmt: skip
        torch.testing.assert_close(mine, other)
