"""A small decoder whose every part matters: attention output and biases are not at their initial zero."""

from __future__ import annotations

from typing import Any

import torch

from vivace.model import Decoder, ModelConfig

FIELDS: dict[str, Any] = {
    "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 32, "intermediate_size": 48, "moe_intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 3,
    "sliding_window": 12, "max_position_embeddings": 160, "mlp_layer_types": ["dense", "sparse"] * 2,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
}


def tiny(seed: int = 0, **changes: Any) -> Decoder:
    model = Decoder(ModelConfig(**{**FIELDS, **changes}), seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("norm.weight"):
                p.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith("o_proj.weight"):
                p.normal_(0.0, 0.2, generator=generator)
            elif name.startswith(("embed", "lm_head")):
                p.normal_(0.0, 0.5, generator=generator)
        for name, buffer in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                buffer.normal_(0.0, 0.1, generator=generator)
    return model
