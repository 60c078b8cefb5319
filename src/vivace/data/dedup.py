"""Near-duplicate files: MinHash to find candidate pairs, true Jaccard to confirm them.

112 permutations in 14 bands of 8 (FineWeb's setting); candidates are checked on the exact 5-gram sets, without which
about four in ten would be false. All numpy; no dependency.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

BANDS, ROWS, GRAM = 14, 8, 5
WORD = re.compile(r"\w+")
Hashes = npt.NDArray[np.uint32]


def shingles(text: str, gram: int = GRAM) -> Hashes:
    """Sorted distinct 32-bit hashes of the text's word n-grams, shape (n,); shorter texts give one hash."""
    words = np.array([zlib.crc32(word.encode()) for word in WORD.findall(text)], dtype=np.uint64)
    if len(words) < gram:
        return np.array([zlib.crc32(text.encode())], dtype=np.uint32)
    count = len(words) - gram + 1
    value = np.zeros(count, dtype=np.uint64)
    for k in range(gram):
        value = value * np.uint64(0x9E3779B97F4A7C15) + words[k : k + count]
    value ^= value >> np.uint64(29)
    value *= np.uint64(0xBF58476D1CE4E5B9)
    return np.unique((value >> np.uint64(32)).astype(np.uint32))


def signature(hashes: Hashes, a: npt.NDArray[np.uint64], b: npt.NDArray[np.uint64]) -> Hashes:
    """MinHash of a shingle set under the permutations `a*x+b`, shape (permutations,)."""
    mixed = hashes.astype(np.uint64)[None, :] * a[:, None] + b[:, None]
    return (mixed >> np.uint64(32)).min(axis=1).astype(np.uint32)


def jaccard(x: Hashes, y: Hashes) -> float:
    """Jaccard similarity of two sorted sets."""
    both = len(np.intersect1d(x, y, assume_unique=True))
    return both / max(len(x) + len(y) - both, 1)


def near_duplicates(texts: Sequence[str], threshold: float, seed: int = 0) -> dict[int, int]:
    """Index of each text to drop, with the index of the earlier text it repeats (Jaccard at least `threshold`)."""
    rng = np.random.default_rng(seed)
    a = rng.integers(1, 2**63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    b = rng.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64)
    sets: dict[int, Hashes] = {}
    buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    dropped: dict[int, int] = {}
    for index, text in enumerate(texts):
        hashes = shingles(text)
        bands = signature(hashes, a, b).reshape(BANDS, ROWS)
        keys = [(band, bands[band].tobytes()) for band in range(BANDS)]
        candidates = sorted({other for key in keys for other in buckets[key]})
        twin = next((other for other in candidates if jaccard(hashes, sets[other]) >= threshold), None)
        if twin is not None:
            dropped[index] = twin
            continue
        sets[index] = hashes
        for key in keys:
            buckets[key].append(index)
    return dropped
