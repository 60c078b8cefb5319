"""What a configuration costs: parameters, arithmetic, cache. Pure arithmetic, checked against real modules in tests."""

from __future__ import annotations

from typing import NamedTuple

from vivace.model.config import ModelConfig


class Parameters(NamedTuple):
    """Numbers of parameters by block; `active_*` count what one token uses."""

    embedding: int
    attention: int
    dense: int
    experts: int
    router: int
    norms: int  # biases too
    active_experts: int

    @property
    def total(self) -> int:
        return self.embedding + self.attention + self.dense + self.experts + self.router + self.norms

    @property
    def active(self) -> int:
        """Per token, the (tied) embedding included: it is the output projection."""
        return self.total - self.experts + self.active_experts


def count_parameters(config: ModelConfig) -> Parameters:
    """All parameters of `Decoder(config)`; the router's selection bias is a buffer and not counted."""
    hidden, d, layers, family = config.hidden_size, config.head_dim, config.num_hidden_layers, config.family
    sparse = config.mlp_layer_types.count("sparse")
    expert = 3 * hidden * config.moe_intermediate_size
    shared = expert * config.num_shared_experts  # every token takes it, like a dense layer
    bias = layers * d * (config.num_attention_heads + 2 * config.num_key_value_heads) if family.qkv_bias else 0
    return Parameters(
        embedding=config.vocab_size * hidden * (1 if config.tie_word_embeddings else 2),
        attention=layers * 2 * hidden * d * (config.num_attention_heads + config.num_key_value_heads),
        dense=(layers - sparse) * 3 * hidden * config.intermediate_size + sparse * shared,
        experts=sparse * config.num_experts * expert,
        router=sparse * config.num_experts * hidden,
        norms=layers * 2 * (hidden + (d if family.qk_norm else 0)) + hidden + bias,
        active_experts=sparse * config.num_experts_per_tok * expert,
    )


def flops_per_token(config: ModelConfig, context: int, *, training: bool = True) -> int:
    """Multiply-adds count two. Attention sees on average half the context, at most the window in sliding layers."""
    sliding = config.layer_types.count("sliding_attention")
    window = min(config.sliding_window, context)
    seen_local = window - window * (window - 1) / (2 * context)  # mean over positions of min(i + 1, window)
    seen_global = (context + 1) / 2
    keys = sliding * seen_local + (config.num_hidden_layers - sliding) * seen_global
    attention = 4 * config.num_attention_heads * config.head_dim * keys
    parameters = count_parameters(config)
    matrices = parameters.active - parameters.norms
    if not config.tie_word_embeddings:
        matrices -= config.vocab_size * config.hidden_size  # looked up, not multiplied
    return round((2 * matrices + attention) * (3 if training else 1))


def kv_bytes(config: ModelConfig, context: int, bytes_per_value: int = 2) -> int:
    """Key-value cache of one sequence of `context` tokens; sliding layers keep one window."""
    per_token = 2 * config.num_key_value_heads * config.head_dim * bytes_per_value
    sliding = config.layer_types.count("sliding_attention")
    full = config.num_hidden_layers - sliding
    return per_token * (full * context + sliding * min(context, config.sliding_window))
