"""Every number here is known from tables, from algebra, or from an independent hand calculation."""

import math
import random

import pytest

from vivace.evals import stats
from vivace.evals.student import incomplete_beta, t_cdf, t_quantile


@pytest.mark.parametrize(
    ("p", "df", "expected"),
    [(0.975, 1, 12.7062047362), (0.975, 4, 2.7764451052), (0.975, 10, 2.2281388520), (0.95, 30, 1.6972608866),
     (0.975, 1000, 1.9623390808), (0.005, 5, -4.0321429836)],
)
def test_t_quantiles_match_the_tables(p: float, df: int, expected: float) -> None:
    assert t_quantile(p, df) == pytest.approx(expected, rel=1e-8)


def test_t_distribution_closed_forms() -> None:
    for x in (-3.0, -0.2, 0.7, 5.0):
        assert t_cdf(x, 1) == pytest.approx(0.5 + math.atan(x) / math.pi, abs=1e-12)
        assert t_cdf(x, 2) == pytest.approx(0.5 + x / (2 * math.sqrt(2 + x * x)), abs=1e-12)
    assert incomplete_beta(2, 3, 0.4) == pytest.approx(0.5248, abs=1e-12)  # polynomial: 6x^2 - 8x^3 + 3x^4


def test_wilson_known_values() -> None:
    interval = stats.wilson(8, 10)
    assert interval.ci95 == pytest.approx([0.4901625, 0.9433178], abs=1e-6)
    assert stats.wilson(0, 10).ci95 == pytest.approx([0.0, 0.2775328], abs=1e-6)
    assert stats.wilson(0, 0).ci95 == [0.0, 1.0]
    assert stats.wilson(10, 10).high == 1.0


def test_paired_t_by_hand() -> None:
    a, b = [1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 5.0, 5.0]
    # differences 1 0 2 1: mean 1, sd sqrt(2/3), se sqrt(2/3)/2, t(3) = 3.18244630528
    interval = stats.paired_difference(a, b)
    half = 3.18244630528 * math.sqrt(2 / 3) / 2
    assert interval.value == 1.0
    assert interval.ci95 == pytest.approx([1 - half, 1 + half], rel=1e-9)


def test_clusters_of_identical_items_count_once() -> None:
    values = [0.0, 1.0, 1.0, 0.0, 1.0]
    plain = stats.mean_interval(values)
    tripled = stats.mean_interval([v for v in values for _ in range(3)], list("aaabbbcccdddeee"))
    assert tripled.ci95 == pytest.approx(plain.ci95, rel=1e-12)
    naive = stats.mean_interval([v for v in values for _ in range(3)])
    assert naive.half < plain.half / 1.5


def test_one_item_or_one_cluster_bounds_nothing() -> None:
    assert stats.mean_interval([0.3]).half == math.inf
    assert stats.mean_interval([0.3, 0.9], ["r", "r"]).half == math.inf


def test_mcnemar_known_values() -> None:
    assert stats.mcnemar(0, 0) == 1.0
    assert stats.mcnemar(1, 9) == pytest.approx(22 / 1024)
    assert stats.mcnemar(9, 1) == stats.mcnemar(1, 9)
    assert stats.mcnemar(0, 6) == pytest.approx(2 / 64)


def test_bootstrap_of_a_mean_agrees_with_the_normal_interval() -> None:
    rng = random.Random(5)
    values = [rng.gauss(10, 2) for _ in range(400)]
    boot = stats.bootstrap_ratio(values, [1.0] * 400)
    exact = stats.mean_interval(values)
    assert boot.value == pytest.approx(exact.value)
    assert boot.ci95 == pytest.approx(exact.ci95, abs=0.03)
    assert stats.bootstrap_ratio(values, [1.0] * 400) == boot  # seeded


def test_tokens_per_solved_is_infinite_where_a_draw_solves_nothing() -> None:
    interval = stats.bootstrap_ratio([100, 200, 300], [0, 1, 0])
    assert interval.value == 600
    assert interval.high == math.inf
    assert math.isnan(stats.bootstrap_ratio([5, 5], [0, 0]).value)


def test_token_ratio_is_geometric_and_antisymmetric() -> None:
    a, b = [100.0, 100.0, 400.0], [50.0, 200.0, 200.0]
    forward, back = stats.token_ratio(a, b), stats.token_ratio(b, a)
    assert forward.value == pytest.approx((0.5 * 2 * 0.5) ** (1 / 3))
    assert forward.value * back.value == pytest.approx(1)
    assert forward.low * back.high == pytest.approx(1, rel=0.02)


def test_intervals_cover_as_promised() -> None:
    rng = random.Random(1)
    hits_wilson = hits_t = 0
    for _ in range(400):
        a = [float(rng.random() < 0.4) for _ in range(60)]
        b = [float(rng.random() < 0.55) if rng.random() < 0.5 else x for x in a]
        hits_wilson += (lambda i: i.low <= 0.4 <= i.high)(stats.wilson(int(sum(a)), 60))
        hits_t += (lambda i: i.low <= 0.075 <= i.high)(stats.paired_difference(a, b))
    assert hits_wilson >= 370
    assert hits_t >= 370
