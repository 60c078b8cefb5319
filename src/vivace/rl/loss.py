"""The policy loss: two policies, CISPO's cap, IcePop's band, mean over a prompt's tokens, then over prompts.

With mu the policy as it sampled, pi the one being trained, r = exp(log pi - log mu), sg = stop-gradient:

    loss = sum_{i,t}  -sg(min(r, cap)) * 1[low <= r <= high] * A_i * log pi_{i,t} * weight_{i,t}
    weight_{i,t} = mask_{i,t} / (P * N_q)

N_q counts the sampled tokens of the prompt's valid rollouts, P the prompts used. The weights hold the global
denominators, so the loss is a plain sum: splitting it over micro-batches or ranks changes nothing. A row with
any ratio outside `reject` is left out whole: its logprobs cannot be of this policy.

Sources: CISPO (MiniMax-M1, arXiv 2506.13585), IcePop (Ling team, 2025), prompt mean (ScaleRL, arXiv
2510.13786).
"""

from __future__ import annotations

import torch
from torch import Tensor

from vivace.rl.config import LossConfig

MAX_LOG_RATIO = 20.0


def policy_loss(
    logprobs: Tensor, behaviour: Tensor, advantages: Tensor, weights: Tensor, config: LossConfig
) -> tuple[Tensor, dict[str, float]]:
    """The sum above. All arguments are (B, T) in fp32; a weight of 0 marks what was not sampled.

    Also returns sums over sampled tokens, to be added up over micro-batches: `tokens`, `kept` (inside the
    band), `kl` (log mu - log pi), `abs_kl` and `entropy` (-r log pi, whose mean over mu estimates the entropy
    of pi).
    """
    sampled = weights > 0
    difference = torch.where(sampled, logprobs - behaviour, 0.0).detach()
    ratio = difference.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    sane = ((ratio >= config.reject[0]) & (ratio <= config.reject[1])).all(dim=-1, keepdim=True)
    keep = sampled & sane & (ratio >= config.band[0]) & (ratio <= config.band[1])
    coefficient = torch.where(keep, ratio.clamp(max=config.cap) * advantages * weights, 0.0)
    safe = torch.where(keep, logprobs, 0.0)
    return -(coefficient * safe).sum(), {
        "tokens": float(sampled.sum()),
        "kept": float(keep.sum()),
        "kl": float(-difference.sum()),
        "abs_kl": float(difference.abs().sum()),
        "entropy": float(-(ratio * safe.detach()).sum()),
    }
