"""Draws follow the distribution, and log probabilities are those of what was drawn from."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from vivace.core.errors import BadInput, ModelError
from vivace.core.types import Drawn, Sampling
from vivace.engine.sampler import check, draw, nucleus, sample
from vivace.engine.without_replacement import WithoutReplacement

LOGITS = np.array([2.0, 1.0, 0.5, 0.0, -1.0, -3.0], dtype=np.float32)
DRAWS = 20_000


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def frequencies(sampling: Sampling) -> tuple[np.ndarray, dict[int, float]]:
    """Counts of DRAWS draws from one stream, and the log probability reported for each token."""
    stream = random.Random(0)
    tokens, logprobs = sample(np.tile(LOGITS, (DRAWS, 1)), [sampling] * DRAWS, [stream] * DRAWS)
    return np.bincount(tokens, minlength=len(LOGITS)), dict(zip(tokens, logprobs))


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 1.0), (1.5, 0.9), (1.0, 0.5), (2.0, 0.97)])
def test_frequencies_pass_a_chi_square_test(temperature: float, top_p: float) -> None:
    probs = softmax(LOGITS / temperature)
    kept = int((probs.cumsum() < top_p).sum()) + 1  # LOGITS are in falling order
    expected = np.where(np.arange(len(LOGITS)) < kept, probs, 0.0)
    expected /= expected.sum()
    counts, reported = frequencies(Sampling(temperature=temperature, top_p=top_p))
    assert counts[kept:].sum() == 0
    chi2 = ((counts - DRAWS * expected)[:kept] ** 2 / (DRAWS * expected[:kept])).sum()
    assert chi2 < 20.5  # 99.9th percentile with 5 degrees of freedom
    for token, logprob in reported.items():
        assert logprob == pytest.approx(math.log(expected[token]), abs=1e-5)


def test_a_wrong_distribution_would_fail_the_test_above() -> None:
    counts, _ = frequencies(Sampling(temperature=1.06))
    expected = softmax(LOGITS) * DRAWS
    assert ((counts - expected) ** 2 / expected).sum() > 20.5


def test_greedy_takes_the_mode_with_the_models_own_logprob() -> None:
    stream = random.Random(0)
    tokens, logprobs = sample(LOGITS[None], [Sampling(temperature=0, top_p=0.3)], [stream])
    assert tokens == [0]
    assert logprobs[0] == pytest.approx(math.log(softmax(LOGITS)[0]), abs=1e-6)
    assert stream.random() == random.Random(0).random()  # nothing was drawn


def test_rows_do_not_touch_each_other() -> None:
    logits = np.random.default_rng(0).normal(size=(8, 50)).astype(np.float32)
    kinds = [Sampling(), Sampling(temperature=0), Sampling(temperature=0.5, top_p=0.8), Sampling(top_p=0.2)] * 2
    together = sample(logits, kinds, [random.Random(i) for i in range(8)])
    alone = [sample(logits[i : i + 1], [kinds[i]], [random.Random(i)]) for i in range(8)]
    assert together[0] == [tokens[0] for tokens, _ in alone]
    assert together[1] == pytest.approx([logprobs[0] for _, logprobs in alone], abs=1e-6)


def test_nucleus_keeps_the_crossing_token_and_its_equals() -> None:
    weights = np.array([1, 4, 2, 2, 1], dtype=np.float32)
    assert nucleus(weights, 0.39).tolist() == [0, 4, 0, 0, 0]
    assert nucleus(weights, 0.5).tolist() == [0, 4, 2, 2, 0]
    assert nucleus(weights, 0.85).tolist() == weights.tolist()
    assert nucleus(weights, 1e-9).tolist() == [0, 4, 0, 0, 0]


def test_a_token_of_weight_zero_is_never_drawn() -> None:
    weights = np.array([0, 1, 0, 3, 0], dtype=np.float32)
    assert [draw(weights, u) for u in (0.0, 0.2499999, 0.25, 0.999, 1 - 2**-53)] == [1, 1, 3, 3, 3]


def test_very_unlikely_tokens_keep_a_finite_logprob() -> None:
    tokens, logprobs = sample(np.array([[80.0, -80.0]], dtype=np.float32), [Sampling()], [random.Random(0)])
    assert tokens == [0]
    assert logprobs == [0.0]


def test_broken_logits_are_an_error() -> None:
    with pytest.raises(ModelError, match="weights are broken"):
        sample(np.array([[0.0, math.nan]], dtype=np.float32), [Sampling()], [random.Random(0)])


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -0.1}, {"temperature": math.inf}, {"temperature": math.nan}, {"top_p": 0.0}, {"top_p": 1.2},
        {"max_tokens": 0},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        check(Sampling(**bad))


def tree(rng: np.random.Generator) -> dict[tuple[int, ...], np.ndarray]:
    """Logits for answers of two tokens out of three."""
    return {prefix: rng.normal(size=3).astype(np.float32) for prefix in [(), (0,), (1,), (2,)]}


def answer(logits: dict[tuple[int, ...], np.ndarray], avoid: list[Drawn], stream: random.Random) -> Drawn:
    seen, ids, logprobs = WithoutReplacement(avoid), [], []
    for _ in range(2):
        (token,), (logprob,) = sample(logits[tuple(ids)][None], [Sampling(temperature=0.7)], [stream], [seen])
        ids.append(token)
        logprobs.append(logprob)
    return Drawn(ids=ids, logprobs=logprobs)


def test_answers_are_drawn_without_replacement_until_none_is_left() -> None:
    logits, stream = tree(np.random.default_rng(1)), random.Random(2)
    drawn: list[Drawn] = []
    for _ in range(9):
        drawn.append(answer(logits, drawn, stream))
    assert len({tuple(one.ids) for one in drawn}) == 9
    assert sum(math.exp(sum(one.logprobs)) for one in drawn) == pytest.approx(1.0, abs=1e-5)
    assert tuple(answer(logits, drawn, stream).ids) in {tuple(one.ids) for one in drawn}  # rather than nothing at all


def test_what_is_left_keeps_its_proportions() -> None:
    logits, stream = tree(np.random.default_rng(3)), random.Random(4)
    first = {a: softmax(logits[()] / 0.7)[a] for a in range(3)}
    joint = {(a, b): first[a] * softmax(logits[(a,)] / 0.7)[b] for a in range(3) for b in range(3)}
    gone = sorted(joint, key=joint.get)[-2:]  # the two likeliest answers
    avoid = [Drawn(ids=list(pair), logprobs=[math.log(first[pair[0]]), math.log(joint[pair] / first[pair[0]])])
             for pair in gone]
    counts = Counter(tuple(answer(logits, avoid, stream).ids) for _ in range(DRAWS))
    left = {pair: value for pair, value in joint.items() if pair not in gone}
    chi2 = sum((counts[pair] - DRAWS * value / sum(left.values())) ** 2 / (DRAWS * value / sum(left.values()))
               for pair, value in left.items())
    assert not any(counts[pair] for pair in gone)
    assert chi2 < 22.5  # 99.9th percentile with 6 degrees of freedom
