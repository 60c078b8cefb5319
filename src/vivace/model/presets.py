"""The sizes Vivace comes in. One line each; everything else follows from the table."""

from __future__ import annotations

from difflib import get_close_matches

from vivace.core.errors import BadInput
from vivace.model.config import ModelConfig, alternating_mlp_types, interleaved_layer_types


def _config(
    layers: int, hidden: int, heads: int, kv_heads: int, head_dim: int, dense: int, expert: int, experts: int,
    top_k: int, vocab: int, window: int, context: int, theta: float,
) -> ModelConfig:
    return ModelConfig(
        num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=heads, num_key_value_heads=kv_heads,
        head_dim=head_dim, intermediate_size=dense, moe_intermediate_size=expert, num_experts=experts,
        num_experts_per_tok=top_k, vocab_size=vocab, sliding_window=window, max_position_embeddings=context,
        rope_theta=theta, layer_types=interleaved_layer_types(layers), mlp_layer_types=alternating_mlp_types(layers),
    )


# name: layers, hidden, heads, kv, head_dim, dense F, expert F, experts, top-k, vocab, window, context, theta
PRESETS: dict[str, ModelConfig] = {
    "nano": _config(6, 256, 4, 2, 64, 512, 128, 32, 4, 4096, 512, 2048, 1e4),  # two CPU cores
    "small": _config(18, 1024, 8, 2, 128, 2048, 512, 64, 6, 32768, 512, 16384, 1e4),  # one 24 GB GPU
    "medium": _config(30, 2048, 16, 4, 128, 4096, 1024, 128, 8, 65536, 512, 65536, 1e5),  # one node of 8 GPUs
    "flash-137b-a5b": _config(54, 2304, 24, 8, 128, 7168, 1408, 512, 8, 196608, 512, 262144, 1e6),  # a cluster
}


def preset(name: str, *, vocab_size: int | None = None) -> ModelConfig:
    """A preset by name, optionally with the vocabulary size of the tokenizer at hand."""
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=1, cutoff=0.0)[0]
        raise BadInput(f"no preset {name!r}; did you mean {near!r}? (presets: {', '.join(PRESETS)})")
    config = PRESETS[name]
    return config.model_copy(update={"vocab_size": vocab_size}) if vocab_size else config
