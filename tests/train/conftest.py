"""A decoder that trains in milliseconds, and text-like tokens for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vivace.model.config import ModelConfig, alternating_mlp_types, interleaved_layer_types
from vivace.model.decoder import Decoder


def tiny_decoder() -> Decoder:
    return Decoder(ModelConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        intermediate_size=48, moe_intermediate_size=16, num_experts=8, num_experts_per_tok=2, sliding_window=16,
        max_position_embeddings=64, layer_types=interleaved_layer_types(4), mlp_layer_types=alternating_mlp_types(4),
    ), seed=1)


@pytest.fixture
def tiny() -> Callable[[], Decoder]:
    return tiny_decoder


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two shards of a Markov chain over 64 tokens, one of each format: something there is to learn."""
    generator = np.random.default_rng(0)
    tokens = np.zeros(6000, dtype=np.uint16)
    for i in range(1, len(tokens)):
        tokens[i] = (tokens[i - 1] * 5 + generator.integers(3)) % 64
    folder = tmp_path / "shards"
    folder.mkdir()
    tokens[:4000].tofile(folder / "0.bin")
    np.save(folder / "1.npy", tokens[4000:])
    return folder
