"""Token losses from hidden states without ever holding all the logits.

Both functions walk over the tokens in chunks whose logits fit in a cache. Logits and softmax are fp32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

CHUNK_ELEMENTS = 1 << 20  # of logits held at a time: 4 MB in fp32


def _chunks(tokens: int, vocab: int) -> list[slice]:
    size = max(1, CHUNK_ELEMENTS // vocab)
    return [slice(start, min(start + size, tokens)) for start in range(0, tokens, size)]


def _logprob(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, log-normaliser and target log probability of one chunk."""
    logits_NV = (x_ND @ weight_VD.T).float()
    lse_N = logits_NV.logsumexp(-1)
    return logits_NV, lse_N, logits_NV.gather(1, targets_N[:, None]).squeeze(1) - lse_N


def _logit_grad(logits_NV: Tensor, lse_N: Tensor, targets_N: Tensor, scale_N: Tensor) -> Tensor:
    """Gradient of sum(scale * -logprob) in the logits: (softmax - onehot) * scale. Overwrites the logits."""
    grad = logits_NV.sub_(lse_N[:, None]).exp_().mul_(scale_N[:, None])
    return grad.scatter_add_(1, targets_N[:, None], -scale_N[:, None])


class _WeightedCrossEntropy(Function):
    """The weights are known in the forward pass, so the gradient is computed there: three products, not four."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, weights_N: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=x_ND.device)
        grad_x = torch.empty_like(x_ND) if any(ctx.needs_input_grad[:2]) else None
        grad_w = torch.zeros_like(weight_VD) if ctx.needs_input_grad[1] else None
        for part in _chunks(len(x_ND), len(weight_VD)):
            x, targets, scale = x_ND[part], targets_N[part], weights_N[part]
            logits, lse, logprob = _logprob(x, weight_VD, targets)
            total -= (logprob * scale).sum()
            if grad_x is not None:
                grad = _logit_grad(logits, lse, targets, scale).to(x.dtype)
                torch.mm(grad, weight_VD, out=grad_x[part])
                if grad_w is not None:
                    grad_w.addmm_(grad.T, x)
        ctx.save_for_backward(grad_x, grad_w)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        grad_x, grad_w = ctx.saved_tensors
        scale = grads[0].to(grad_x.dtype)
        return grad_x * scale, None if grad_w is None else grad_w * scale, None, None


def weighted_cross_entropy(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, weights_N: Tensor) -> Tensor:
    """Sum over tokens of weight * cross entropy (nats), fp32 scalar. Tokens of weight 0 cost nothing."""
    keep = weights_N != 0
    if not bool(keep.all()):
        x_ND, targets_N, weights_N = x_ND[keep], targets_N[keep], weights_N[keep]
    return _WeightedCrossEntropy.apply(x_ND, weight_VD, targets_N, weights_N)


class _Logprobs(Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
        lse, out = torch.empty(len(x_ND), device=x_ND.device), torch.empty(len(x_ND), device=x_ND.device)
        for part in _chunks(len(x_ND), len(weight_VD)):
            _, lse[part], out[part] = _logprob(x_ND[part], weight_VD, targets_N[part])
        ctx.save_for_backward(x_ND, weight_VD, targets_N, lse)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x_ND, weight_VD, targets_N, lse_N = ctx.saved_tensors
        grad_x = torch.empty_like(x_ND)
        grad_w = torch.zeros_like(weight_VD) if ctx.needs_input_grad[1] else None  # a frozen head needs none
        for part in _chunks(len(x_ND), len(weight_VD)):
            x = x_ND[part]
            logits = (x @ weight_VD.T).float()
            grad = _logit_grad(logits, lse_N[part], targets_N[part], -grads[0][part].float()).to(x.dtype)
            torch.mm(grad, weight_VD, out=grad_x[part])
            if grad_w is not None:
                grad_w.addmm_(grad.T, x)
        return grad_x, grad_w, None


def token_logprobs(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
    """log p(target) per token (N,), fp32, with gradient; logits are recomputed in the backward pass."""
    return _Logprobs.apply(x_ND, weight_VD, targets_N)
