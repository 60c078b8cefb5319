"""The decoder-only transformer: by configuration `ExaoneMoeForCausalLM`, or one of Qwen's (`vivace.model.families`)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from vivace.core.errors import BadInput
from vivace.model.attention import Attention, KVCache
from vivace.model.config import ModelConfig
from vivace.model.ffn import DenseMLP
from vivace.model.head import token_logprobs, weighted_cross_entropy
from vivace.model.moe import Load, SparseMLP
from vivace.model.norm import RMSNorm
from vivace.model.rope import RotaryTable

IGNORE = -100  # a target that takes no part in the loss


class Loss(NamedTuple):
    """`total`: sum of weight * cross entropy (nats); `weight`: sum of weights. Divide over the *global* batch.

    `counts_LE`: tokens per expert, one row per sparse layer (int64, no gradient).
    """

    total: Tensor
    weight: Tensor
    counts_LE: Tensor


class Block(nn.Module):
    """Pre-norm attention, then pre-norm feed-forward, each added to the residual stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp: DenseMLP | SparseMLP
        self.mlp = SparseMLP(config) if config.mlp_layer_types[layer] == "sparse" else DenseMLP(config)

    def forward(
        self, x_BTD: Tensor, rope: tuple[Tensor, Tensor], cache: KVCache | None, counts: Load | None
    ) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), rope, cache)
        normed = self.post_attention_layernorm(x_BTD)
        if isinstance(self.mlp, SparseMLP):
            return x_BTD + self.mlp(normed, counts)
        return x_BTD + self.mlp(normed)


class Decoder(nn.Module):
    """Token ids in, logits, losses or log probabilities out."""

    def __init__(self, config: ModelConfig, *, seed: int | None = 0) -> None:
        """Initialised from `seed`; None leaves the weights unset (for loading, or on the meta device)."""
        super().__init__()
        self.config = config
        self.recompute = False  # keep only the inputs of blocks for the backward pass: less memory, a forward more
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head: nn.Linear | None = None
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.rope = RotaryTable(config.head_dim, config.max_position_embeddings, config.rope_theta)
        if seed is not None:
            self.initialise(seed)

    @property
    def head_weight(self) -> Tensor:
        """(V, D): the output projection, shared with the embedding when tied."""
        return self.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Normal with deviation 1/sqrt(fan_in). Attention output is zero, so that layers start as a stack of
        feed-forwards and routers see distinct tokens; feed-forward outputs shrink with depth."""
        generator = torch.Generator().manual_seed(seed)
        depth = (2 * self.config.num_hidden_layers) ** -0.5
        for name, p in self.named_parameters():
            if name.endswith("norm.weight"):
                p.fill_(1.0)
            elif name.endswith(("o_proj.weight", "bias")):
                p.zero_()
            elif name.startswith(("embed_tokens", "lm_head")):
                p.normal_(0.0, 0.5 * p.shape[-1] ** -0.5, generator=generator)
            else:
                scale = depth if name.endswith("down") else 1.0
                p.normal_(0.0, scale * p.shape[-1] ** -0.5, generator=generator)
        for name, buffer in self.named_buffers():
            if name.endswith("e_score_correction_bias"):
                buffer.zero_()

    def hidden(
        self, input_ids_BT: Tensor, positions_BT: Tensor | None = None, cache: KVCache | None = None,
        counts: Load | None = None,
    ) -> Tensor:
        """Final normalised hidden states (B, T, D); logits are `x @ head_weight.T`.

        Without `positions_BT` the tokens are at 0..T-1. See `vivace.model.attention` for `cache`.
        """
        length = input_ids_BT.shape[1]
        if length > self.config.max_position_embeddings:
            limit = self.config.max_position_embeddings
            raise BadInput(f"{length} tokens exceed this model's context of {limit}; shorten the input")
        rope = self.rope(length, positions_BT)
        x_BTD = self.embed_tokens(input_ids_BT)
        recompute = self.recompute and torch.is_grad_enabled()
        for block in self.layers:
            if recompute:
                x_BTD = checkpoint(block, x_BTD, rope, cache, counts, use_reentrant=False, preserve_rng_state=False)
            else:
                x_BTD = block(x_BTD, rope, cache, counts)
        return self.norm(x_BTD)

    def forward(self, input_ids_BT: Tensor, positions_BT: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        """Logits (B, T, V)."""
        return linear(self.hidden(input_ids_BT, positions_BT, cache), self.head_weight)

    def loss(
        self, input_ids_BT: Tensor, targets_BT: Tensor, weights_BT: Tensor | None = None,
        real_BT: Tensor | None = None, positions_BT: Tensor | None = None,
    ) -> Loss:
        """Summed weighted cross entropy of `targets_BT` (-100 ignored); default weight 1.

        Padding, where `real_BT` is False, is not counted as load of the experts.
        """
        load = Load(None if real_BT is None else real_BT.flatten())
        x_ND = self.hidden(input_ids_BT, positions_BT, counts=load).flatten(0, 1)
        targets_N = targets_BT.flatten()
        weights_N = torch.ones_like(targets_N, dtype=torch.float32) if weights_BT is None else weights_BT.flatten()
        weights_N = weights_N.float().masked_fill(targets_N == IGNORE, 0.0)
        total = weighted_cross_entropy(x_ND, self.head_weight, targets_N.clamp(min=0), weights_N)
        counts = load.counts
        counts_LE = torch.stack(counts) if counts else torch.zeros(0, self.config.num_experts, dtype=torch.int64)
        return Loss(total, weights_N.sum(), counts_LE)

    def logprobs(self, input_ids_BT: Tensor) -> Tensor:
        """log p(token t+1 | tokens 0..t), (B, T-1), fp32, differentiable: what a policy gradient needs."""
        x_BTD = self.hidden(input_ids_BT[:, :-1])
        targets_BT = input_ids_BT[:, 1:]
        flat = token_logprobs(x_BTD.flatten(0, 1), self.head_weight, targets_BT.flatten())
        return flat.view(targets_BT.shape)
