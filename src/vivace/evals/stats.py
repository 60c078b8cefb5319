"""Statistics of pass rates and tokens: intervals, paired differences, exact tests.

Items are tasks; `clusters` (one label an item, usually the repository) widens an interval to what the number
of independent groups supports. Methods follow Miller, "Adding error bars to evals" (arXiv 2411.00640).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vivace.evals.student import t_quantile

Z95 = 1.959963984540054
DRAWS = 10_000
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A point estimate with its 95% interval, in the unit of the values."""

    value: float
    low: float
    high: float
    n: int

    @property
    def ci95(self) -> list[float]:
        return [self.low, self.high]

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2


def wilson(successes: int, n: int, z: float = Z95) -> Interval:
    """Wilson score interval of a proportion; [0, 1] when nothing was tried (Wilson 1927)."""
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(p, low, high, n)


def mean_interval(values: Sequence[float], clusters: Sequence[str] | None = None) -> Interval:
    """Mean with a t interval; with clusters, the cluster-robust error and (clusters - 1) degrees of freedom.

    Unbounded with fewer than two items (or clusters): one group says nothing about another.
    """
    x = np.asarray(values, dtype=float)
    if not len(x):
        return Interval(math.nan, -math.inf, math.inf, 0)
    mean = float(x.mean())
    sums = _cluster_sums(x - mean, clusters)
    groups = len(sums)
    if groups < 2:
        return Interval(mean, -math.inf, math.inf, len(x))
    error = math.sqrt(float((sums**2).sum()) * groups / (groups - 1)) / len(x)
    half = t_quantile(0.975, groups - 1) * error
    return Interval(mean, mean - half, mean + half, len(x))


def paired_difference(
    a: Sequence[float], b: Sequence[float], clusters: Sequence[str] | None = None
) -> Interval:
    """Mean of b - a over the same items (a value is an item's mean over its repeats): paired t interval."""
    if len(a) != len(b):
        raise ValueError(f"paired values differ in number: {len(a)} and {len(b)}")
    return mean_interval(np.subtract(b, a).tolist(), clusters)


def bootstrap_ratio(
    numerators: Sequence[float],
    denominators: Sequence[float],
    clusters: Sequence[str] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """sum(numerators) / sum(denominators) with a percentile bootstrap over items (or whole clusters).

    With denominators of 1 this is a mean; with tokens over solved flags it is tokens per solved task. A draw
    whose denominator is zero (nothing solved) counts as infinite, so the interval stays honest.
    """
    top = _cluster_sums(np.asarray(numerators, dtype=float), clusters)
    low = _cluster_sums(np.asarray(denominators, dtype=float), clusters)
    if not len(top) or low.sum() == 0:
        return Interval(math.nan, -math.inf, math.inf, len(numerators))
    picks = np.random.default_rng(seed).integers(0, len(top), size=(draws, len(top)))
    tops, lows = top[picks].sum(axis=1), low[picks].sum(axis=1)
    ratios = np.full(draws, math.inf)
    np.divide(tops, lows, out=ratios, where=lows > 0)
    ends = np.quantile(ratios, [0.025, 0.975], method="nearest")  # infinities cannot be interpolated
    return Interval(float(top.sum() / low.sum()), float(ends[0]), float(ends[1]), len(numerators))


def token_ratio(
    a: Sequence[float],
    b: Sequence[float],
    clusters: Sequence[str] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Geometric mean of b / a over the same items, with a bootstrap interval (counts are log-normal-like)."""
    if len(a) != len(b):
        raise ValueError(f"paired values differ in number: {len(a)} and {len(b)}")
    if not len(a):
        return Interval(math.nan, 0.0, math.inf, 0)
    logs = np.log(np.maximum(b, 1.0)) - np.log(np.maximum(a, 1.0))
    inner = bootstrap_ratio(logs.tolist(), [1.0] * len(logs), clusters, draws, seed)
    return Interval(math.exp(inner.value), math.exp(inner.low), math.exp(inner.high), len(a))


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided McNemar p-value from the two discordant counts (binomial with p = 1/2)."""
    n, k = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    return min(1.0, 2 * tail)


def sign_flip(differences: Sequence[float], clusters: Sequence[str] | None = None, draws: int = DRAWS,
              seed: int = 0) -> float:
    """Two-sided p of "the mean difference is zero": the signs of whole clusters (or items) are flipped at random.

    Exact over all sign patterns where there are at most 2^14, else by `draws` of them (Fisher's randomisation test).
    """
    sums = _cluster_sums(np.asarray(differences, dtype=float), clusters)
    sums = sums[sums != 0]  # a zero is the same with either sign
    if not len(sums):
        return 1.0
    if len(sums) <= 14:
        signs = 1.0 - 2.0 * ((np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))) & 1)
        return float(np.mean(np.abs(signs @ sums) >= abs(sums.sum()) - 1e-12))
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(draws, len(sums)))
    return float((1 + np.sum(np.abs(signs @ sums) >= abs(sums.sum()) - 1e-12)) / (1 + draws))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for as many comparisons, in the order given (Holm 1979): reject those below the level."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def pass_at(k: int, samples: int, solved: int) -> float:
    """Chance that at least one of k draws without repetition is solved: 1 - C(n-c, k) / C(n, k) (Chen et al. 2021)."""
    return 1.0 - math.comb(samples - solved, k) / math.comb(samples, k)


def pass_all(k: int, samples: int, solved: int) -> float:
    """Chance that all of k draws are solved: C(c, k) / C(n, k) (tau-bench's pass^k)."""
    return math.comb(solved, k) / math.comb(samples, k)


def _cluster_sums(values: Array, clusters: Sequence[str] | None) -> Array:
    """Values summed within each cluster; every item is its own cluster when none are given."""
    if clusters is None:
        return values
    if len(clusters) != len(values):
        raise ValueError(f"{len(values)} values, {len(clusters)} cluster labels")
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    return np.asarray(np.bincount(index, weights=values), dtype=np.float64)
