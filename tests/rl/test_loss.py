"""The loss against hand numbers, against autograd of the written formula, and under splitting."""

import math

import pytest
import torch

from vivace.rl.config import LossConfig
from vivace.rl.loss import policy_loss

CONFIG = LossConfig(cap=5.0, band=(0.5, 5.0))


def test_three_tokens_by_hand() -> None:
    behaviour = torch.log(torch.tensor([[0.5, 0.2, 0.4]]))
    # ratios 0.5, 4 and 0.25; the last is outside the band
    current = torch.log(torch.tensor([[0.25, 0.8, 0.1]])).requires_grad_()
    advantages = torch.full((1, 3), 2.0)
    weights = torch.full((1, 3), 1 / 3)
    loss, stats = policy_loss(current, behaviour, advantages, weights, CONFIG)
    expected = -(0.5 * 2 / 3 * math.log(0.25) + 4 * 2 / 3 * math.log(0.8))
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    assert current.grad is not None
    assert current.grad.tolist()[0] == pytest.approx([-0.5 * 2 / 3, -4 * 2 / 3, 0.0], rel=1e-6)
    assert (stats["tokens"], stats["kept"]) == (3, 2)
    assert stats["kl"] == pytest.approx(math.log(2) - math.log(4) + math.log(4), rel=1e-5)
    assert stats["abs_kl"] == pytest.approx(math.log(2) + math.log(4) + math.log(4), rel=1e-5)
    assert stats["entropy"] == pytest.approx(-(0.5 * math.log(0.25) + 4 * math.log(0.8)), rel=1e-5)


def test_cap_below_the_band() -> None:
    behaviour, current = torch.zeros(1, 1), torch.full((1, 1), math.log(4.0), requires_grad=True)
    loss, _ = policy_loss(current, behaviour, torch.ones(1, 1), torch.ones(1, 1), LossConfig(cap=2.0))
    loss.backward()
    assert current.grad is not None
    assert current.grad.item() == pytest.approx(-2.0)  # the weight is capped, the gradient is not cut off


def test_gradient_is_autograd_of_the_formula() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 7, 11, dtype=torch.float32, requires_grad=True)
    ids = torch.randint(0, 11, (4, 7))
    drifted = logits.detach() + 0.5 * torch.randn(4, 7, 11)
    behaviour = torch.log_softmax(drifted, -1).gather(-1, ids[..., None])[..., 0]
    advantages = torch.randn(4, 1).expand(4, 7)
    weights = (torch.rand(4, 7) < 0.6).float() * torch.rand(4, 1)

    logprobs = torch.log_softmax(logits, -1).gather(-1, ids[..., None])[..., 0]
    loss, _ = policy_loss(logprobs, behaviour, advantages, weights, CONFIG)
    (ours,) = torch.autograd.grad(loss, logits)

    total = torch.zeros(())
    log_p = torch.log_softmax(logits, -1)
    for i in range(4):
        for t in range(7):
            lp = log_p[i, t, ids[i, t]]
            r = float((lp.detach() - behaviour[i, t]).exp())
            if weights[i, t] > 0 and 0.5 <= r <= 5:
                total = total - min(r, 5.0) * advantages[i, t] * lp * weights[i, t]
    (written,) = torch.autograd.grad(total, logits)
    assert loss.item() == pytest.approx(total.item(), rel=1e-5)
    assert torch.allclose(ours, written, atol=1e-6)


def test_on_policy_it_is_reinforce() -> None:
    logprobs = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    three, half = torch.full((1, 2), 3.0), torch.full((1, 2), 0.5)
    loss, stats = policy_loss(logprobs, logprobs.detach(), three, half, CONFIG)
    (gradient,) = torch.autograd.grad(loss, logprobs)
    assert gradient.tolist() == [[-1.5, -1.5]]
    assert stats["kl"] == 0


def test_sum_over_any_split_is_the_same() -> None:
    torch.manual_seed(1)
    current, behaviour = -torch.rand(6, 5), -torch.rand(6, 5)
    advantages, weights = torch.randn(6, 1).expand(6, 5), torch.rand(6, 5)
    whole, _ = policy_loss(current, behaviour, advantages, weights, CONFIG)
    parts = [policy_loss(current[a:b], behaviour[a:b], advantages[a:b], weights[a:b], CONFIG)[0]
             for a, b in ((0, 1), (1, 4), (4, 6))]
    assert whole.item() == pytest.approx(sum(part.item() for part in parts), rel=1e-6)


def test_foreign_rollouts_and_bad_numbers_are_left_out() -> None:
    current = torch.tensor([[-1.0, -1.0], [-1.0, -1.0], [-1.0, float("-inf")]], requires_grad=True)
    behaviour = torch.tensor([[-1.0, -1.0], [-1.0, -15.0], [-1.0, 0.0]])
    weights = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    loss, stats = policy_loss(current, behaviour, torch.ones(3, 2), weights, CONFIG)
    (gradient,) = torch.autograd.grad(loss, current)
    assert gradient.tolist() == [[-1.0, -1.0], [0.0, 0.0], [-1.0, 0.0]]
    assert torch.isfinite(loss)
    assert stats["kept"] == 3
