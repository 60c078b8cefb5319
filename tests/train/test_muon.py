"""The optimizer: orthogonal updates, the right parameters in the right hands, exact AdamW."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from vivace.model.decoder import Decoder
from vivace.train.muon import MuonAdamW, orthogonalise
from vivace.train.workers import Workers


def optimizer(model: nn.Module, **changes: float) -> MuonAdamW:
    settings: dict[str, float] = {
        "muon_lr": 0.02, "embedding_lr": 1e-3, "router_lr": 1e-3, "norm_lr": 1e-3, "weight_decay": 0.0, "momentum": 0.9,
    }
    return MuonAdamW(model, **(settings | changes), betas=(0.9, 0.95))


def test_orthogonalise_brings_singular_values_near_one() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 32, 48, generator=generator) * torch.tensor([1e-4, 1.0, 1e3])[:, None, None]
    out = orthogonalise(x)
    assert (torch.linalg.svdvals(out) - 1).abs().max() < 0.15
    u, _, vt = torch.linalg.svd(x[1], full_matrices=False)
    assert torch.nn.functional.cosine_similarity(out[1].flatten(), (u @ vt).flatten(), dim=0) > 0.99
    assert orthogonalise(torch.zeros(1, 4, 4)).isfinite().all()


def test_who_optimises_what(tiny: Callable[[], Decoder]) -> None:
    chosen = optimizer(tiny())
    assert "layers.1.mlp.gate_up" in chosen.muon
    assert "layers.0.self_attn.q_proj.weight" in chosen.muon
    by_adam = {n for n in chosen.parameters if "norm" in n or "embed" in n or "mlp.gate.weight" in n}
    assert set(chosen.adam_lr) == by_adam


def test_first_muon_step_is_orthogonal_per_expert_and_per_half(tiny: Callable[[], Decoder]) -> None:
    model = tiny()
    before = model.layers[1].mlp.gate_up.detach().clone()
    grads = {name: torch.randn_like(p) for name, p in model.named_parameters()}
    optimizer(model, muon_lr=0.1).step(grads, 0.5)
    moved = (before - model.layers[1].mlp.gate_up).detach() / 0.05
    halves = moved.view(-1, moved.shape[1] // 2, moved.shape[2])  # gate and up of every expert: wide matrices
    assert (torch.linalg.svdvals(halves) - 1).abs().max() < 0.3


def test_adam_equals_torch() -> None:
    ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    mine = optimizer(ours, embedding_lr=0.1, norm_lr=0.1)
    reference = torch.optim.Adam(theirs.parameters(), lr=0.1, betas=(0.9, 0.95), eps=1e-10)
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        grads = {n: torch.randn(p.shape, generator=generator) for n, p in ours.named_parameters()}
        for name, p in theirs.named_parameters():
            p.grad = grads[name].clone()
        mine.step(grads, 1.0)
        reference.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_threads_do_not_change_the_result(tiny: Callable[[], Decoder], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivace.train.muon.CHUNK_ELEMENTS", 1024)  # many chunks
    alone, together, workers = tiny(), tiny(), Workers(3)
    grads = {n: torch.randn(p.shape, generator=torch.Generator().manual_seed(1)) for n, p in alone.named_parameters()}
    optimizer(alone).step(grads, 1.0)
    optimizer(together).step(grads, 1.0, workers.run)
    workers.close()
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), together.parameters(), strict=True))
