"""Grouped-query attention; the family says whether heads are normed, projections biased, full layers rotated.

Incremental decoding. `Attention` knows nothing of how keys and values are stored. When a cache is passed, it calls

    k_BKSd, v_BKSd, mask = cache.update(layer, k_BKTd, v_BKTd)

once per layer with the T new keys and values of each of the B sequences (keys already normed and rotated), and
attends from the T queries to whatever comes back:

- S may differ from T: it is everything the T queries may look at, padded to the longest sequence of the batch.
- `mask` is boolean, True = may attend, broadcastable to (B, 1, T, S). It carries causality, the sliding window
  (a query at position i sees keys at i - window < j <= i, itself included) and the padding of ragged batches.
  Every query needs at least one True (padding rows too: let them see themselves).
- `mask` None means that every query sees every returned key, e.g. one sequence, T = 1.

The cache learns sequence lengths from its owner, not from here; `positions_BT` given to the decoder must agree
with it. Layer numbers count all layers; `config.layer_types[layer]` says whether a window applies.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import linear, pad, scaled_dot_product_attention

from vivace.model.block_attention import block_attention
from vivace.model.config import ModelConfig
from vivace.model.functional import rotate
from vivace.model.lora import adapted
from vivace.model.norm import RMSNorm


class KVCache(Protocol):
    """Stores keys and values between calls; see the module docstring."""

    def update(self, layer: int, k_BKTd: Tensor, v_BKTd: Tensor) -> tuple[Tensor, Tensor, Tensor | None]: ...


class Attention(nn.Module):
    """x_BTD -> x_BTD."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.head_dim, self.window = layer, config.head_dim, config.sliding_window
        self.sliding, self.rotates = config.layer_types[layer] == "sliding_attention", config.rotates(layer)
        hidden, d, bias = config.hidden_size, config.head_dim, config.family.qkv_bias
        self.q_proj = nn.Linear(hidden, config.num_attention_heads * d, bias=bias)
        self.k_proj = nn.Linear(hidden, config.num_key_value_heads * d, bias=bias)
        self.v_proj = nn.Linear(hidden, config.num_key_value_heads * d, bias=bias)
        self.o_proj = nn.Linear(config.num_attention_heads * d, hidden, bias=False)
        self.q_norm = RMSNorm(d, config.rms_norm_eps) if config.family.qk_norm else None
        self.k_norm = RMSNorm(d, config.rms_norm_eps) if config.family.qk_norm else None
        self.adapters = nn.ModuleDict()  # low-rank updates by matrix: `vivace.model.lora`

    def forward(self, x_BTD: Tensor, rope: tuple[Tensor, Tensor], cache: KVCache | None) -> Tensor:
        batch, length, _ = x_BTD.shape
        q_BTHd, k_BTKd, v_BTKd = self._project(x_BTD)
        if self.q_norm is not None and self.k_norm is not None:
            q_BTHd, k_BTKd = self.q_norm(q_BTHd), self.k_norm(k_BTKd)
        if self.rotates:
            q_BTHd, k_BTKd = rotate(q_BTHd, *rope), rotate(k_BTKd, *rope)
        q_BHTd, k_BKTd, v_BKTd = (t.transpose(1, 2) for t in (q_BTHd, k_BTKd, v_BTKd))
        if cache is not None:
            k_BKSd, v_BKSd, mask = cache.update(self.layer, k_BKTd, v_BKTd)
            out_BHTd = scaled_dot_product_attention(q_BHTd, k_BKSd, v_BKSd, attn_mask=mask, enable_gqa=True)
        else:
            out_BHTd = self.attend(q_BHTd, k_BKTd, v_BKTd)
        out_BTD = out_BHTd.transpose(1, 2).reshape(batch, length, -1)
        return adapted(self.adapters, "o_proj", out_BTD, self.o_proj(out_BTD))

    def _project(self, x_BTD: Tensor) -> list[Tensor]:
        """Queries (B, T, H, d), keys and values (B, T, K, d).

        One product instead of three narrow ones; copying the weights together costs next to nothing.
        """
        parts = (self.q_proj, self.k_proj, self.v_proj)
        weights: list[Tensor] = [part.weight for part in parts]
        biases: list[Tensor] = [part.bias for part in parts if part.bias is not None]
        qkv = linear(x_BTD, torch.cat(weights), torch.cat(biases) if biases else None)
        qkv = adapted(self.adapters, "qkv", x_BTD, qkv)
        return [t.unflatten(-1, (-1, self.head_dim)) for t in qkv.split([part.out_features for part in parts], dim=-1)]

    def attend(self, q_BHTd: Tensor, k_BKTd: Tensor, v_BKTd: Tensor) -> Tensor:
        """Causal attention of a whole sequence, or of its last T queries over all its keys."""
        window = self.window if self.sliding else None
        queries, keys = q_BHTd.shape[2], k_BKTd.shape[2]
        if q_BHTd.device.type == "cpu":
            return block_attention(q_BHTd, k_BKTd, v_BKTd, window)
        if window is not None and queries == keys > window:
            return sliding_attention(q_BHTd, k_BKTd, v_BKTd, window)
        if queries == keys and (window is None or keys <= window):
            return scaled_dot_product_attention(q_BHTd, k_BKTd, v_BKTd, is_causal=True, enable_gqa=True)
        if window is None:
            last = causal_lower_right(queries, keys)
            return scaled_dot_product_attention(q_BHTd, k_BKTd, v_BKTd, attn_mask=last, enable_gqa=True)
        before = keys - queries  # queries that are not there cost little: at most a window of them
        q_BHSd = pad(q_BHTd, (0, 0, before, 0))
        return sliding_attention(q_BHSd, k_BKTd, v_BKTd, window)[:, :, before:]


def sliding_attention(q_BHTd: Tensor, k_BKTd: Tensor, v_BKTd: Tensor, window: int) -> Tensor:
    """Causal attention over the last `window` keys, for T > window: cost T * 2 window instead of T * T.

    Time is cut into blocks of one window; a block of queries sees its own keys and the block before.
    """
    length = q_BHTd.shape[2]
    extra = -length % window
    q, k, v = (pad(t, (0, 0, 0, extra)).unflatten(2, (-1, window)) for t in (q_BHTd, k_BKTd, v_BKTd))
    first = scaled_dot_product_attention(q[:, :, 0], k[:, :, 0], v[:, :, 0], is_causal=True, enable_gqa=True)
    queries = q[:, :, 1:].transpose(1, 2)  # (B, blocks - 1, H, W, d)
    keys, values = (torch.cat([t[:, :, :-1], t[:, :, 1:]], dim=3).transpose(1, 2) for t in (k, v))
    i = torch.arange(window, device=q.device)[:, None]
    j = torch.arange(2 * window, device=q.device)[None]
    mask = (j > i) & (j <= i + window)
    rest = scaled_dot_product_attention(
        queries.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1), attn_mask=mask, enable_gqa=True
    )
    rest_BHTd = rest.unflatten(0, (q.shape[0], -1)).transpose(1, 2).flatten(2, 3)
    return torch.cat([first, rest_BHTd], dim=2)[:, :, :length]
