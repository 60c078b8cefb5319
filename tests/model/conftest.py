"""A decoder small enough for a test, with every kind of layer and nothing left at zero."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from vivace.model.config import ModelConfig, alternating_mlp_types, interleaved_layer_types
from vivace.model.decoder import Decoder


def tiny_config(**changes: object) -> ModelConfig:
    fields: dict[str, object] = {
        "vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 6, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 48, "moe_intermediate_size": 16,
        "num_experts": 8, "num_experts_per_tok": 3, "sliding_window": 8, "max_position_embeddings": 64,
        "layer_types": interleaved_layer_types(6), "mlp_layer_types": alternating_mlp_types(6),
    }
    return ModelConfig(**(fields | changes))


def random_decoder(seed: int = 0, **changes: object) -> Decoder:
    """Every parameter random, the router bias too: a wrong sign or order cannot hide behind zeros or ones."""
    model = Decoder(tiny_config(**changes), seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("norm.weight"):
                p.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith("o_proj.weight"):
                p.normal_(0, 0.3, generator=generator)
        for name, buffer in model.named_buffers():
            if name.endswith("bias"):
                buffer.normal_(0, 0.2, generator=generator)
    return model


@pytest.fixture
def decoder() -> Callable[..., Decoder]:
    return random_decoder


@pytest.fixture
def config() -> Callable[..., ModelConfig]:
    return tiny_config
