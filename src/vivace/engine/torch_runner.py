"""A step in torch operations, on any device: pieces of many sequences, back to back, without padding.

Everything but attention treats the N tokens of a step alike; attention goes piece by piece, each over the positions
of its own blocks (its window of them in a sliding layer), so that no sequence pays for the length of another.

Shape suffixes: N tokens of the step, P pieces, D hidden, H heads, K key-value heads, d head_dim, V vocabulary,
T and S positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grouped_mm, linear, rms_norm, scaled_dot_product_attention, silu

from vivace.engine.blocks import BLOCK
from vivace.engine.cache import NEAR, PagedCache
from vivace.engine.runner import Piece, block_weights, hold, wanted_rows
from vivace.model.config import ModelConfig

FEW_TOKENS = 2  # up to here a product per chosen expert is quicker than grouping tokens by expert


class Layer(NamedTuple):
    """Weights of one block as the step wants them."""

    rotates: bool
    input_norm: Tensor
    qkv: Tensor  # ((H + 2K) * d, D)
    qkv_bias: Tensor | None
    qk_norm: Tensor | None  # (H + K, d)
    out: Tensor
    post_norm: Tensor
    gate_up: Tensor  # (2F, D), or (E, 2F, D) in a sparse layer
    down: Tensor
    router: Tensor | None
    bias: Tensor | None
    shared_gate_up: Tensor | None
    shared_down: Tensor | None


class Span(NamedTuple):
    """What a piece attends to in one kind of layer: `blocks` of the cache, of their positions (back to back) those from
    `first` to `last`; mask None: all of them."""

    blocks: Tensor
    first: int
    last: int
    mask: Tensor | None


class TorchRunner:
    """See `runner.Runner`."""

    name = "torch"

    def __init__(self, config: ModelConfig, state: Mapping[str, Tensor], cache: PagedCache) -> None:
        self.config, self.cache = config, cache
        self.device, self.dtype = cache.keys[0].device, cache.keys[0].dtype
        d, positions = config.head_dim, config.max_position_embeddings
        frequency = config.rope_theta ** (-torch.arange(0, d, 2, dtype=torch.float32) / d)
        angle = torch.arange(positions, dtype=torch.float32)[:, None] * frequency
        self.turn = torch.polar(torch.ones_like(angle), angle).to(self.device)  # (positions, d/2), complex
        self.load(state)

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        self.embed = self._copy(state["embed_tokens.weight"])
        self.head = self.embed if self.config.tie_word_embeddings else self._copy(state["lm_head.weight"])
        self.norm = self._copy(state["norm.weight"])
        self.layers = [self._layer(state, index) for index in range(self.config.num_hidden_layers)]

    def _copy(self, tensor: Tensor) -> Tensor:
        return tensor.detach().to(self.device, self.dtype, copy=True)

    def _layer(self, state: Mapping[str, Tensor], index: int) -> Layer:
        config, block = self.config, block_weights(state, index)
        heads, kv_heads, d = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        rotates = config.rotates(index)
        qkv, bias, qk_norm = torch.cat([block.q, block.k, block.v]), block.qkv_bias, None
        if block.q_norm is not None and block.k_norm is not None:
            qk_norm = torch.stack([block.q_norm] * heads + [block.k_norm] * kv_heads)
        if rotates:
            turned = (heads + kv_heads) * d
            qkv = torch.cat([_pair_up(qkv[:turned], d), qkv[turned:]])
            bias = None if bias is None else torch.cat([_pair_up(bias[:turned], d), bias[turned:]])
            qk_norm = None if qk_norm is None else _pair_up(qk_norm.flatten(), d).view(-1, d)
        copy = self._copy_if
        return Layer(
            rotates=rotates, input_norm=self._copy(block.input_norm), qkv=self._copy(qkv),
            qkv_bias=copy(bias), qk_norm=copy(qk_norm), out=self._copy(block.out),
            post_norm=self._copy(block.post_norm), gate_up=self._copy(block.gate_up), down=self._copy(block.down),
            router=None if block.router is None else self._copy(block.router).float(),
            bias=None if block.bias is None else self._copy(block.bias).float(),
            shared_gate_up=copy(block.shared_gate_up), shared_down=copy(block.shared_down),
        )  # fmt: skip

    def _copy_if(self, tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else self._copy(tensor)

    def step(self, pieces: Sequence[Piece], wanted: Sequence[int], tails: Sequence[int] = ()) -> Tensor:
        hold(self.cache, pieces)
        ids_N = torch.tensor([i for piece in pieces for i in piece.ids], device=self.device)
        slots = np.repeat([piece.slot for piece in pieces], [len(piece.ids) for piece in pieces])
        positions = np.concatenate([np.arange(piece.start, piece.start + len(piece.ids)) for piece in pieces])
        rows = {kind: self._rows(kind, slots, positions) for kind in set(self.cache.kinds)}
        turn_N1c = self.turn[torch.from_numpy(positions).to(self.device)].unsqueeze(1)
        spans = {kind: [self._span(piece, kind) for piece in pieces] for kind in set(self.cache.kinds)}
        eps, size = self.config.rms_norm_eps, (self.config.hidden_size,)

        x_ND = self.embed[ids_N]
        for index, layer in enumerate(self.layers):
            normed = rms_norm(x_ND, size, layer.input_norm, eps)
            kind = self.cache.kinds[index]
            attended = self._attention(index, layer, normed, pieces, spans[kind], rows[kind], turn_N1c)
            x_ND = x_ND + attended
            x_ND = x_ND + self._feed_forward(layer, rms_norm(x_ND, size, layer.post_norm, eps))
        rows_W = torch.tensor(wanted_rows(pieces, wanted, tails), dtype=torch.int64, device=self.device)
        return linear(rms_norm(x_ND[rows_W], size, self.norm, eps), self.head)

    def _rows(self, kind: int, slots: NDArray[np.int64], positions: NDArray[np.int64]) -> Tensor:
        """Where the keys of all tokens and heads go, in a store seen as rows of d: (N * K,)."""
        heads = np.arange(self.config.num_key_value_heads)
        blocks = self.cache.tables[kind][slots, positions // BLOCK].astype(np.int64)
        rows_NK = (blocks[:, None] * len(heads) + heads) * BLOCK + positions[:, None] % BLOCK
        return torch.from_numpy(rows_NK.reshape(-1)).to(self.device)

    def _span(self, piece: Piece, kind: int) -> Span:
        count, end = len(piece.ids), piece.start + len(piece.ids)
        window = self.cache.window if kind == NEAR else None
        low = 0 if window is None else max(0, piece.start - window + 1)
        first_block = low // BLOCK
        numbers = self.cache.tables[kind][piece.slot, first_block : -(-end // BLOCK)]
        blocks = torch.from_numpy(numbers.astype(np.int64)).to(self.device)
        first, last = low - first_block * BLOCK, end - first_block * BLOCK
        if count == 1:
            return Span(blocks, first, last, None)
        query_T1 = torch.arange(piece.start, end, device=self.device)[:, None]
        key_S = torch.arange(low, end, device=self.device)
        mask_TS = key_S <= query_T1
        return Span(blocks, first, last, mask_TS if window is None else mask_TS & (key_S > query_T1 - window))

    def _attention(
        self, index: int, layer: Layer, x_ND: Tensor, pieces: Sequence[Piece], spans: Sequence[Span], rows: Tensor,
        turn_N1c: Tensor,
    ) -> Tensor:
        heads, kv_heads, d = self.config.num_attention_heads, self.config.num_key_value_heads, self.config.head_dim
        qk, v = linear(x_ND, layer.qkv, layer.qkv_bias).split([(heads + kv_heads) * d, kv_heads * d], dim=-1)
        qk_NJd = qk.unflatten(-1, (-1, d))
        if layer.qk_norm is not None:
            qk_NJd = rms_norm(qk_NJd, (d,), eps=self.config.rms_norm_eps) * layer.qk_norm
        if layer.rotates:
            pairs = torch.view_as_complex(qk_NJd.float().unflatten(-1, (-1, 2)))
            qk_NJd = torch.view_as_real(pairs * turn_N1c).flatten(-2).to(x_ND.dtype)
        q_NHd, k_NKd = qk_NJd.split([heads, kv_heads], dim=1)
        keys, values = self.cache.keys[index], self.cache.values[index]
        keys.view(-1, d).index_copy_(0, rows, k_NKd.reshape(-1, d))
        values.view(-1, d).index_copy_(0, rows, v.reshape(-1, d))
        outs, row = [], 0
        for piece, (blocks, first, last, mask) in zip(pieces, spans):
            k_1KSd, v_1KSd = (store[blocks].transpose(0, 1).flatten(1, 2)[None, :, first:last]
                              for store in (keys, values))  # fmt: skip
            if mask is None:  # one query: heads that share keys stand in for time, and keys are read once
                q = q_NHd[row].view(1, kv_heads, -1, d)
                out = scaled_dot_product_attention(q, k_1KSd, v_1KSd).view(1, -1)
            else:
                q = q_NHd[row : row + len(piece.ids)].transpose(0, 1).unsqueeze(0)
                out = scaled_dot_product_attention(q, k_1KSd, v_1KSd, attn_mask=mask, enable_gqa=True)
                out = out.squeeze(0).transpose(0, 1).flatten(1)
            outs.append(out)
            row += len(piece.ids)
        return linear(torch.cat(outs), layer.out)

    def _feed_forward(self, layer: Layer, x_ND: Tensor) -> Tensor:
        if layer.router is None:
            return linear(_swiglu(linear(x_ND, layer.gate_up)), layer.down)
        y_ND = self._experts(layer, layer.router, x_ND)
        if layer.shared_gate_up is None or layer.shared_down is None:
            return y_ND
        return y_ND + linear(_swiglu(linear(x_ND, layer.shared_gate_up)), layer.shared_down)

    def _experts(self, layer: Layer, router: Tensor, x_ND: Tensor) -> Tensor:
        logits_NE = linear(x_ND.float(), router)
        scores_NE = logits_NE.softmax(-1) if self.config.family.softmax_router else logits_NE.sigmoid()
        chosen_Nk = (scores_NE if layer.bias is None else scores_NE + layer.bias).topk(
            self.config.num_experts_per_tok, dim=-1, sorted=False
        ).indices
        gates_Nk = scores_NE.gather(-1, chosen_Nk)
        if self.config.norm_topk_prob:
            gates_Nk = gates_Nk / (gates_Nk.sum(-1, keepdim=True) + 1e-20)
        gates_Nk = (gates_Nk * self.config.routed_scaling_factor).to(x_ND.dtype)
        if len(x_ND) <= FEW_TOKENS and x_ND.device.type == "cpu":
            return _each_expert(x_ND, layer, gates_Nk, chosen_Nk)
        return _grouped_experts(x_ND, layer, gates_Nk, chosen_Nk)


def _pair_up(weight: Tensor, d: int) -> Tensor:
    """Reorder each head's rows (0, d/2, 1, d/2 + 1, ...), so that the two numbers RoPE turns together are neighbours.

    Queries and keys change alike, so their products do not; a rotation is then one complex product.
    """
    return weight.unflatten(0, (-1, 2, d // 2)).transpose(1, 2).flatten(0, 2)


def _swiglu(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, dim=-1)
    return silu(gate).mul_(up)


def _each_expert(x_ND: Tensor, layer: Layer, gates_Nk: Tensor, chosen_Nk: Tensor) -> Tensor:
    """Matrix-vector products: reads the chosen experts only, with little to set up."""
    out_ND = torch.zeros_like(x_ND)
    for x_D, out_D, gates, experts in zip(x_ND, out_ND, gates_Nk.tolist(), chosen_Nk.tolist()):
        for gate, expert in zip(gates, experts):
            out_D.addmv_(layer.down[expert], _swiglu(torch.mv(layer.gate_up[expert], x_D)), alpha=gate)
    return out_ND


def _grouped_experts(x_ND: Tensor, layer: Layer, gates_Nk: Tensor, chosen_Nk: Tensor) -> Tensor:
    """Tokens sorted by expert, one grouped product for all; then back in order, summed over the k choices."""
    top_k = chosen_Nk.shape[1]
    order = chosen_Nk.flatten().argsort()
    offsets = torch.bincount(chosen_Nk.flatten(), minlength=len(layer.down)).cumsum(0, dtype=torch.int32)
    hidden = _swiglu(grouped_mm(x_ND[order // top_k], layer.gate_up.transpose(1, 2), offs=offsets))
    hidden = hidden.mul_(gates_Nk.flatten()[order].unsqueeze(-1))
    out_MD = grouped_mm(hidden, layer.down.transpose(1, 2), offs=offsets)
    return torch.empty_like(out_MD).index_copy_(0, order, out_MD).unflatten(0, (-1, top_k)).sum(1)
