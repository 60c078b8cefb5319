import pytest

from vivace.core.types import Attempt, Grade, Trajectory
from vivace.rl.advantage import NOTHING_VOID, advantages, informative, void_advantage


def test_equal_rewards_teach_nothing() -> None:
    assert advantages([0.75, 0.75, 0.75]) == [0.0, 0.0, 0.0]
    assert not informative([0.75, 0.75, 0.75])
    assert not informative([1.0, None, None])
    assert informative([1.0, None, 0.0])


def test_centred_without_std() -> None:
    assert advantages([1.0, 0.0, 0.0, 0.0]) == [0.75, -0.25, -0.25, -0.25]
    small = advantages([1.0, 0.99])
    assert small == pytest.approx([0.005, -0.005])


def attempt(turns: int, taken_back: int) -> Attempt:
    return Attempt(task_id="t", repo="r", trajectory=Trajectory(task_id="t", turns=turns, taken_back=taken_back),
                   grade=Grade(status="failed"))


def test_void_answers_cost_their_price_and_the_mean_over_answers_is_zero() -> None:
    group = [attempt(4, 1), attempt(8, 5), attempt(3, 0)]
    kept, taken_back = void_advantage(group, 0.3)
    assert kept - taken_back == pytest.approx(0.3)
    assert 9 * kept + 6 * taken_back == pytest.approx(0.0)
    assert void_advantage(group, 0.0) == void_advantage([attempt(3, 0)], 0.3) == NOTHING_VOID
    assert void_advantage([attempt(3, 3)], 0.3) == (pytest.approx(0.3), pytest.approx(0.0))  # nothing to compare with


def test_infra_leaves_the_baseline_unchanged() -> None:
    without = advantages([1.0, 0.0, 0.5])
    with_infra = advantages([1.0, None, 0.0, 0.5, None])
    assert with_infra == [without[0], None, without[1], without[2], None]
    assert advantages([None, None]) == [None, None]
