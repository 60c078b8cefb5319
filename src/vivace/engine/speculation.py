"""Speculation without a draft model: what followed the same words before is guessed to follow again.

A guess is verified by drawing from the model's own distribution at each of its positions, with the request's own random
stream, for as long as the draw agrees with the guess. So what comes out is what would have come out without it: the
distribution is exact, and a seed gives the same text (up to rounding ties). Only time depends on the guesses.

Prompt lookup: Saxena 2023; suffix decoding: Oliaro et al., arXiv 2411.04975. Verifying a token is not free on a CPU, so
the length of a guess follows how long the match was, how often guesses held, and what a token more costs here.
"""

from __future__ import annotations

from collections.abc import Sequence

GRAM = 3  # tokens that must agree before anything is guessed
LONGEST = 16  # tokens of a guess
LENGTHS = (1, 2, 3, 4, 6, 8, 12, LONGEST)
DECAY = 0.9


class Drafter:
    """Guesses for one sequence, from its own ids and from `extra` (text that is expected to come, such as a file that
    is to be rewritten)."""

    def __init__(self, extra: Sequence[int] = ()) -> None:
        self._extra = list(extra)
        self._ends: dict[tuple[int, ...], int] = {}  # gram -> where it last ended, in extra + ids
        self._indexed = 0
        self._held, self._tried = 1.0, 1.5

    @property
    def rate(self) -> float:
        """Estimated probability that the next guessed token holds."""
        return self._held / self._tried

    def draft(self, ids: Sequence[int], longest: int) -> list[int]:
        """Up to `longest` tokens that may follow `ids`; not more than agreed before them."""
        size = len(self._extra) + len(ids)
        self._index(ids, size)
        if size < GRAM or longest < 1:
            return []
        at = self._ends.get(tuple(self._slice(ids, size - GRAM, size)))
        if at is None:
            return []
        match = GRAM
        while match < min(longest, at) and self._token(ids, at - match - 1) == self._token(ids, size - match - 1):
            match += 1
        period = size - at
        return [self._token(ids, at + i % period) for i in range(min(longest, match))]

    def learn(self, drafted: int, held: int) -> None:
        """`held` of `drafted` tokens came; the first that did not counts, what stands behind it says nothing."""
        self._held = self._held * DECAY + held
        self._tried = self._tried * DECAY + min(drafted, held + 1)

    def rest(self) -> None:
        """Nothing was worth guessing: confidence comes back slowly, or it would never be tried again."""
        self._held += 0.02 * (self._tried - self._held)

    def _index(self, ids: Sequence[int], size: int) -> None:
        for end in range(max(GRAM, self._indexed), size):
            self._ends[tuple(self._slice(ids, end - GRAM, end))] = end
        self._indexed = max(self._indexed, size)

    def _token(self, ids: Sequence[int], at: int) -> int:
        shift = len(self._extra)
        return self._extra[at] if at < shift else ids[at - shift]

    def _slice(self, ids: Sequence[int], start: int, end: int) -> list[int]:
        shift = len(self._extra)
        if start >= shift:
            return list(ids[start - shift : end - shift])
        return [self._token(ids, at) for at in range(start, end)]


class Costs:
    """What a step costs by its tokens, measured while it runs: seconds = base + each * tokens."""

    def __init__(self, share: float = 0.2) -> None:
        self._share = share  # of a one-token step for each token more, until it is measured
        self._plain: tuple[float, float] | None = None
        self._drafted: tuple[float, float] | None = None

    def saw(self, tokens: int, drafted: int, seconds: float) -> None:
        """One step that only decoded."""
        if drafted:
            self._drafted = _mean(self._drafted, tokens, seconds)
        else:
            self._plain = _mean(self._plain, tokens, seconds)

    def each(self, sequences: int) -> float:
        """Cost of one token more, as a share of a step that gives each of `sequences` one token."""
        share = self._share / sequences
        if self._plain and self._drafted and self._drafted[0] > self._plain[0] + 0.5:
            each = (self._drafted[1] - self._plain[1]) / (self._drafted[0] - self._plain[0])
            step = self._plain[1] + each * (sequences - self._plain[0])
            if each > 0 and step > 0:
                share = each / step
        return min(max(share, 0.01), 1.0)

    def best_length(self, rate: float, sequences: int) -> int:
        """Tokens to guess for one of `sequences`, at this rate of holding: what yields most tokens per second."""
        each = self.each(sequences)
        best, most = 1.0, 0
        for length in LENGTHS:
            expected = sum(rate**i for i in range(1, length + 1)) / sequences
            speed = (1 + expected) / (1 + each * length)
            if speed > best * 1.02:
                best, most = speed, length
        return most


def _mean(old: tuple[float, float] | None, tokens: float, seconds: float) -> tuple[float, float]:
    if old is None:
        return tokens, seconds
    return old[0] * DECAY + tokens * (1 - DECAY), old[1] * DECAY + seconds * (1 - DECAY)
