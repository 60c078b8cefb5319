"""One optimizer step from one step's groups: gradients of the policy loss, clipping, update."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from vivace.core.errors import InfraError
from vivace.model.decoder import Decoder
from vivace.model.lora import trainable
from vivace.rl.batch import MicroBatch, group_rows, micro_batches
from vivace.rl.config import RLConfig
from vivace.rl.loss import policy_loss
from vivace.rl.prefix import rollout_logprobs
from vivace.rl.rollout import Scored
from vivace.train.muon import MuonAdamW
from vivace.train.workers import Workers

MUON_OTHERS = 0.2  # learning rate of embeddings, router and norms relative to the matrices', as in pretraining


class Optimizer(Protocol):
    """`step` applies gradients at `factor` times the configured learning rate."""

    def step(self, grads: dict[str, Tensor], factor: float) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, saved: dict[str, Any]) -> None: ...


class AdamW:
    """torch's AdamW over all parameters, driven by explicit gradients."""

    def __init__(self, model: Decoder, config: RLConfig) -> None:
        self.parameters = trainable(model)
        self.lr = config.lr
        self.inner = torch.optim.AdamW(
            self.parameters.values(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
        )

    def step(self, grads: dict[str, Tensor], factor: float) -> None:
        for name, parameter in self.parameters.items():
            parameter.grad = grads[name]
        for group in self.inner.param_groups:
            group["lr"] = self.lr * factor
        self.inner.step()
        self.inner.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.inner.load_state_dict(saved)


def make_optimizer(model: Decoder, config: RLConfig) -> Optimizer:
    """AdamW, or pretraining's Muon with `lr` for matrices and a fifth of it for everything else."""
    if config.optimizer == "adamw":
        return AdamW(model, config)
    other = config.lr * MUON_OTHERS
    return MuonAdamW(model, muon_lr=config.lr, embedding_lr=other, router_lr=other, norm_lr=other,
                     weight_decay=config.weight_decay, momentum=config.betas[0], betas=config.betas)


def update(
    model: Decoder, optimizer: Optimizer, scored: Sequence[Scored], config: RLConfig, factor: float, workers: Workers
) -> dict[str, float]:
    """Train on the informative groups; returns the step's training metrics (means over sampled tokens).

    Micro-batches may run on several threads; their sum is taken in order, so it does not depend on timing.
    """
    used = [group for group in scored if group.informative]
    # A control gets no other signal: that an answer was taken back is one, whatever the coin says.
    price = None if config.reward == "random" else config.take_back_price
    batches = [
        batch
        for group in used
        for batch in micro_batches(group_rows(group.group.attempts, group.advantages, len(used), price),
                                   config.micro_tokens)
    ]
    if not batches:
        return {"groups_used": 0}
    loss, grads, sums = gradients(model, batches, config, workers)
    norm = float(torch.stack(torch._foreach_norm(grads)).norm())
    if not math.isfinite(loss) or not math.isfinite(norm):
        raise InfraError(f"loss {loss} or gradient norm {norm} is not finite; lower rl.lr and resume")
    if norm > config.grad_clip:
        torch._foreach_mul_(grads, config.grad_clip / norm)
    names = list(trainable(model))
    optimizer.step(dict(zip(names, grads, strict=True)), factor)
    tokens = max(sums["tokens"], 1.0)
    return {
        "groups_used": len(used), "loss": loss, "grad_norm": norm,
        "lr": config.lr * factor,
        "train_tokens": sums["tokens"], "masked_fraction": 1 - sums["kept"] / tokens,
        "entropy": sums["entropy"] / tokens, "kl_mismatch": sums["kl"] / tokens,
        "abs_mismatch": sums["abs_kl"] / tokens,
    }


def gradients(
    model: Decoder, batches: Sequence[MicroBatch], config: RLConfig, workers: Workers
) -> tuple[float, list[Tensor], Counter[str]]:
    """Loss, gradients by parameter order, and the loss's token sums, over all micro-batches."""
    parameters = list(trainable(model).values())
    device = model.head_weight.device

    def work(batch: MicroBatch) -> tuple[float, tuple[Tensor, ...], dict[str, float]]:
        batch = batch.to(device)
        logprobs = rollout_logprobs(model, batch, config.temperature)
        loss, sums = policy_loss(logprobs, batch.behaviour, batch.advantages, batch.weights, config.loss)
        return loss.item(), torch.autograd.grad(loss, parameters), sums

    total, grads, counts = 0.0, list[Tensor](), Counter[str]()
    for loss, more, sums in workers.run(work, batches):
        total += loss
        counts.update(sums)
        if grads:
            torch._foreach_add_(grads, more)
        else:
            grads = list(more)
    return total, grads, counts
