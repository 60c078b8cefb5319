"""Differentiable operations with hand-written gradients: fewer passes over memory than autograd's, on any device.

Shape suffixes here and in the rest of the package: B batch, T time, D hidden, H heads, K key-value heads, d head_dim,
F feed-forward width, E experts, k experts per token, N = B*T tokens, S keys, V vocabulary, L layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


class _RMSNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x32 = x.float()
        inv = torch.linalg.vector_norm(x32, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, inv)
        return (x32 * inv).to(x.dtype).mul_(weight.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, inv = ctx.saved_tensors
        normed = x.float() * inv
        grad = grads[0].float()
        product = grad * normed
        grad_weight = product.reshape(-1, x.shape[-1]).sum(0)
        dot = (product @ weight.float()).unsqueeze(-1).div_(x.shape[-1])
        grad_x = torch.addcmul(grad * weight, normed, dot, value=-1).mul_(inv)
        return grad_x.to(x.dtype), grad_weight.to(weight.dtype), None


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / rms(x) * weight over the last dimension, statistics in fp32 (Zhang & Sennrich, arXiv 1910.07467)."""
    return _RMSNorm.apply(x, weight, eps)


class _Rotate(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotate(x, cos, sin, 1.0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotate(grads[0], cos, sin, -1.0), None, None


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    left, right = out.chunk(2, dim=-1)
    torch.mul(a, cos, out=left).addcmul_(b, sin, value=-sign)
    torch.mul(b, cos, out=right).addcmul_(a, sin, value=sign)
    return out


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the two halves of the last dimension by an angle; `cos`, `sin` (..., d/2) broadcast against x (..., d)."""
    return _Rotate.apply(x, cos.to(x.dtype), sin.to(x.dtype))


class _SwiGLU(Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        sigma = torch.sigmoid(gate)
        silu = gate * sigma
        out = torch.empty_like(gate_up)
        grad_gate, grad_up = out.chunk(2, dim=-1)
        torch.mul(grads[0], silu, out=grad_up)
        # silu' = sigma + silu - silu * sigma
        torch.addcmul(silu.add(sigma), silu, sigma, value=-1, out=grad_gate)
        grad_gate.mul_(up).mul_(grads[0])
        return out


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up for gate_up (..., 2F) = [gate | up] (Shazeer, arXiv 2002.05202)."""
    return _SwiGLU.apply(gate_up)


def _gather_sum(rows: Tensor, index_Nk: Tensor) -> Tensor:
    """out[n] = sum over k of rows[index[n, k]], without building the (N, k, D) tensor."""
    return torch.nn.functional.embedding_bag(index_Nk, rows, mode="sum")


class _Dispatch(Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, order: Tensor, slot_Nk: Tensor) -> Tensor:
        ctx.save_for_backward(slot_Nk)
        return x_ND.index_select(0, order // slot_Nk.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _gather_sum(grads[0].contiguous(), ctx.saved_tensors[0]), None, None


class _Combine(Function):
    @staticmethod
    def forward(ctx: Any, y_MD: Tensor, order: Tensor, slot_Nk: Tensor) -> Tensor:
        ctx.save_for_backward(order)
        ctx.top_k = slot_Nk.shape[1]
        return _gather_sum(y_MD, slot_Nk)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0].index_select(0, ctx.saved_tensors[0] // ctx.top_k), None, None


def dispatch(x_ND: Tensor, order: Tensor, slot_Nk: Tensor) -> Tensor:
    """Copy every token to its k slots, grouped by expert: (N*k, D).

    `order` (N*k,) maps a slot to its (token, choice) pair, `slot_Nk` is its inverse. Gather both ways, so the
    gradient is deterministic where `index_add` would not be.
    """
    return _Dispatch.apply(x_ND, order, slot_Nk)


def combine(y_MD: Tensor, order: Tensor, slot_Nk: Tensor) -> Tensor:
    """Sum the k slots of every token: the transpose of `dispatch`."""
    return _Combine.apply(y_MD, order, slot_Nk)
