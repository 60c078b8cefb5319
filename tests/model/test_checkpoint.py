"""Checkpoints: what is saved comes back, and nothing damaged loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vivace.core.errors import BadInput
from vivace.core.files import sha256_file
from vivace.model.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture
def saved(tmp_path: Path, decoder) -> Path:
    save_checkpoint(tmp_path / "m", decoder(), {"tokenizer.json": b"{}", "README.md": "card"}, dtype=torch.float32)
    return tmp_path / "m"


def test_round_trip_is_exact(saved: Path, decoder) -> None:
    model, config = load_checkpoint(saved)
    original = decoder()
    assert config == original.config
    for (name, a), b in zip(original.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert (saved / "README.md").read_text() == "card"
    assert sorted(p.name for p in saved.parent.iterdir()) == ["m"]  # nothing temporary is left


def test_bf16_keeps_the_router_bias_whole(tmp_path: Path, decoder) -> None:
    original = decoder()
    save_checkpoint(tmp_path / "m", original)
    model, _ = load_checkpoint(tmp_path / "m")
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert torch.equal(model.embed_tokens.weight, original.embed_tokens.weight.bfloat16().float())
    bias = "layers.1.mlp.e_score_correction_bias"
    assert torch.equal(model.state_dict()[bias], original.state_dict()[bias])


def test_names_and_fields_are_hugging_face_s(saved: Path) -> None:
    names = set(load_file(saved / "model.safetensors"))
    assert {
        "model.embed_tokens.weight", "model.norm.weight", "model.layers.0.mlp.gate_proj.weight",
        "model.layers.1.mlp.gate.weight", "model.layers.1.mlp.e_score_correction_bias",
        "model.layers.1.mlp.experts.7.down_proj.weight", "model.layers.5.self_attn.q_norm.weight",
    } <= names
    assert "lm_head.weight" not in names
    fields = json.loads((saved / "config.json").read_text())
    assert fields["architectures"] == ["ExaoneMoeForCausalLM"]
    assert fields["rope_parameters"] == {"rope_type": "default", "rope_theta": 10_000.0}


def test_saving_again_replaces(saved: Path, decoder) -> None:
    save_checkpoint(saved, decoder(seed=9))
    assert not (saved / "README.md").exists()
    load_checkpoint(saved)


def test_missing(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(BadInput, match="no checkpoint at"):
        load_checkpoint(tmp_path / "nowhere")
    (saved / "model.safetensors").unlink()
    with pytest.raises(BadInput, match=r"lacks model\.safetensors"):
        load_checkpoint(saved)
    with pytest.raises(BadInput, match=r"lacks model\.safetensors"):
        load_checkpoint(saved, verify=False)
    (saved / "manifest.json").unlink()
    with pytest.raises(BadInput, match=r"has no manifest\.json"):
        load_checkpoint(saved)


def test_truncated(saved: Path) -> None:
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(BadInput, match=r"model\.safetensors does not match its digest"):
        load_checkpoint(saved)
    with pytest.raises(BadInput, match="truncated or altered"):
        load_checkpoint(saved, verify=False)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_tampered(saved: Path, name: str) -> None:
    data = bytearray((saved / name).read_bytes())
    data[-1] ^= 1
    (saved / name).write_bytes(bytes(data))
    with pytest.raises(BadInput, match=f"{name} does not match its digest"):
        load_checkpoint(saved)


def test_damaged_manifest_and_config(saved: Path) -> None:
    (saved / "config.json").write_text("{")
    with pytest.raises(BadInput, match="is not JSON"):
        load_checkpoint(saved, verify=False)
    (saved / "manifest.json").write_text("[]")
    with pytest.raises(BadInput, match="is damaged"):
        load_checkpoint(saved)


def test_weights_that_do_not_fit_the_config(saved: Path) -> None:
    path = saved / "model.safetensors"
    tensors = load_file(path)
    name = "model.layers.0.self_attn.q_proj.weight"

    def refuse(changed: dict[str, torch.Tensor], message: str) -> None:
        save_file(changed, path)
        manifest = json.loads((saved / "manifest.json").read_text())
        manifest["files"]["model.safetensors"] = sha256_file(path)
        (saved / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(BadInput, match=message):
            load_checkpoint(saved)

    refuse({k: v for k, v in tensors.items() if k != name}, "lacks 1 tensors, first model.layers.0.self_attn.q_proj")
    refuse(tensors | {"model.layers.9.x": torch.zeros(1)}, "has 1 tensors config.json does not call for")
    refuse(tensors | {name: torch.zeros(2, 2)}, r"has shape \[2, 2\]")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "llama"}, "model_type='llama'; supported are"),
        ({"num_shared_experts": 1}, "lacks 9 tensors, first model.layers.1.mlp.shared_experts"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type='yarn'"),
        ({"num_key_value_heads": 3}, "multiple of"),
    ],
)
def test_foreign_config(saved: Path, change: dict[str, object], message: str) -> None:
    fields = json.loads((saved / "config.json").read_text()) | change
    (saved / "config.json").write_text(json.dumps(fields))
    with pytest.raises(BadInput, match=message):
        load_checkpoint(saved, verify=False)
