"""The loop on a toy with the real engine: it learns, its controls do not, and it survives being killed."""

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from letters_world import run_toy, toy_config, toy_model, toy_play, toy_task
from pydantic import ValidationError

from vivace.core.errors import BadInput, InfraError
from vivace.core.files import read_jsonl
from vivace.core.protocols import Client
from vivace.core.types import Attempt, Grade, Task
from vivace.model.decoder import Decoder


def weights(model: Decoder) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pass_rates(rows: list[dict[str, Any]]) -> tuple[float, float]:
    return sum(row["pass_rate"] for row in rows[:4]) / 4, sum(row["pass_rate"] for row in rows[-4:]) / 4


@pytest.mark.slow
def test_it_learns_through_engine_and_loss(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    config = toy_config(steps=18, group=12, workers=4, lr=4e-2)
    _, result = run_toy(tmp_path, config, rows=rows)
    first, last = pass_rates(rows)
    assert first < 0.3
    assert last > 0.8
    assert result.steps == 18
    assert result.rollouts == 18 * 24
    assert max(row.get("abs_mismatch", 0) for row in rows) < 1e-4  # sampler and trainer agree
    assert all(row.get("masked_fraction", 0) == 0 for row in rows)


@pytest.mark.slow
def test_the_random_reward_does_not_improve_the_tests(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    run_toy(tmp_path, toy_config(steps=12, group=12, reward="random", workers=4, lr=4e-2), rows=rows)
    first, last = pass_rates(rows)
    assert last < 0.5
    assert abs(last - first) < 0.35
    assert any(row["groups_used"] for row in rows)


def test_lr_zero_leaves_the_weights_alone(tmp_path: Path) -> None:
    for optimizer in ("adamw", "muon"):
        model, _ = run_toy(tmp_path / optimizer, toy_config(steps=2, lr=0.0, optimizer=optimizer))
        assert torch.equal(weights(model), weights(toy_model(model.config.vocab_size)))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_kill_and_resume_equals_an_uninterrupted_run(tmp_path: Path, optimizer: str) -> None:
    config = toy_config(steps=5, optimizer=optimizer)
    whole_rows: list[dict[str, Any]] = []
    whole, _ = run_toy(tmp_path / "whole", config, rows=whole_rows)

    def die(row: dict[str, Any]) -> None:
        if row["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_toy(tmp_path / "killed", config, log=die)
    rows: list[dict[str, Any]] = []
    resumed, result = run_toy(tmp_path / "killed", config, rows=rows)
    assert [row["step"] for row in rows] == [3, 4, 5]  # step 3 died before it was saved: done again
    # The engine starts with an empty prefix cache after a resume, and rounds what it computes anew otherwise.
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=1e-5)
    for row, other in zip(rows, whole_rows[2:], strict=True):
        assert row.keys() == other.keys()
        for key in row.keys() - {"seconds", "rollout_seconds"}:
            same = row[key] == other[key]  # None too: there may be no solved attempt to count the tokens of
            assert same or row[key] == pytest.approx(other[key], rel=1e-4, abs=1e-5), key
    assert result.rollouts == 5 * 16
    ledgers = [torch.load(tmp_path / name / "state" / "state-00000005.pt")["ledger"] for name in ("whole", "killed")]
    assert ledgers[0] == ledgers[1]


def test_ctrl_c_during_rollouts_saves(tmp_path: Path) -> None:
    calls = 0

    def play(task: Task, client: Client, *, seed: int, sample: int) -> Attempt:
        nonlocal calls
        calls += 1
        if calls == 40:
            raise KeyboardInterrupt
        return toy_play(task, client, seed=seed, sample=sample)

    config = toy_config(steps=9, save_every=100)
    with pytest.raises(KeyboardInterrupt):
        run_toy(tmp_path, config, play=play)
    assert (tmp_path / "state" / "state-00000002.pt").exists()


def test_a_signal_during_rollouts_saves_and_says_what_it_waits_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = 0

    def play(task: Task, client: Client, *, seed: int, sample: int) -> Attempt:
        nonlocal calls
        calls += 1
        attempt = toy_play(task, client, seed=seed, sample=sample)
        if calls == 20:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(1)
        return attempt

    with pytest.raises(KeyboardInterrupt):
        run_toy(tmp_path, toy_config(steps=9, save_every=100), play=play)
    assert calls == 20
    assert (tmp_path / "state" / "state-00000001.pt").exists()
    assert "finishing 1 attempts that are under way" in capsys.readouterr().err


def test_infra_is_excluded_counted_and_never_a_zero(tmp_path: Path) -> None:
    def play(task: Task, client: Client, *, seed: int, sample: int) -> Attempt:
        attempt = toy_play(task, client, seed=seed, sample=sample)
        grade = Grade(status="infra") if sample % 2 else Grade(status="solved")
        return attempt.model_copy(update={"grade": grade})

    rows: list[dict[str, Any]] = []
    model, _ = run_toy(tmp_path, toy_config(steps=2), play=play, rows=rows)
    assert [row["infra"] for row in rows] == [8, 8]
    assert [row["pass_rate"] for row in rows] == [1.0, 1.0]
    assert [row["groups_used"] for row in rows] == [0, 0]  # the solved ones agree: nothing to learn
    assert torch.equal(weights(model), weights(toy_model(model.config.vocab_size)))


def test_a_step_of_nothing_but_infra_stops_the_run_and_is_done_again(tmp_path: Path) -> None:
    calls = 0

    def play(task: Task, client: Client, *, seed: int, sample: int) -> Attempt:
        nonlocal calls
        calls += 1
        attempt = toy_play(task, client, seed=seed, sample=sample)
        broken = Grade(status="infra", detail="no room")
        return attempt.model_copy(update={"grade": broken}) if calls > 32 else attempt

    config = toy_config(steps=4, save_every=100)
    rows: list[dict[str, Any]] = []
    with pytest.raises(InfraError, match=r"RL step 3: none of 16 attempts has a verdict \(the last: no room\)"):
        run_toy(tmp_path, config, play=play, rows=rows)
    assert [row["step"] for row in rows] == [1, 2]
    _, result = run_toy(tmp_path, config, rows=rows)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert result.rollouts == 4 * 16


def test_canary_never_passes_and_would_show(tmp_path: Path) -> None:
    tasks = [toy_task("a"), toy_task("b", canary=True)]
    rows: list[dict[str, Any]] = []
    run_toy(tmp_path / "honest", toy_config(steps=3), tasks=tasks, rows=rows)
    assert [row["canary"] for row in rows] == [0, 0, 0]

    def hacked(task: Task, client: Client, *, seed: int, sample: int) -> Attempt:
        attempt = toy_play(task, client, seed=seed, sample=sample)
        return attempt.model_copy(update={"grade": Grade(status="solved")})

    rows = []
    run_toy(tmp_path / "hacked", toy_config(steps=1), tasks=tasks, play=hacked, rows=rows)
    assert rows[0]["canary"] == 8


def test_a_probe_that_agrees_saves_the_rest(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    tasks = [toy_task("a"), toy_task("zq")]  # the second is never said by chance
    run_toy(tmp_path, toy_config(steps=1, group=12, probe=6), tasks=tasks, rows=rows)
    assert rows[0]["rollouts"] in (12, 18)


def test_max_seconds_stops_at_a_step_boundary(tmp_path: Path) -> None:
    _, result = run_toy(tmp_path, toy_config(steps=10_000, max_seconds=0.5))
    assert 1 <= result.steps < 200


def test_one_rollout_a_step_is_kept(tmp_path: Path) -> None:
    run_toy(tmp_path, toy_config(steps=2))
    kept = list(read_jsonl(tmp_path / "rollouts.jsonl"))
    assert [row.pop("step") for row in kept] == [1, 2]
    assert Attempt.model_validate(kept[0]).trajectory.segments[0].ids


def test_effort_reaches_the_prompt(tmp_path: Path) -> None:
    from letters_world import toy_tokenizer

    low = toy_tokenizer().special["<|effort_low|>"]
    run_toy(tmp_path, toy_config(steps=1, efforts=["low"]))
    kept = next(iter(read_jsonl(tmp_path / "rollouts.jsonl")))
    assert low in kept["trajectory"]["segments"][0]["ids"]


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    run_toy(tmp_path, toy_config(steps=1))
    with pytest.raises(BadInput, match="another model or RL configuration"):
        run_toy(tmp_path, toy_config(steps=1, lr=3e-2))
    run_toy(tmp_path, toy_config(steps=2))  # a larger budget goes on


def test_an_answer_s_length_is_a_limit_of_the_attempt_not_of_rl() -> None:
    with pytest.raises(ValidationError, match="max_turn_tokens"):
        toy_config(max_turn_tokens=160)


def test_no_tasks_is_bad_input(tmp_path: Path) -> None:
    from vivace.rl.train import train_rl

    with pytest.raises(BadInput, match="no tasks"):
        train_rl(toy_model(300), None, None, None, [], toy_config(), tmp_path, print)  # type: ignore[arg-type]


def test_the_learning_rate_falls_to_zero_by_whichever_budget_is_nearer_its_end(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    run_toy(tmp_path / "steps", toy_config(steps=4, lr=1e-3, decay=0.5, reward="random"), rows=rows)
    assert [row["lr"] for row in rows] == pytest.approx([1e-3, 1e-3, 1e-3, 5e-4])
    rows.clear()
    config = toy_config(steps=10_000, max_seconds=2.0, lr=1e-3, decay=1.0, reward="random")
    run_toy(tmp_path / "seconds", config, rows=rows)
    rates = [row["lr"] for row in rows if "lr" in row]
    assert rates[0] == 1e-3
    assert 0 < rates[-1] < 6e-4
