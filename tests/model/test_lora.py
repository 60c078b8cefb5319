"""Adapters: only they move, and what is merged computes what was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vivace.core.errors import BadInput
from vivace.engine import Engine
from vivace.model.checkpoint import load_checkpoint, save_checkpoint
from vivace.model.lora import INFIX, LoraConfig, add_adapters, merged, trainable
from vivace.train.batches import DocumentSource
from vivace.train.config import TrainConfig
from vivace.train.loop import train

IDS = torch.randint(0, 96, (2, 21), generator=torch.Generator().manual_seed(1))


def tuned(model, folder: Path) -> dict[str, torch.Tensor]:
    """Some steps on two documents; the state before them."""
    add_adapters(model, LoraConfig(rank=8))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    documents = [(row.tolist(), np.ones(21).tolist()) for row in IDS]
    source = DocumentSource(documents, 42, max_len=64, seed=0)
    config = TrainConfig(max_steps=5, adapter_lr=0.05, warmup_steps=0, workers=1, balance_rate=0.0)
    train(model, source, config, folder, lambda row: None)
    return before


@pytest.mark.parametrize("shared", [0, 1])
def test_only_adapters_move_and_merging_keeps_the_logits(tmp_path: Path, decoder, shared: int) -> None:
    model = decoder(num_shared_experts=shared)
    with torch.no_grad():
        plain = model(IDS)
    before = tuned(model, tmp_path)
    after = model.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == set(trainable(model))
    assert all(INFIX in name for name in trainable(model))
    save_checkpoint(tmp_path / "m", model, dtype=torch.float32)
    whole, _ = load_checkpoint(tmp_path / "m")
    with torch.no_grad():
        trained = model(IDS)
        assert (trained - plain).abs().max() > 0.1
        torch.testing.assert_close(whole(IDS), trained, atol=1e-4, rtol=1e-4)
    with Engine(model, max_slots=1) as engine:
        engine.update_weights(model)
    assert merged(model).keys() == whole.state_dict().keys()


def test_a_start_changes_nothing_and_twice_is_refused(decoder) -> None:
    model = decoder()
    with torch.no_grad():
        plain = model(IDS)
        count = add_adapters(model, LoraConfig(rank=8, targets=["down"]))
        torch.testing.assert_close(model(IDS), plain)
    assert count == 3 * 8 * (48 + 32) + 3 * 8 * 8 * (16 + 32)
    with pytest.raises(BadInput, match="has adapters already"):
        add_adapters(model, LoraConfig())
