"""Reward and length: hand numbers, and the promises of the formulas."""

import math
from typing import Any

import pytest

from vivace.core.types import Attempt, Grade, Segment, Trajectory
from vivace.rl.config import LengthConfig, RLConfig
from vivace.rl.length import cost, pressure, spent
from vivace.rl.reward import group_rewards


def attempt(status: Any, generated: int = 100, observed: int = 0, turns: int = 1, sample: int = 0) -> Attempt:
    mask = [0, 0] + [1] * generated + [0] * observed
    segment = Segment(ids=[5] * len(mask), mask=mask, logprobs=[0.0] * len(mask), turns=[-1] * len(mask))
    trajectory = Trajectory(task_id="t", segments=[segment], turns=turns)
    return Attempt(task_id="t", repo="r", sample=sample, trajectory=trajectory, grade=Grade(status=status))


LENGTH = LengthConfig(weight=0.25, threshold=0.25, sampled=1, observed=0.25, turn=50, unit=100, budget=800)
CONFIG = RLConfig(length=LENGTH)


def test_spent_counts_generated_read_and_turns_but_not_the_prompt() -> None:
    assert spent(attempt("solved", generated=100, observed=40, turns=2).trajectory, LENGTH) == 100 + 10 + 100


def test_concave_cost_by_hand() -> None:
    assert cost(0, LENGTH) == 0
    assert cost(300, LENGTH) == pytest.approx(0.5)  # (sqrt(1+3) - 1) / (sqrt(1+8) - 1)
    assert cost(800, LENGTH) == 1
    assert cost(9999, LENGTH) == 1
    assert cost(100, LENGTH) - cost(0, LENGTH) > cost(800, LENGTH) - cost(700, LENGTH)


def test_pressure_follows_the_pass_rate_and_the_effort() -> None:
    assert pressure(0.24, LENGTH) == 0
    assert pressure(0.5, LENGTH) == 0.125
    assert pressure(1.0, LENGTH, "low") == 0.5
    assert pressure(1.0, LENGTH, "high") == pytest.approx(0.05)
    assert pressure(1.0, LengthConfig(weight=0.9), "low") < 1


def test_rewards_by_hand() -> None:
    group = [attempt("solved", 250), attempt("failed", 250), attempt("budget", 750), attempt("solved", 750)]
    result = group_rewards(group, CONFIG)  # rho 1/2, pressure 0.125; x = 300 costs 1/2, x = 800 costs 1
    assert result.pass_rate == 0.5
    assert result.rewards == pytest.approx([1 - 0.0625, -0.0625, -0.125, 1 - 0.125])


def test_an_edit_in_vain_earns_the_effect_and_nothing_from_a_coin() -> None:
    idle, vain, right = attempt("failed", 250), attempt("failed", 250, sample=1), attempt("solved", 250, sample=2)
    for one in (vain, right):
        one.trajectory.patch = "-a\n+b\n"
    free = RLConfig(length=LengthConfig(weight=0.0), effect=0.2)
    result = group_rewards([idle, vain, right], free)
    assert result.rewards == [0.0, 0.2, 1.0]
    assert result.pass_rate == pytest.approx(1 / 3)
    assert set(group_rewards([idle, vain] * 8, free.model_copy(update={"reward": "random"})).rewards) <= {0.0, 1.0}


def test_infra_changes_nothing_for_the_others() -> None:
    group = [attempt("solved", 250), attempt("failed", 250)]
    alone = group_rewards(group, CONFIG)
    crowded = group_rewards([attempt("infra"), *group, attempt("infra")], CONFIG)
    assert crowded.rewards == [None, *alone.rewards, None]
    assert (crowded.pass_rate, crowded.valid) == (alone.pass_rate, 2)
    assert group_rewards([attempt("infra")], CONFIG).valid == 0


def test_a_failure_never_outranks_a_solution() -> None:
    for weight in (0.0, 0.25, 0.9):
        config = RLConfig(length=LengthConfig(weight=weight))
        for effort in (None, "low", "medium", "high"):
            group = [attempt("solved", 5000, turns=99), attempt("failed", 1)]
            long_solution, short_failure = group_rewards(group, config, effort).rewards
            assert long_solution is not None
            assert short_failure is not None
            assert long_solution > short_failure


def test_truncated_rollouts_train() -> None:
    rewards = group_rewards([attempt("budget"), attempt("solved")], CONFIG).rewards
    assert rewards[0] is not None


def test_tampering_is_a_gate_not_a_deduction() -> None:
    honest, hack = attempt("solved"), attempt("solved")
    hack.grade.scores["tamper"] = 1.0
    result = group_rewards([honest, hack], RLConfig(length=LengthConfig(weight=0)))
    assert result.rewards == [1.0, 0.0]
    assert result.pass_rate == 0.5


def test_only_solved_spares_failures() -> None:
    config = RLConfig(length=LENGTH.model_copy(update={"only_solved": True}))
    rewards = group_rewards([attempt("solved", 250), attempt("failed", 750)], config).rewards
    assert rewards == pytest.approx([1 - 0.0625, 0.0])


def test_random_reward_is_a_seeded_coin_that_ignores_the_tests() -> None:
    config = RLConfig(reward="random", length=LengthConfig(weight=0))
    solved = [group_rewards([attempt("solved", sample=i)], config).rewards[0] for i in range(200)]
    failed = [group_rewards([attempt("failed", sample=i)], config).rewards[0] for i in range(200)]
    assert solved == failed
    assert 70 < sum(value or 0 for value in solved) < 130
    assert math.isclose(sum(value or 0 for value in solved) % 1, 0)
