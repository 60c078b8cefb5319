"""Hand-written gradients against autograd's, on the plain formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, scaled_dot_product_attention, silu

from vivace.model import head
from vivace.model.attention import sliding_attention
from vivace.model.functional import combine, dispatch, rms_norm, rotate, swiglu
from vivace.model.rope import RotaryTable


def assert_same(ours: Callable[..., Tensor], plain: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Equal outputs, and equal gradients under a random cotangent."""
    results = []
    for function in (ours, plain):
        leaves = [x.clone().requires_grad_() for x in inputs]
        out = function(*leaves)
        cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(5))
        results.append((out, *torch.autograd.grad(out, leaves, cotangent)))
    for mine, reference in zip(*results, strict=True):
        torch.testing.assert_close(mine, reference, atol=1e-5, rtol=1e-4)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_rms_norm() -> None:
    assert_same(
        lambda x, w: rms_norm(x, w, 1e-5), lambda x, w: x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * w,
        normal(3, 5, 16), normal(16, seed=1),
    )


def test_rotation_turns_halves_and_keeps_norms() -> None:
    table = RotaryTable(8, 32, 10_000.0)
    cos, sin = table(7, None)

    def plain(x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a, b], -1) * torch.cat([cos, cos], -1) + torch.cat([-b, a], -1) * torch.cat([sin, sin], -1)

    x = normal(2, 7, 3, 8)
    assert_same(lambda x: rotate(x, cos, sin), plain, x)
    torch.testing.assert_close(rotate(x, cos, sin).norm(dim=-1), x.norm(dim=-1))
    positions = torch.arange(7).flip(0).expand(2, 7)
    torch.testing.assert_close(rotate(x, *table(7, positions)).flip(1), rotate(x.flip(1), cos, sin))


def test_swiglu() -> None:
    assert_same(swiglu, lambda x: silu(x[..., :6]) * x[..., 6:], normal(4, 12) * 3)


def test_dispatch_and_combine_are_each_others_transpose() -> None:
    chosen = torch.tensor([[2, 0], [1, 2], [0, 1], [2, 1]])
    order = chosen.flatten().argsort(stable=True)
    slot = torch.empty_like(order).scatter_(0, order, torch.arange(8)).view(4, 2)
    assert_same(lambda x: dispatch(x, order, slot), lambda x: x.repeat_interleave(2, 0)[order], normal(4, 3))
    assert_same(lambda y: combine(y, order, slot), lambda y: y[slot].sum(1), normal(8, 3))


@pytest.mark.parametrize("length", [17, 24, 31])
def test_blocked_sliding_window_equals_the_full_mask(length: int) -> None:
    window = 8
    i, j = torch.arange(length)[:, None], torch.arange(length)[None]
    mask = (j <= i) & (i - j < window)
    assert_same(
        lambda q, k, v: sliding_attention(q, k, v, window),
        lambda q, k, v: scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True),
        normal(2, 4, length, 8), normal(2, 2, length, 8, seed=1), normal(2, 2, length, 8, seed=2),
    )


def test_weighted_cross_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "CHUNK_ELEMENTS", 3 * 11)  # several chunks, the last one short
    targets = torch.tensor([3, 0, 10, 5, 5, 1, 2])
    weights = torch.tensor([1.0, 0.0, 0.5, -2.0, 0.0, 1.0, 3.0])
    assert_same(
        lambda x, w: head.weighted_cross_entropy(x, w, targets, weights),
        lambda x, w: (cross_entropy(x @ w.T, targets, reduction="none") * weights).sum(),
        normal(7, 6), normal(11, 6, seed=1),
    )
    assert head.weighted_cross_entropy(normal(7, 6), normal(11, 6), targets, torch.zeros(7)) == 0


def test_token_logprobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "CHUNK_ELEMENTS", 2 * 11)
    targets = torch.tensor([3, 0, 10, 5, 1])
    assert_same(
        lambda x, w: head.token_logprobs(x, w, targets),
        lambda x, w: log_softmax(x @ w.T, -1).gather(1, targets[:, None]).squeeze(1),
        normal(5, 6), normal(11, 6, seed=1),
    )
