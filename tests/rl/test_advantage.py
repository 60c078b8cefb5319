import pytest

from vivace.rl.advantage import advantages, informative, taken_back_advantage


def test_equal_rewards_teach_nothing() -> None:
    assert advantages([0.75, 0.75, 0.75]) == [0.0, 0.0, 0.0]
    assert not informative([0.75, 0.75, 0.75])
    assert not informative([1.0, None, None])
    assert informative([1.0, None, 0.0])


def test_centred_without_std() -> None:
    assert advantages([1.0, 0.0, 0.0, 0.0]) == [0.75, -0.25, -0.25, -0.25]
    small = advantages([1.0, 0.99])
    assert small == pytest.approx([0.005, -0.005])


def test_answers_taken_back_are_never_reinforced() -> None:
    assert taken_back_advantage(0.75, 0.05) == pytest.approx(-0.05)  # in a rollout that was solved
    assert taken_back_advantage(-0.25, 0.05) == pytest.approx(-0.3)


def test_infra_leaves_the_baseline_unchanged() -> None:
    without = advantages([1.0, 0.0, 0.5])
    with_infra = advantages([1.0, None, 0.0, 0.5, None])
    assert with_infra == [without[0], None, without[1], without[2], None]
    assert advantages([None, None]) == [None, None]
