import signal
import threading
from collections import Counter
from pathlib import Path

import pytest
from attempts_by_hand import make_attempt

from vivace.core.errors import BadInput, InfraError
from vivace.core.types import Attempt, Task
from vivace.evals.suite import FILE, read_attempts, run_suite, running_rate


def tasks(n: int) -> list[Task]:
    return [Task(id=f"t{i}", env="e", repo="r", split="eval", licence="MIT", bug_patch="", gold_patch="",
                 problem_statement="", FAIL_TO_PASS=[], PASS_TO_PASS=[]) for i in range(n)]


class Player:
    """Counts calls; solves even seeds; fails as told."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, int]] = Counter()
        self.seeds: dict[tuple[str, int], int] = {}
        self.infra: dict[str, int] = {}
        self.stop_at = 10**9
        self.lock = threading.Lock()

    def __call__(self, task: Task, seed: int, sample: int) -> Attempt:
        with self.lock:
            if sum(self.calls.values()) >= self.stop_at:
                raise KeyboardInterrupt
            self.calls[task.id, sample] += 1
            self.seeds[task.id, sample] = seed
            status = "infra" if self.calls[task.id, sample] <= self.infra.get(task.id, 0) else "solved"
        return make_attempt(task.id, status=status if seed % 2 == 0 or status == "infra" else "failed", sample=sample)


ID = {"model": "m", "limits": {"max_turns": 4}}


def test_all_attempts_in_order_and_on_disk(tmp_path: Path) -> None:
    found = run_suite(tasks(7), Player(), tmp_path, identity=ID, workers=3, samples=2)
    assert [(a.task_id, a.sample) for a in found] == [(f"t{i}", s) for i in range(7) for s in range(2)]
    assert set(read_attempts(tmp_path)) == {(a.task_id, a.sample) for a in found}


def test_resume_does_the_rest_and_draws_the_same(tmp_path: Path) -> None:
    whole = Player()
    expected = run_suite(tasks(8), whole, tmp_path / "whole", identity=ID, workers=1)
    player = Player()
    player.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        run_suite(tasks(8), player, tmp_path / "cut", identity=ID, workers=1)
    player.stop_at = 10**9
    with (tmp_path / "cut" / FILE).open("a") as file:
        file.write('{"task_id": "t5", "re')  # died while writing
    found = run_suite(tasks(8), player, tmp_path / "cut", identity=ID, workers=1)
    assert found == expected
    assert player.seeds == whole.seeds
    assert set(player.calls.values()) == {1}


def test_ctrl_c_keeps_the_attempts_under_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release, player = threading.Event(), Player()

    def play(task: Task, seed: int, sample: int) -> Attempt:
        attempt = player(task, seed, sample)
        if len(player.calls) == 3:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            threading.Timer(0.6, release.set).start()
        release.wait(30)
        return attempt

    with pytest.raises(KeyboardInterrupt):
        run_suite(tasks(9), play, tmp_path, identity=ID, workers=3)
    assert len(player.calls) == 3
    assert set(read_attempts(tmp_path)) == set(player.calls)
    assert "finishing 3 attempts that are under way" in capsys.readouterr().err
    run_suite(tasks(9), player, tmp_path, identity=ID, workers=3)
    assert set(player.calls.values()) == {1}


def test_infra_is_retried_once_then_recorded_then_retried_on_resume(tmp_path: Path) -> None:
    player = Player()
    player.infra = {"t0": 1, "t1": 3}
    found = run_suite(tasks(3), player, tmp_path, identity=ID, workers=1)
    assert [a.grade.status == "infra" for a in found] == [False, True, False]
    again = run_suite(tasks(3), player, tmp_path, identity=ID, workers=1)
    assert player.calls == {("t0", 0): 2, ("t1", 0): 4, ("t2", 0): 1}
    assert again[1].grade.status != "infra"
    assert read_attempts(tmp_path)["t1", 0].grade.status != "infra"


def test_a_suite_without_any_verdict_is_no_result_and_is_tried_again(tmp_path: Path) -> None:
    player = Player()
    player.infra = {"t0": 2, "t1": 2}
    with pytest.raises(InfraError, match=r"evaluate sft: none of 2 attempts has a verdict \(the last: 1 test still fa"):
        run_suite(tasks(2), player, tmp_path, identity=ID, workers=1, description="evaluate sft")
    assert len(run_suite(tasks(2), player, tmp_path, identity=ID, workers=1)) == 2
    assert player.calls == {("t0", 0): 3, ("t1", 0): 3}
    assert run_suite([], player, tmp_path / "none", identity=ID, workers=1) == []


def test_another_model_is_not_mixed_in(tmp_path: Path) -> None:
    run_suite(tasks(1), Player(), tmp_path, identity=ID, workers=1)
    with pytest.raises(BadInput, match="another model;"):
        run_suite(tasks(1), Player(), tmp_path, identity={**ID, "model": "other"}, workers=1)


def test_more_tasks_or_samples_extend_a_suite(tmp_path: Path) -> None:
    player = Player()
    run_suite(tasks(2), player, tmp_path, identity=ID, workers=1)
    assert len(run_suite(tasks(3), player, tmp_path, identity=ID, workers=1, samples=2)) == 6
    assert sum(player.calls.values()) == 6


def test_running_rate() -> None:
    attempts = [make_attempt("a"), make_attempt("b", status="failed"), make_attempt("c", status="infra")]
    assert running_rate(attempts) == "1/2 solved, 1 infra"
    assert running_rate([]) == ""
