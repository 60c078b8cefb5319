"""Draw an answer that is none of those already drawn, from the model's distribution conditioned on that.

An answer that was tried and did not help is worth no second try, and a confident model would offer it again and again.
Leaving out what was drawn, token by token and exactly, needs no more than the log probabilities it was drawn with: at
each step a token keeps the part of its probability that does not lead to an answer already seen (Shi, Bieber & Sutton,
"Incremental Sampling Without Replacement for Sequence Models", arXiv 2002.09067). With the same weights and sampling
settings this is drawing without replacement; after a weight swap it is near that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from vivace.core.errors import BadInput
from vivace.core.types import Drawn

Floats = NDArray[np.float32]
LEAST = 1e-6  # a smaller part of a token's probability is the rounding of log probabilities, not something left to draw


class WithoutReplacement:
    """The answers not to be drawn again, as far as they agree with what has been drawn in this one."""

    def __init__(self, avoid: Sequence[Drawn]) -> None:
        # masses[t]: probability of what follows token t in the answer, given the answer up to and with token t
        if any(len(one.ids) != len(one.logprobs) for one in avoid):
            raise BadInput("an answer in `avoid` must have one log probability for each id")
        self._live = [(one.ids, _masses(one.logprobs)) for one in avoid if one.ids]
        self._at = 0

    def thin(self, weights_V: Floats) -> Floats:
        """The weights of the next token without what leads to a drawn answer; unchanged if nothing would be left."""
        if not self._live:
            return weights_V
        thinned_V = weights_V.astype(np.float64)
        for ids, masses in self._live:
            thinned_V[ids[self._at]] -= float(weights_V[ids[self._at]]) * masses[self._at]
        thinned_V[thinned_V < LEAST * weights_V] = 0.0
        return thinned_V.astype(np.float32) if thinned_V.any() else weights_V

    def advance(self, token: int) -> None:
        """`token` was drawn: what does not go on with it is no longer met."""
        self._at += 1
        self._live = [(ids, masses) for ids, masses in self._live if ids[self._at - 1] == token and len(ids) > self._at]


def _masses(logprobs: Sequence[float]) -> list[float]:
    """exp of the sum of the log probabilities after each position."""
    return [math.exp(after) for after in [*accumulate(reversed(logprobs[1:]), initial=0.0)][::-1]]
