"""What `vivace model show` prints: sizes, arithmetic and cache of a preset or a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from vivace.model.checkpoint import read_config
from vivace.model.config import ModelConfig
from vivace.model.count import count_parameters, flops_per_token, kv_bytes
from vivace.model.presets import preset


def config_of(name: str) -> ModelConfig:
    """Of a preset, or of a checkpoint folder."""
    file = Path(name) / "config.json"
    return read_config(file) if file.exists() else preset(name)


def describe(name: str, length: int | None = None) -> dict[str, Any]:
    """Facts about a preset, or about a checkpoint folder; `length` tokens a sequence."""
    config = config_of(name)
    counted = count_parameters(config)
    context = config.max_position_embeddings
    length = min(length or context, context)
    growing = kv_bytes(config, 2 * context) - kv_bytes(config, 2 * context - 1)
    return {
        "name": name, "layers": config.num_hidden_layers, "hidden": config.hidden_size, "context": context,
        "experts": config.num_experts, "top_k": config.num_experts_per_tok, "vocab": config.vocab_size,
        "parameters": {**counted._asdict(), "total": counted.total, "active": counted.active},
        "flops_per_token": {"at_length": length, "training": flops_per_token(config, length),
                            "inference": flops_per_token(config, length, training=False)},
        "kv_bytes": {"per_further_token": growing, "at_4096": kv_bytes(config, 4096),
                     "at_262144": kv_bytes(config, 262_144), "at_full_context": kv_bytes(config, context)},
        "weights_bytes": {"fp32": 4 * counted.total, "bf16": 2 * counted.total, "int8": counted.total},
    }


def table(facts: dict[str, Any]) -> Table:
    """The same for a terminal."""
    view = Table("", "", title=facts["name"], show_header=False)
    for key, value in facts.items():
        if isinstance(value, dict):
            for part, number in value.items():
                view.add_row(f"{key}: {part.replace('_', ' ')}", f"{number:,}")
        elif key != "name":
            view.add_row(key, f"{value:,}")
    return view
