"""From logits to tokens: temperature, nucleus, greedy; each row with its own random stream.

Rows are independent: a row's token depends on its logits and its stream alone, whatever else is in the batch.
In numpy, because for these sizes torch would wake threads and wait for them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vivace.core.errors import BadInput, ModelError
from vivace.core.types import Sampling
from vivace.engine.without_replacement import WithoutReplacement

Floats = NDArray[np.float32]
COLDEST = 1e-6  # a lower temperature is greedy all the same, and would divide by zero in fp32


def check(sampling: Sampling) -> None:
    """BadInput for values no distribution can be drawn with."""
    if not 0 <= sampling.temperature < math.inf:
        raise BadInput(f"temperature is {sampling.temperature}; use 0 for greedy, or a positive number")
    if not 0 < sampling.top_p <= 1:
        raise BadInput(f"top_p is {sampling.top_p}; it must be above 0 and at most 1")
    if sampling.max_tokens < 1:
        raise BadInput(f"max_tokens is {sampling.max_tokens}; ask for at least 1 token")


def sample(
    logits_BV: Floats, samplings: Sequence[Sampling], streams: Sequence[random.Random],
    seen: Sequence[WithoutReplacement] | None = None,
) -> tuple[list[int], list[float]]:
    """Tokens (B,) and their log probabilities (B,).

    A drawn token's log probability is after temperature and nucleus, and before what was `seen` in this row is left
    out; a greedy one's (temperature 0) is the model's own.
    One uniform number is taken from the stream of every row that is drawn. ModelError when logits are not numbers.
    """
    if not np.isfinite(logits_BV).all():
        raise ModelError("the model computes infinite or undefined logits; its weights are broken, load others")
    wanted = [max(s.temperature, COLDEST) if s.temperature else 1.0 for s in samplings]
    temperature_B1 = np.array(wanted, dtype=np.float32)[:, None]
    scores_BV = (logits_BV - logits_BV.max(-1, keepdims=True)) / temperature_B1
    weights_BV = np.exp(scores_BV)
    tokens, logprobs = [], []
    seen = seen or [WithoutReplacement([]) for _ in samplings]
    for scores_V, weights_V, sampling, stream, drawn in zip(scores_BV, weights_BV, samplings, streams, seen):
        if sampling.temperature == 0:
            token = int(scores_V.argmax())
        else:
            if sampling.top_p < 1:
                weights_V = nucleus(weights_V, sampling.top_p)
            token = draw(drawn.thin(weights_V), stream.random())
            drawn.advance(token)
        tokens.append(token)
        logprobs.append(float(scores_V[token]) - math.log(weights_V.sum()))
    return tokens, logprobs


def draw(weights_V: Floats, uniform: float) -> int:
    """Inverse of the cumulated weights at `uniform` in [0, 1). A weight of 0 has no interval and is never drawn."""
    cumulated_V = weights_V.cumsum()
    total = cumulated_V[-1]
    point = min(np.float32(uniform * total), np.nextafter(total, np.float32(0)))  # rounding must not reach the end
    return int(cumulated_V.searchsorted(point, side="right"))


def nucleus(weights_V: Floats, top_p: float) -> Floats:
    """Keep the largest weights until they hold top_p of the sum (Holtzman et al., arXiv 1904.09751); 0 elsewhere.

    The one that crosses top_p is kept, and so are those exactly as large as it is.
    """
    falling_V = np.sort(weights_V)[::-1]
    mass_V = falling_V.cumsum()
    last = min(int(mass_V.searchsorted(np.float32(top_p * mass_V[-1]))), len(weights_V) - 1)
    return np.where(weights_V >= falling_V[last], weights_V, np.float32(0))
