"""Coverage of the paired 95% intervals: share of simulated studies whose interval holds the true difference.

`python benchmarks/interval_coverage.py [STUDIES]`. A study has 120 items with a difficulty each (30 clusters of 2 to 6
items where clustered, with an effect of their own on both models and on their difference), two models, three repeats;
the truth is the mean difference over 400,000 items of the same kind.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from vivace.evals.stats import paired_difference

ITEMS, CLUSTERS, REPEATS, GAIN = 120, 30, 3, 0.4
Array = NDArray[np.float64]


def chances(rng: np.random.Generator, labels: NDArray[np.int64], clustered: bool) -> tuple[Array, Array]:
    """Pass probabilities of both models on every item: logistic in a shared difficulty, and effects of the cluster."""
    n = len(labels)
    shared, gain = rng.normal(0, 1.2, n), rng.normal(GAIN, 0.5, n)
    if clustered:
        groups = int(labels.max()) + 1
        shared = shared + rng.normal(0, 1.0, groups)[labels]
        gain = gain + rng.normal(0, 0.8, groups)[labels]
    return 1 / (1 + np.exp(-shared)), 1 / (1 + np.exp(-(shared + gain)))


def sizes(rng: np.random.Generator, groups: int) -> NDArray[np.int64]:
    return np.repeat(np.arange(groups), rng.integers(2, 7, size=groups))


def coverage(studies: int, *, clustered: bool, seed: int = 0) -> float:
    """Share of `studies` whose interval holds the truth."""
    rng = np.random.default_rng(seed)
    many = sizes(rng, 100_000) if clustered else np.arange(400_000)
    a, b = chances(rng, many, clustered)
    truth, held = float(np.mean(b - a)), 0
    for _ in range(studies):
        labels = sizes(rng, CLUSTERS) if clustered else np.arange(ITEMS)
        a, b = chances(rng, labels, clustered)
        means = [rng.binomial(REPEATS, p) / REPEATS for p in (a, b)]
        clusters = labels.astype(str).tolist() if clustered else None
        found = paired_difference(means[0].tolist(), means[1].tolist(), clusters)
        held += found.low <= truth <= found.high
    return held / studies


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    for kind in (False, True):
        print(f"{'clustered' if kind else 'paired':9} {count} studies: {100 * coverage(count, clustered=kind):.2f}%")
