"""The one idea: whatever plays, learns or is sold, the same code makes the tokens.

A scripted model is played through demonstrations, rollouts, evaluation and the agent for people, on the same files.
Every prompt it is given is recorded, turn by turn, and all of them must be the same ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from tiny_package import checkout, tiny_layer, tiny_task, tiny_tokenizer
from vivace.core.run import Run
from vivace.core.types import Attempt, Completion, Message, Sampling, Segment, Task, ToolCall, Trajectory
from vivace.evals.compare import SAME_IN_ALL
from vivace.evals.suite import run_suite
from vivace.harness.agent import run_agent
from vivace.harness.clients.scripted import ScriptedClient
from vivace.harness.steps import label_steps
from vivace.recipe.config import Recipe
from vivace.recipe.runner import Context
from vivace.recipe.stages import finetune
from vivace.recipe.stages.finetune import GENEROUS, FinetuneStage, Share, demonstrate, training_documents
from vivace.recipe.world import World
from vivace.rl.batch import group_rows, micro_batches
from vivace.rl.config import RLConfig
from vivace.rl.rollout import collect
from vivace.sandbox import open_sandbox
from vivace.tasks.attempt import Player
from vivace.tasks.layers import Layer
from vivace.tasks.sources import Manifest
from vivace.text.chat import Renderer
from vivace.train.config import TrainConfig

AREA = "shapes/area.py"


def said(*calls: tuple[str, dict[str, str]], content: str = "") -> Message:
    tools = [ToolCall(name=name, arguments=dict(arguments)) for name, arguments in calls]
    return Message(role="assistant", content=content, tool_calls=tools)


def edit(old: str, new: str) -> tuple[str, dict[str, str]]:
    return "replace_string_in_file", {"filePath": AREA, "oldString": old, "newString": new}


# Everything a model may do, mistakes included: unknown tools, edits that do not fit, an answer that is cut.
ANSWERS = (
    said(("runTests", {}), content="First the tests."),
    said(("grep_search", {"query": "<|end|>"}), ("grep_search", {"query": "def clamp("})),
    said(("read_file", {"filePath": AREA, "startLine": "4"})),
    said(("open_file", {"path": AREA})),
    said(edit("if value > hihg:", "if value > high:")),
    said(("replace_string_in_file", {"filePath": AREA, "oldString": "value", "newString": "x " * 2000})),
    said(edit("if value >= high + 3:", "if value >= low:"), ("runTests", {})),
    said(edit("if value >= low:", "if value > high:"), ("runTests", {})),
    said(("task_complete", {})),
)
BAD_STEPS = {3: "failed", 4: "failed", 5: "failed"}


class Recorder:
    """A scripted model that notes every prompt and every answer; one conversation after the other."""

    name = "scripted"

    def __init__(self, renderer: Renderer) -> None:
        self.codec = renderer
        self._inner = ScriptedClient(renderer, lambda messages: ANSWERS[sum(m.role == "assistant" for m in messages)])
        self.prompts: list[list[int]] = []
        self.answers: list[list[int]] = []

    def complete(self, messages: Sequence[Message], *, tools: Sequence[dict[str, Any]], sampling: Sampling,
                 prompt_ids: Sequence[int] = ()) -> Completion:  # fmt: skip
        done = self._inner.complete(messages, tools=tools, sampling=sampling, prompt_ids=prompt_ids)
        assert done.ids is not None
        self.prompts.append(list(prompt_ids))
        self.answers.append(done.ids)
        return done


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Layer:
    return tiny_layer(tmp_path_factory.mktemp("layer"))


@pytest.fixture(scope="module")
def task(layer: Layer) -> Task:
    """Its tests are those that its statement names: the product knows of no others."""
    return tiny_task("high", layer).model_copy(update={"PASS_TO_PASS": []})


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(tiny_tokenizer())


@pytest.fixture(scope="module")
def player(layer: Layer) -> Iterator[Player]:
    with Player({layer.env: layer}, open_sandbox(), GENEROUS) as player:
        yield player


@pytest.fixture(scope="module")
def agent(task: Task, layer: Layer, renderer: Renderer, tmp_path_factory: pytest.TempPathFactory
          ) -> tuple[Recorder, Trajectory]:  # fmt: skip
    """What the product shows the model: the reference for everything else."""
    client = Recorder(renderer)
    repo = checkout(task, layer, tmp_path_factory.mktemp("user") / "shapes")
    trajectory = run_agent(task.problem_statement, repo, client, GENEROUS, lambda patch: True, profile="nano")
    assert (repo / AREA).read_text() == (layer.root / AREA).read_text()  # the approved fix is the right one
    return client, trajectory


def segment(trajectory: Trajectory) -> Segment:
    (only,) = trajectory.segments
    return only


def test_the_prompt_only_grows_and_the_mask_is_what_was_sampled(
    agent: tuple[Recorder, Trajectory], renderer: Renderer
) -> None:
    client, trajectory = agent
    record = segment(trajectory)
    assert trajectory.turns == len(ANSWERS) == len(client.prompts)
    sampled: dict[int, int] = {}
    for turn, (prompt, answer) in enumerate(zip(client.prompts, client.answers, strict=True)):
        whole = [*prompt, *answer]
        later = client.prompts[turn + 1] if turn + 1 < len(client.prompts) else record.ids
        assert later[: len(whole)] == whole, f"turn {turn} was not extended but rewritten"
        assert prompt[-1:] == renderer.generation_prompt()
        sampled |= dict.fromkeys(range(len(prompt), len(whole)), turn)
    assert [place for place, bit in enumerate(record.mask) if bit] == sorted(sampled)
    assert record.turns == [sampled.get(place, -1) for place in range(len(record.ids))]
    assert len(client.answers[5]) == GENEROUS.max_turn_tokens  # this one was cut, and is closed all the same
    assert record.ids[len(client.prompts[5]) + GENEROUS.max_turn_tokens] == renderer.end


def test_the_messages_render_to_the_ids_of_the_prompts(agent: tuple[Recorder, Trajectory], renderer: Renderer) -> None:
    """What was recorded while playing is what rendering the conversation afterwards gives, masks included."""
    client, trajectory = agent
    before_cut = [i for i, message in enumerate(trajectory.messages) if message.role == "assistant"][5]
    ids, mask = renderer.render(trajectory.messages[:before_cut])
    assert [*ids, *renderer.generation_prompt()] == client.prompts[5]
    assert mask == segment(trajectory).mask[: len(ids)]


def test_sft_data(agent: tuple[Recorder, Trajectory], task: Task, layer: Layer, renderer: Renderer, tmp_path: Path,
                  monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    client = Recorder(renderer)
    monkeypatch.setattr(finetune, "expert_client", lambda *_: client)  # the script in the place of an expert
    stage = FinetuneStage(init="base", mix=[Share(count=1)], train=TrainConfig(max_steps=1))
    recipe = Recipe(name="tiny", seed=0, root=tmp_path, stages={"sft": stage})
    run = Run(tmp_path / "run", recipe.resolved())
    world = World(Manifest(requirements=[], package=[layer.source]), {layer.env: layer}, open_sandbox(), [task], [], {})
    context = Context(recipe, run, run.stage("sft"), Console(quiet=True), {"world": world})
    attempts = demonstrate(stage.mix, context, renderer)
    ((ids, weights),) = training_documents(attempts, 0.25)
    expected = segment(agent[1]).trained()
    assert client.prompts == agent[0].prompts
    assert ids == expected.ids
    assert attempts[0].trajectory.hashes == agent[1].hashes
    labels = label_steps(attempts[0].trajectory)
    assert {turn: label for turn, label in enumerate(labels) if label == "failed"} == BAD_STEPS
    assert weights == [(1.0 if labels[turn] == "ok" else 0.0) if bit else 0.25
                       for bit, turn in zip(expected.mask, expected.turns, strict=True)]


def test_rl_batches(agent: tuple[Recorder, Trajectory], task: Task, renderer: Renderer, player: Player) -> None:
    client, expected = Recorder(renderer), segment(agent[1]).trained()
    config = RLConfig(prompts=1, group=2, workers=1)
    (scored,) = collect([task], lambda effort: client, player, config, 0, lambda count: None)
    assert [attempt.grade.status for attempt in scored.group.attempts] == ["solved", "solved"]
    assert client.prompts == agent[0].prompts * 2
    batches = micro_batches(group_rows(scored.group.attempts, [0.5, -0.5], prompts=1), 1 << 20)
    rows = [(torch.cat([batch.prefix_P, row]), weights, advantage)
            for batch in batches for row, weights, advantage in zip(batch.ids_BT, batch.weights, batch.advantages)]
    assert sorted(float(advantage[-1]) for *_, advantage in rows) == [-0.5, 0.5]
    for ids, weights, _ in rows:
        assert ids.tolist() == expected.ids
        assert (weights > 0).tolist() == [bit == 1 for bit in expected.mask[-len(weights):]]
        assert int((weights > 0).sum()) == sum(expected.mask)


def test_evaluation(agent: tuple[Recorder, Trajectory], task: Task, renderer: Renderer, player: Player,
                    tmp_path: Path) -> None:  # fmt: skip
    client = Recorder(renderer)

    def play(task: Task, seed: int, sample: int) -> Attempt:
        return player(task, client, seed=seed, sample=sample)

    (attempt,) = run_suite([task], play, tmp_path, identity={"model": "scripted"}, workers=1)
    assert client.prompts == agent[0].prompts
    assert segment(attempt.trajectory) == segment(agent[1])
    assert attempt.trajectory.messages == agent[1].messages
    assert attempt.trajectory.patch == agent[1].patch
    assert attempt.trajectory.hashes == agent[1].hashes
    assert attempt.grade.solved


def test_every_attempt_says_what_must_agree_in_a_comparison(agent: tuple[Recorder, Trajectory]) -> None:
    assert set(SAME_IN_ALL) == set(agent[1].hashes)


def test_tokens_are_counted_alike(agent: tuple[Recorder, Trajectory]) -> None:
    """What the card calls tokens per task is the length of the answers, in the product as in training."""
    client, trajectory = agent
    assert trajectory.usage.output_tokens == sum(map(len, client.answers)) == sum(segment(trajectory).mask)
    assert trajectory.usage.input_tokens == list(accumulate(map(len, client.prompts)))[-1]
