"""The decoder: routing, causality, decoding with a cache, losses."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, silu

from vivace.core.errors import BadInput
from vivace.model.decoder import Decoder
from vivace.model.moe import Load, SparseMLP
from vivace.model.presets import preset


def ids(*shape: int) -> Tensor:
    return torch.randint(0, 96, shape, generator=torch.Generator().manual_seed(7))


def test_experts_equal_a_loop_over_tokens(decoder) -> None:
    mlp = decoder(routed_scaling_factor=2.0).layers[1].mlp
    assert isinstance(mlp, SparseMLP)
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros_like(x)
    for at in [(b, t) for b in range(2) for t in range(5)]:
        scores = torch.sigmoid(mlp.gate.weight @ x[at])
        chosen = (scores + mlp.e_score_correction_bias).topk(3).indices
        for e in chosen:
            gate, up = (mlp.gate_up[e] @ x[at]).chunk(2)
            expected[at] += 2.0 * scores[e] / scores[chosen].sum() * (mlp.down[e] @ (silu(gate) * up))
    load = Load()
    torch.testing.assert_close(mlp(x, load), expected, atol=1e-5, rtol=1e-4)
    assert load.counts[0].sum() == 2 * 5 * 3


def test_bias_chooses_experts_but_does_not_weigh_them(decoder) -> None:
    mlp = decoder().layers[1].mlp
    mlp.e_score_correction_bias.zero_()[4] = 10.0
    gates, chosen = mlp.route(torch.randn(20, 32))
    assert (chosen == 4).any(1).all()
    torch.testing.assert_close(gates.sum(1), torch.ones(20))
    assert gates[chosen == 4].max() < 0.9


def test_an_expert_without_tokens_gets_a_zero_gradient(decoder) -> None:
    model = decoder()
    mlp = model.layers[1].mlp
    mlp.e_score_correction_bias.zero_()[0] = -10.0
    loss = model.loss(ids(2, 9), ids(2, 9))
    loss.total.backward()
    assert loss.counts_LE[0, 0] == 0
    assert mlp.gate_up.grad[0].abs().sum() == 0
    assert mlp.gate_up.grad[1:].abs().sum() > 0


def test_later_tokens_do_not_change_earlier_logits(decoder) -> None:
    model, tokens = decoder(), ids(1, 40)
    torch.testing.assert_close(model(tokens)[:, :25], model(tokens[:, :25]), atol=1e-5, rtol=1e-4)


class GrowingCache:
    """The shortest cache that fulfils the contract: per layer, everything so far."""

    def __init__(self, model: Decoder) -> None:
        self.config = model.config
        self.stored: dict[int, tuple[Tensor, Tensor]] = {}

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        if layer in self.stored:
            k, v = (torch.cat([old, new], 2) for old, new in zip(self.stored[layer], (k, v), strict=True))
        new = k.shape[2] - (self.stored[layer][0].shape[2] if layer in self.stored else 0)
        self.stored[layer] = (k, v)
        j = torch.arange(k.shape[2])[None]
        i = j[:, -new:].T
        sliding = self.config.layer_types[layer] == "sliding_attention"
        mask = (j <= i) & (i - j < (self.config.sliding_window if sliding else 1 << 30))
        return k, v, None if bool(mask.all()) else mask[None, None]


def test_decoding_in_pieces_equals_one_pass(decoder) -> None:
    model, tokens = decoder(), ids(2, 30)
    cache, pieces, start = GrowingCache(model), [], 0
    for size in (13, 1, 1, 9, 1, 5):
        positions = torch.arange(start, start + size).expand(2, size)
        pieces.append(model(tokens[:, start : start + size], positions, cache))
        start += size
    torch.testing.assert_close(torch.cat(pieces, 1), model(tokens), atol=2e-5, rtol=1e-4)


def test_loss_ignores_minus_100_and_applies_weights(decoder) -> None:
    model, tokens, targets = decoder(), ids(2, 12), ids(2, 12).roll(1, 1)
    targets[0, :4] = -100
    weights = torch.rand(2, 12, generator=torch.Generator().manual_seed(1))
    loss = model.loss(tokens, targets, weights)
    each = cross_entropy(model(tokens).flatten(0, 1), targets.flatten(), reduction="none").view(2, 12)
    torch.testing.assert_close(loss.total, (each * weights).sum(), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(loss.weight, weights.sum() - weights[0, :4].sum())
    assert loss.counts_LE.sum(1).tolist() == [2 * 12 * 3] * 3


def test_logprobs_are_those_of_the_next_token(decoder) -> None:
    model, tokens = decoder(), ids(2, 12)
    expected = log_softmax(model(tokens)[:, :-1], -1).gather(2, tokens[:, 1:, None]).squeeze(2)
    torch.testing.assert_close(model.logprobs(tokens), expected, atol=1e-5, rtol=1e-4)


def test_fresh_model_is_close_to_uniform_and_seeded(config) -> None:
    first, second = Decoder(config(), seed=3), Decoder(config(), seed=3)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    tokens = ids(4, 33)
    loss = first.loss(tokens[:, :-1], tokens[:, 1:])
    assert abs(float(loss.total.detach() / loss.weight) - float(torch.tensor(96.0).log())) < 0.3


def test_too_long_input_is_refused(decoder) -> None:
    with pytest.raises(BadInput, match="65 tokens exceed"):
        decoder()(ids(1, 65))


def test_positions_beyond_the_context_are_refused(decoder) -> None:
    with pytest.raises(BadInput, match="context of 64"):
        decoder()(ids(1, 2), torch.tensor([[63, 64]]))


def test_inconsistent_dimensions_are_refused(config) -> None:
    with pytest.raises(ValidationError, match="one entry for each of the 6 layers"):
        config(layer_types=["full_attention"])
    with pytest.raises(ValidationError, match="multiple of"):
        config(num_key_value_heads=3)
    with pytest.raises(BadInput, match="did you mean 'nano'"):
        preset("nanno")
