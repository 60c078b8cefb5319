"""Experts and the brute-force search, played for real: harness, sandbox, grader."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import toy_package as toy

from vivace.core.errors import BadInput, SandboxError
from vivace.core.types import Attempt, Task, Trajectory
from vivace.harness import environment, loop
from vivace.harness.attachments import Room
from vivace.harness.loop import Limits
from vivace.sandbox import Sandbox, make_patch, warm
from vivace.tasks import brute
from vivace.tasks.attempt import Player
from vivace.tasks.brute import BASELINE, brute_force
from vivace.tasks.experts import Style, expert_client
from vivace.tasks.layers import Layer
from vivace.tasks.registry import append_task, read_tasks, write_tasks
from vivace.tasks.sources import load_manifest
from vivace.tasks.statements import suspects
from vivace.text.chat import Renderer
from vivace.text.tokenizer import train_tokenizer

STATS = "src/toy/stats.py"


@pytest.fixture(scope="module")
def player(layer: Layer, sandbox: Sandbox) -> Iterator[Player]:
    with Player({layer.env: layer}, sandbox, Limits(max_turns=30, max_context=8192)) as opened:
        yield opened


@pytest.fixture(scope="module")
def codec() -> Renderer:
    return Renderer(train_tokenizer([*toy.FILES.values()], 400))


@pytest.fixture(scope="module")
def double(task: Task, layer: Layer) -> Task:
    """Two bugs in one file, and one suspect that is innocent."""
    clean = (layer.root / STATS).read_text()
    buggy = clean.replace("value > high", "value < high").replace("total + value", "total - value")
    tests = "tests/test_stats.py"
    return task.model_copy(update={
        "id": "toy-2", "stage": "complex",
        "problem_statement": f"Suspects: `longest` in {STATS}, `mean` in {STATS}, `clamp` in {STATS}.",
        "bug_patch": make_patch({STATS: clean}, {STATS: buggy}),
        "gold_patch": make_patch({STATS: buggy}, {STATS: clean}),
        "FAIL_TO_PASS": [f"{tests}::test_clamp", f"{tests}::test_mean[values0-3]"],
        "PASS_TO_PASS": [f"{tests}::test_clamp_low", f"{tests}::test_longest"],
    })  # fmt: skip


def _play(player: Player, task: Task, codec: Renderer, style: Style, seed: int) -> Attempt:
    [layer] = player.layers.values()
    return player(task, expert_client(task, layer, codec, style, seed), seed=seed)


def _calls(attempt: Attempt) -> list[list[str]]:
    return [[call.name for call in m.tool_calls] for m in attempt.trajectory.messages if m.role == "assistant"]


def test_the_direct_expert_edits_what_is_attached_tests_and_stops(player: Player, task: Task, codec: Renderer) -> None:
    attempt = _play(player, task, codec, "direct", 0)
    assert attempt.grade.solved
    assert attempt.trajectory.patch == task.gold_patch
    assert f"\n{STATS}:" in attempt.trajectory.messages[1].content
    assert _calls(attempt) == [["replace_string_in_file", "runTests"], ["task_complete"]]
    assert not {outcome.kind for outcome in attempt.trajectory.outcomes} - {"ok", "tests_failed"}
    segment = attempt.trajectory.segments[0]
    assert sum(segment.mask) == attempt.trajectory.usage.output_tokens > 0


def test_the_reading_expert_reads_back_what_leads_up_to_its_edit(player: Player, task: Task, codec: Renderer) -> None:
    attempt = _play(player, task, codec, "read", 0)
    assert attempt.grade.solved
    assert attempt.trajectory.patch == task.gold_patch
    assert _calls(attempt) == [["replace_string_in_file", "runTests"], ["task_complete"]]
    edit = next(message for message in attempt.trajectory.messages if message.role == "assistant")
    shown = attempt.trajectory.messages[1].content
    assert edit.content in shown
    assert edit.content.startswith("\n")
    assert edit.content.split("\n")[-1].strip() == edit.tool_calls[0].arguments["oldString"]


def test_several_bugs_are_read_and_mended_one_answer_each(player: Player, double: Task, codec: Renderer) -> None:
    attempt = _play(player, double, codec, "read", 0)
    assert attempt.grade.solved, attempt.grade
    assert _calls(attempt) == [["replace_string_in_file"], ["replace_string_in_file", "runTests"], ["task_complete"]]


def test_the_recovering_expert_takes_wrong_edits_back(player: Player, task: Task, codec: Renderer) -> None:
    attempts = [_play(player, task, codec, "recover", seed) for seed in range(3)]
    assert all(attempt.grade.solved for attempt in attempts)
    assert {attempt.trajectory.patch for attempt in attempts} == {task.gold_patch}
    tested = [sum("runTests" in turn for turn in _calls(attempt)) for attempt in attempts]
    assert max(tested) >= 3
    again = _play(player, task, codec, "recover", 1)
    assert again.trajectory.segments == attempts[1].trajectory.segments


def test_several_attached_suspects_are_mended_one_by_one(player: Player, double: Task, codec: Renderer) -> None:
    attempt = _play(player, double, codec, "direct", 0)
    assert attempt.grade.solved, attempt.grade
    assert _calls(attempt) == [["replace_string_in_file", "runTests"]] * 2 + [["task_complete"]]


def test_what_is_not_attached_is_looked_up_in_order(
    player: Player, double: Task, codec: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "TERSE", Room(each=40, total=0))
    attempt = _play(player, double, codec, "direct", 0)
    assert attempt.grade.solved, attempt.grade
    queries = [call.arguments["query"] for message in attempt.trajectory.messages for call in message.tool_calls
               if call.name == "grep_search"]  # fmt: skip
    assert queries == ["def longest(", "def mean(", "def clamp("]
    assert sum("replace_string_in_file" in turn for turn in _calls(attempt)) == 2


def test_an_expert_needs_to_be_told_where(player: Player, task: Task, layer: Layer, codec: Renderer) -> None:
    lost = task.model_copy(update={"problem_statement": "It is broken."})
    with pytest.raises(BadInput, match="names no function"):
        expert_client(lost, layer, codec, "direct", 0)


def test_brute_force_finds_the_inverse_within_its_budget(player: Player, task: Task, double: Task) -> None:
    search = brute_force(task, player, 200, seed=0)
    assert 0 < search.runs <= 200
    assert search.patch
    verdict = player.judge(task, Trajectory(task_id=task.id, patch=search.patch))
    assert verdict.scores["f2p"] == 1.0
    assert brute_force(task, player, 200, seed=0).runs == search.runs
    assert brute_force(double, player, 0, seed=0).patch == ""


def test_the_search_is_an_attempt_like_any_other(player: Player, task: Task) -> None:
    attempt = brute.attempt(task, player, 200, seed=0)
    assert (attempt.task_id, attempt.repo, attempt.model) == (task.id, task.repo, BASELINE)
    assert attempt.trajectory.test_runs == brute_force(task, player, 200, seed=0).runs
    assert attempt.grade == player.judge(task, attempt.trajectory)


def test_a_search_whose_sandbox_breaks_is_infra(
    player: Player, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise SandboxError("no room")

    monkeypatch.setattr(brute, "brute_force", broken)
    attempt = brute.attempt(task, player, 5, seed=0, sample=3)
    assert (attempt.grade.status, attempt.grade.detail, attempt.sample) == ("infra", "no room", 3)
    assert (attempt.trajectory.stop_reason, attempt.trajectory.error) == ("infra", "no room")


def test_a_machine_without_room_is_infra(
    layer: Layer, sandbox: Sandbox, task: Task, codec: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with Player({layer.env: layer}, sandbox, Limits(max_turns=30, max_context=8192)) as player:
        monkeypatch.setattr(warm.socket, "socketpair", broken)
        attempt = _play(player, task, codec, "direct", 0)
        searched = brute.attempt(task, player, 5, seed=0)
    for found in (attempt, searched):
        assert found.grade.status == "infra"
        assert "Too many open files" in found.trajectory.error


def test_the_agent_s_tests_have_its_own_limit(
    player: Player, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "AGENT_SECONDS", 1.5)
    with player.environment(task) as env:
        env.workspace.write_text(STATS, "while True:\n    pass\n")
        report = env.test(task.FAIL_TO_PASS)
    assert report.timed_out
    assert report.duration_s < 15


@pytest.mark.slow
def test_brute_force_mends_one_bug_after_the_other(player: Player, double: Task) -> None:
    searches = (brute_force(double, player, 300, seed=seed) for seed in range(3))
    assert any(player.judge(double, Trajectory(task_id=double.id, patch=found.patch)).solved for found in searches)


def test_rows_are_whole_and_checked(tmp_path: Path, task: Task) -> None:
    path = tmp_path / "train.jsonl"
    write_tasks(path, [task])
    append_task(path, task.model_copy(update={"id": "toy-9"}))
    assert [row.id for row in read_tasks(path, "train")] == ["toy-1", "toy-9"]
    with pytest.raises(BadInput, match="must be a 'eval' file"):
        read_tasks(path, "eval")
    append_task(path, task)
    with pytest.raises(BadInput, match=r":3: task toy-1 is there twice"):
        read_tasks(path)
    write_tasks(path, [task.model_copy(update={"repo": "Tabulate"})])
    with pytest.raises(BadInput, match="held out for evaluation"):
        read_tasks(path)
    path.write_text('{"id": "x"}\n')
    with pytest.raises(BadInput, match=r"train\.jsonl:1: env: Field required"):
        read_tasks(path)
    with pytest.raises(BadInput, match="no task rows at"):
        read_tasks(tmp_path / "none.jsonl")


@pytest.mark.parametrize(("name", "split"), [("train", "train"), ("eval", "eval")])
def test_the_shipped_rows_belong_to_the_shipped_manifest(name: str, split: Literal["train", "eval"]) -> None:
    manifest = load_manifest(Path("recipes/packages.toml"))
    tasks = read_tasks(Path(f"recipes/tasks/{name}.jsonl"), split)
    assert len({task.repo for task in tasks}) >= (8 if split == "train" else 4)
    for task in tasks:
        package = manifest.by_env(task.env)
        assert (package.name, package.role, package.licence) == (task.repo, split, task.licence)
        assert task.FAIL_TO_PASS
        assert task.PASS_TO_PASS
        assert len(suspects(task.problem_statement)) >= len(task.provenance["operators"])
