"""Copying drills: random tokens, then spans of them again. Made from nothing; they hold no text.

Quoting what stands in the context is most of what an edit consists of, and a small model learns it late from text,
where frequent words explain so much that the circuit for looking back is hardly rewarded. Here nothing else helps, and
it is there after some 10^5 tokens (docs/LOG.md has the numbers). Cf. Olsson et al., arXiv 2209.11895.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

LENGTH, SPAN = (30, 120), (6, 24)
AGAIN = 1.2
"""Copied tokens for each token of the original."""


def copy_documents(count: int, vocabulary: range, bos: int, seed: int) -> Iterator[tuple[list[int], list[float]]]:
    """(ids, loss weights) of `count` drills over the ids in `vocabulary`; the first token of a span says which it is,
    so that it is not learnt."""
    rng = random.Random(f"{seed}/copying")
    for _ in range(count):
        length = rng.randint(*LENGTH)
        original = [rng.choice(vocabulary) for _ in range(length)]
        ids, weights = [bos, *original], [0.0] * (length + 1)
        while len(ids) < (1 + AGAIN) * length:
            size = rng.randint(*SPAN)
            start = rng.randint(0, length - size)
            ids += original[start : start + size]
            weights += [0.0] + [1.0] * (size - 1)
        yield ids, weights
