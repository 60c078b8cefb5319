"""Guessing changes how fast an answer comes, never which."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
import torch

from vivace.core.types import Drawn, Sampling
from vivace.engine import Engine
from vivace.engine.packing import WeightFormat
from vivace.engine.runner import Piece, RunnerKind
from vivace.engine.speculation import Costs, Drafter
from vivace.model import Decoder

REPETITIVE = [5, 6, 7, 8, 9, 10, 11, 12] * 6


def test_guesses_what_followed_last_time() -> None:
    assert Drafter().draft([1, 2, 3, 4, 9, 1, 2, 3], 8) == [4, 9, 1]  # as long as the match
    assert Drafter().draft([1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3], 8)[0] == 5  # the latest place
    assert Drafter().draft([1, 2, 3, 4], 8) == []
    assert Drafter().draft([1, 1], 8) == []
    assert Drafter([1, 2, 3, 40, 41]).draft([9, 1, 2, 3], 2) == [40, 41]
    assert Drafter().draft([7] * 20, 6) == [7] * 6
    growing, ids = Drafter(), list(REPETITIVE)
    for _ in range(20):
        guess = growing.draft(ids, 4)
        assert guess == Drafter().draft(ids, 4)
        ids.append(guess[0])


def test_lengths_follow_rate_and_cost() -> None:
    cheap, dear = Costs(0.02), Costs(0.9)
    assert cheap.best_length(0.95, 1) > cheap.best_length(0.5, 1) > 0
    assert dear.best_length(0.5, 1) == 0
    learnt = Costs(0.9)
    for _ in range(50):
        learnt.saw(1, 0, 0.010)
        learnt.saw(5, 4, 0.012)
    assert learnt.each(1) == pytest.approx(0.05)
    assert learnt.best_length(0.9, 1) > 4


def test_confidence_falls_and_comes_back() -> None:
    drafter = Drafter()
    for _ in range(20):
        drafter.learn(4, 0)
    low = drafter.rate
    assert low < 0.2
    for _ in range(200):
        drafter.rest()
    assert drafter.rate > 0.8


@pytest.mark.parametrize("runner", ["cpu", "torch"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_the_same_text_with_and_without(model: Decoder, runner: RunnerKind, temperature: float) -> None:
    """Several at once, of which some repeat themselves: ids agree exactly, log probabilities up to rounding."""
    rng = random.Random(3)
    prompts = [REPETITIVE, [rng.randrange(99) for _ in range(30)], REPETITIVE[3:40], [4] * 20]
    said = []
    for speculate in (False, True):
        with Engine(model, max_slots=4, threads=2, runner=runner, speculate=speculate) as engine:
            engine._scheduler.costs.each = lambda sequences: 0.001  # always worth it
            asked = [engine.submit(p, Sampling(temperature=temperature, seed=n, max_tokens=60), [0])
                     for n, p in enumerate(prompts)]  # fmt: skip
            said.append([ticket.result() for ticket in asked])
            if speculate and temperature == 0:
                assert engine.stats.accepted_tokens > 0
            assert (engine.stats.drafted_tokens > 0) == speculate
    for plain, guessed in zip(*said):
        assert plain.ids == guessed.ids
        assert plain.finish_reason == guessed.finish_reason
        assert plain.logprobs == pytest.approx(guessed.logprobs, abs=1e-3)
        assert guessed.accepted_tokens <= guessed.drafted_tokens


def test_the_distribution_is_exact(model: Decoder) -> None:
    """Pairs of tokens drawn right behind a guess, with and without: a chi-square test of equal distributions."""
    counts = []
    for speculate in (False, True):
        seen: Counter[tuple[int, ...]] = Counter()
        with Engine(model, max_slots=16, threads=1, speculate=speculate) as engine:
            engine._scheduler.costs.each = lambda sequences: 0.001
            base = 0 if speculate else 10_000  # other seeds, so that these are two samples
            tickets = [engine.submit(REPETITIVE, Sampling(temperature=0.6, seed=base + n, max_tokens=3))
                       for n in range(1500)]  # fmt: skip
            for ticket in tickets:
                seen[tuple(ticket.result().ids[1:])] += 1
            if speculate:
                assert engine.stats.drafted_tokens > 500
        counts.append(seen)
    common = [key for key in counts[0] | counts[1] if counts[0][key] + counts[1][key] >= 20]
    a = np.array([counts[0][key] for key in common] + [sum(v for k, v in counts[0].items() if k not in common)])
    b = np.array([counts[1][key] for key in common] + [sum(v for k, v in counts[1].items() if k not in common)])
    chi2 = ((a - b) ** 2 / (a + b)).sum()
    freedom = len(a) - 1
    assert freedom >= 3
    assert chi2 < freedom + 4 * (2 * freedom) ** 0.5 + 4


def test_draws_without_replacement_stay_exact(model: Decoder) -> None:
    """Second answers, given two frequent first ones: with guesses and without, neither comes again, and all others come
    in their conditional proportions (a chi-square test against the exact probabilities of the first two tokens)."""
    wish = Sampling(temperature=0.6, max_tokens=3)
    with Engine(model, max_slots=16, threads=1) as engine:
        firsts = [engine.generate(REPETITIVE, wish.model_copy(update={"seed": n})) for n in range(60)]
    common = [ids for ids, _ in Counter(tuple(one.ids) for one in firsts).most_common(2)]
    avoid = [next(Drawn(ids=one.ids, logprobs=one.logprobs) for one in firsts if tuple(one.ids) == ids)
             for ids in common]  # fmt: skip
    vocab = model.config.vocab_size
    with torch.inference_mode():
        first_V = (model(torch.tensor([REPETITIVE]))[0, -1] / 0.6).softmax(-1)
        behind = model(torch.tensor([[*REPETITIVE, token] for token in range(vocab)]))[:, -1]
        pairs_VV = (first_V[:, None] * (behind / 0.6).softmax(-1)).double().numpy()
    for one in avoid:
        pairs_VV[one.ids[0], one.ids[1]] -= np.exp(sum(one.logprobs))
    pairs_VV /= pairs_VV.sum()
    for speculate in (False, True):
        with Engine(model, max_slots=16, threads=1, speculate=speculate) as engine:
            engine._scheduler.costs.each = lambda sequences: 0.001
            asked = [engine.submit(REPETITIVE, wish.model_copy(update={"seed": 500 + n, "avoid": avoid}))
                     for n in range(800)]  # fmt: skip
            said = [tuple(ticket.result().ids) for ticket in asked]
            assert (engine.stats.drafted_tokens > 250) == speculate
        assert not set(said) & set(common)
        counts = Counter(ids[:2] for ids in said)
        often = [pair for pair in np.ndindex(vocab, vocab) if pairs_VV[pair] * len(said) >= 8]
        got = np.array([counts[pair] for pair in often] + [sum(counts[c] for c in counts if c not in often)])
        want = np.array([pairs_VV[pair] for pair in often])
        want = np.append(want, 1 - want.sum()) * len(said)
        chi2, freedom = float(((got - want) ** 2 / want).sum()), len(got) - 1
        assert freedom >= 10
        assert chi2 < freedom + 4 * (2 * freedom) ** 0.5 + 4


@pytest.mark.parametrize("weights", [None, "int8"])
def test_a_seed_gives_the_same_text_whatever_else_runs(model: Decoder, weights: WeightFormat | None) -> None:
    """With guesses, draws without replacement and a crowd that comes and goes."""
    drawn = Drawn(ids=[5, 6], logprobs=[-0.5, -0.5])
    wishes = [(REPETITIVE[: 20 + n], Sampling(seed=n, max_tokens=24, temperature=0.7, top_p=0.9, avoid=[drawn]))
              for n in range(10)]  # fmt: skip
    with Engine(model, max_slots=8, threads=2, speculate=True, weights=weights) as engine:
        engine._scheduler.costs.each = lambda sequences: 0.001
        crowd = [engine.submit(ids, wish) for ids, wish in wishes]
        together = [ticket.result() for ticket in crowd]
    with Engine(model, max_slots=1, threads=1, weights=weights) as engine:
        for one, (ids, wish) in zip(together, wishes):
            assert one.ids == engine.generate(ids, wish).ids


def test_logits_of_several_positions(model: Decoder) -> None:
    for kind in ("cpu", "torch"):
        with Engine(model, max_slots=3, threads=2, runner=kind) as engine:
            runner = engine._runner
            pieces = [Piece(0, 0, [3, 4, 5, 6]), Piece(1, 0, [7, 8]), Piece(2, 0, [9, 10, 11])]
            together = runner.step(pieces, [2, 0], [2, 3])
            alone = [runner.step([Piece(2, 0, [9, 10])], [0]), runner.step([Piece(2, 0, [9, 10, 11])], [0]),
                     *(runner.step([Piece(0, 0, [3, 4, 5, 6][:n])], [0]) for n in (2, 3, 4))]  # fmt: skip
            for row, single in zip(together, alone):
                assert np.allclose(row, single[0], atol=1e-4)
