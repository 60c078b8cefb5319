"""Checkpoints that transformers writes, sharded, give the same logits here; damaged ones say what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from vivace.core.errors import BadInput
from vivace.model.checkpoint import load_checkpoint

SIZE = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}  # fmt: skip
MOE = {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 16, "head_dim": 8}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2-sliding": ("Qwen2", {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 2}),
    "qwen3": ("Qwen3", {"head_dim": 16, "tie_word_embeddings": False}),
    "qwen3_moe": ("Qwen3Moe", {**MOE, "norm_topk_prob": True, "mlp_only_layers": [1]}),
    "exaone_moe": ("ExaoneMoe", {**MOE, "sliding_window": 8, "num_shared_experts": 1}),
}


def foreign(folder: Path, kind: str) -> Any:
    """A randomly initialised model of transformers, saved in shards; every norm and bias random too."""
    transformers = pytest.importorskip("transformers")
    name, fields = KINDS[kind]
    config = getattr(transformers, f"{name}Config")(**(SIZE | fields))
    torch.manual_seed(len(kind))
    model = getattr(transformers, f"{name}ForCausalLM")(config).float().eval()
    with torch.no_grad():
        for key, p in [*model.named_parameters(), *model.named_buffers()]:
            if "norm" in key:
                p.uniform_(0.5, 1.5)
            elif key.endswith(("bias", "gate.weight")):
                p.normal_(0.0, 0.3)
            elif p.dim() > 1 and "inv_freq" not in key:
                p.mul_(6)
    model.save_pretrained(folder, max_shard_size="60KB")
    return model


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_logits_equal_transformers(tmp_path: Path, kind: str) -> None:
    theirs = foreign(tmp_path, kind)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    ours, config = load_checkpoint(tmp_path, verify=False)
    ids = torch.randint(0, 96, (2, 29), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = theirs(ids).logits
        assert expected.std() > 0.1
        torch.testing.assert_close(ours(ids), expected, atol=1e-4, rtol=1e-4)
    assert type(config).from_hf(config.to_hf()) == config


@pytest.mark.slow
def test_damage_is_said(tmp_path: Path) -> None:
    foreign(tmp_path, "qwen3")
    index = tmp_path / "model.safetensors.index.json"
    fields = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(fields | {"intermediate_size": 40}))
    with pytest.raises(BadInput, match=r"has shape \[48, 32\], config.json says \[40, 32\]|has shape \[32, 48\]"):
        load_checkpoint(tmp_path, verify=False)
    (tmp_path / "config.json").write_text(json.dumps(fields | {"model_type": "mamba"}))
    with pytest.raises(BadInput, match="model_type='mamba'; supported are"):
        load_checkpoint(tmp_path, verify=False)
    (tmp_path / "config.json").write_text(json.dumps(fields))
    shard = sorted(set(json.loads(index.read_text())["weight_map"].values()))[1]
    whole = (tmp_path / shard).read_bytes()
    (tmp_path / shard).write_bytes(whole[:-40])
    with pytest.raises(BadInput, match="truncated or altered"):
        load_checkpoint(tmp_path, verify=False)
    (tmp_path / shard).unlink()
    with pytest.raises(BadInput, match=f"lacks the shard {shard}"):
        load_checkpoint(tmp_path, verify=False)
