"""Log probabilities of rollouts that start alike, with forward and backward of the common start done once.

Keys and values of the start are kept in the autograd graph, so gradients flow through it as if every row had carried
its own copy: same numbers, at a fraction of the work.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vivace.model.config import ModelConfig
from vivace.model.decoder import Decoder
from vivace.model.head import token_logprobs
from vivace.rl.batch import MicroBatch


class PrefixCache:
    """A `model.attention.KVCache`: a layer's first call stores the prompt, its second puts it before the rows."""

    def __init__(self, config: ModelConfig, prefix: int) -> None:
        self.config, self.prefix = config, prefix
        self.stored: dict[int, tuple[Tensor, Tensor]] = {}
        self.masks: dict[tuple[int, int, bool], Tensor] = {}

    def update(self, layer: int, k_BKTd: Tensor, v_BKTd: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        sliding = self.config.layer_types[layer] == "sliding_attention"
        rows, new = k_BKTd.shape[0], k_BKTd.shape[2]
        if layer not in self.stored:
            self.stored[layer] = (k_BKTd, v_BKTd)
            return k_BKTd, v_BKTd, self._mask(new, 0, sliding).to(k_BKTd.device)
        keep = min(self.prefix, self.config.sliding_window - 1) if sliding else self.prefix
        keys, values = (t[:, :, self.prefix - keep :].expand(rows, -1, -1, -1) for t in self.stored[layer])
        mask = self._mask(new, keep, sliding).to(k_BKTd.device)
        return torch.cat([keys, k_BKTd], dim=2), torch.cat([values, v_BKTd], dim=2), mask

    def _mask(self, new: int, before: int, sliding: bool) -> Tensor:
        """(new, before + new) booleans: causal, and within the window where there is one."""
        key = (new, before, sliding)
        if key not in self.masks:
            query = torch.arange(before, before + new)[:, None]
            seen = torch.arange(before + new)[None]
            mask = seen <= query
            self.masks[key] = mask & (seen > query - self.config.sliding_window) if sliding else mask
        return self.masks[key]


def rollout_logprobs(model: Decoder, batch: MicroBatch, temperature: float = 1.0) -> Tensor:
    """log p of every sampled token at `temperature`, (B, P + T - 1) fp32; 0 where no row has a weight."""
    prefix, (rows, width) = len(batch.prefix_P), batch.ids_BT.shape
    inputs, targets = batch.ids_BT[:, :-1], batch.ids_BT[:, 1:]
    own = batch.weights[:, prefix:] > 0
    if not prefix:
        return _scattered(model, model.hidden(inputs), targets, own, temperature)
    cache = PrefixCache(model.config, prefix)
    places = torch.arange(prefix + width - 1, device=inputs.device)
    x_1PD = model.hidden(batch.prefix_P[None], places[None, :prefix], cache)
    after = torch.cat([batch.prefix_P[1:], batch.ids_BT[0, :1]])[None]
    sampled = (batch.weights[:, :prefix] > 0).any(0, keepdim=True)
    common = _scattered(model, x_1PD, after, sampled, temperature)
    if width == 1:  # the rows are all alike
        return common.expand(rows, -1)
    x_BTD = model.hidden(inputs, places[prefix:].expand(rows, -1), cache)
    return torch.cat([common.expand(rows, -1), _scattered(model, x_BTD, targets, own, temperature)], dim=1)


def _scattered(model: Decoder, x_BTD: Tensor, targets: Tensor, sampled: Tensor, temperature: float) -> Tensor:
    """(B, T): log p of the targets where `sampled`, else 0. Logits are made for those positions only."""
    found = token_logprobs(x_BTD[sampled] / temperature, model.head_weight, targets[sampled])
    return torch.zeros(targets.shape, device=x_BTD.device).masked_scatter(sampled, found)
