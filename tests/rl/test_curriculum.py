import json
from collections import Counter

import pytest

from vivace.rl.config import CurriculumConfig
from vivace.rl.curriculum import Curriculum


def seeded(solved: int = 0, learnable: int = 0, unseen: int = 0, hopeless: int = 0) -> Curriculum:
    names = ([f"solved{i}" for i in range(solved)] + [f"mid{i}" for i in range(learnable)]
             + [f"new{i}" for i in range(unseen)] + [f"hard{i}" for i in range(hopeless)])
    curriculum = Curriculum(names, CurriculumConfig(), seed=1)
    for name in names:
        rate = {"solved": 1.0, "mid": 0.5, "hard": 0.0}.get(name.rstrip("0123456789"))
        if rate is not None:
            curriculum.record(name, rate, step=0)
    return curriculum


def test_shares_are_70_20_10() -> None:
    curriculum = seeded(solved=200, learnable=400, unseen=400, hopeless=200)
    kinds: Counter[str] = Counter()
    for step in range(1, 101):
        kinds.update(name.rstrip("0123456789") for name in curriculum.draw(step, 10))
    assert (kinds["mid"], kinds["new"], kinds["solved"] + kinds["hard"]) == (700, 200, 100)


def test_small_counts_are_fair_on_average() -> None:
    curriculum = seeded(solved=50, learnable=50, unseen=50)
    kinds: Counter[str] = Counter()
    for step in range(1, 801):
        kinds.update(name.rstrip("0123456789") for name in curriculum.draw(step, 2))
    assert kinds["mid"] == pytest.approx(1120, rel=0.06)
    assert kinds["solved"] == pytest.approx(160, rel=0.3)


def test_a_short_bucket_hands_its_share_on() -> None:
    assert len(set(seeded(unseen=5).draw(1, 4))) == 4
    assert len(seeded(learnable=2, solved=9).draw(1, 8)) == 8
    assert len(seeded(unseen=3).draw(1, 8)) == 3


def test_the_longest_unvisited_come_first() -> None:
    curriculum = seeded(learnable=20)
    for step in range(1, 4):
        for name in curriculum.draw(step, 6):
            curriculum.record(name, 0.5, step)
    assert sum(seen.visits > 1 for seen in curriculum.ledger.values()) == 18


def test_running_rate_moves_tasks_between_buckets() -> None:
    curriculum = Curriculum(["t"], CurriculumConfig(memory=0.5), seed=0)
    curriculum.record("t", 1.0, 0)
    assert curriculum.buckets()[2] == ["t"]
    curriculum.record("t", 0.5, 1)
    assert curriculum.ledger["t"].pass_rate == 0.75
    assert curriculum.buckets()[0] == ["t"]


def test_state_survives_json_and_draws_the_same() -> None:
    curriculum = seeded(solved=5, learnable=30, unseen=10)
    other = Curriculum(list(curriculum.ledger), CurriculumConfig(), seed=1)
    other.load(json.loads(json.dumps(curriculum.state())))
    assert other.draw(7, 10) == curriculum.draw(7, 10)
    assert other.draw(8, 10) != curriculum.draw(7, 10)
