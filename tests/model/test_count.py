"""Counted costs against real modules, and the sizes the presets promise."""

from __future__ import annotations

import pytest
import torch

from vivace.model.count import count_parameters, flops_per_token, kv_bytes
from vivace.model.decoder import Decoder
from vivace.model.presets import PRESETS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_equal_the_module(name: str) -> None:
    with torch.device("meta"):
        model = Decoder(PRESETS[name], seed=None)
    assert sum(p.numel() for p in model.parameters()) == count_parameters(PRESETS[name]).total


def test_untied_head_is_counted(config, decoder) -> None:
    model = decoder(tie_word_embeddings=False)
    assert sum(p.numel() for p in model.parameters()) == count_parameters(model.config).total


def test_flash_is_137b_with_5b_active_and_256k_context() -> None:
    flash = PRESETS["flash-137b-a5b"]
    counted = count_parameters(flash)
    assert 136.5e9 <= counted.total <= 137.5e9
    assert 4.9e9 <= counted.active <= 5.1e9
    assert flash.max_position_embeddings == 262_144
    assert flash.layer_types.count("sliding_attention") == 5 * flash.layer_types.count("full_attention")
    assert kv_bytes(flash, 262_144) < 10e9


def test_nano_is_small() -> None:
    counted = count_parameters(preset("nano"))
    assert 10e6 < counted.total < 20e6
    assert 4e6 < counted.active < 6e6
    assert preset("nano", vocab_size=1024).vocab_size == 1024


def test_flops_equal_those_torch_counts(decoder) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model = decoder()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 1, dtype=torch.int64))
    experts = 2 * 3 * 3 * 3 * 32 * 16  # layers, experts, matrices: torch does not count grouped_mm
    assert flops_per_token(model.config, 1, training=False) == counter.get_total_flops() + experts


def test_attention_cost_grows_with_context_only_in_global_layers(config) -> None:
    short, long = (flops_per_token(config(max_position_embeddings=512), n) for n in (256, 512))
    per_key = 4 * 4 * 8 * 3
    assert long - short == pytest.approx(per_key * (128 + 5 * 28 * (1 / 256 - 1 / 512)), abs=2)
