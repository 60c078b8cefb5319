"""Labels of steps, and the masks that follow from them."""

from __future__ import annotations

import pytest
from calc_repo import FIX, TASK, call, script

from vivace.core.errors import BadInput
from vivace.core.types import Message, Segment
from vivace.harness.clients.scripted import ScriptedClient
from vivace.harness.environment import Environment
from vivace.harness.loop import Limits, run
from vivace.harness.steps import label_steps, train_mask
from vivace.text.chat import Renderer


def edit(old: str, new: str) -> Message:
    return call("replace_string_in_file", filePath="calc/ops.py", oldString=old, newString=new)


READ = call("read_file", filePath="calc/ops.py", startLine="4", endLine="7")
DONE = call("task_complete")


@pytest.mark.parametrize(
    ("answers", "labels"),
    [
        ([READ, edit("return a - b", "return a + b"), READ, DONE], ["ok", "ok", "ok", "ok"]),
        ([READ, READ, edit("return a - b", "return a + b"), DONE], ["ok", "repeated", "ok", "ok"]),
        ([edit("return a-b", "return a+b"), edit("return a - b", "return a + b"), DONE], ["failed", "ok", "ok"]),
        (
            [edit("return a - b", "return a * b"), edit("return a * b", "return a + b"), DONE],
            ["wasted", "ok", "ok"],
        ),
        (
            [edit("return a - b", "return b"), edit("return b\n", "return a - b\n"), DONE],
            ["wasted", "ok", "ok"],
        ),
        ([edit("def add(a, b):", "def add(a, b:"), edit("return a - b", "return a + b"), DONE], ["failed", "ok", "ok"]),
        ([edit("    total = 0\n", ""), DONE], ["ok", "ok"]),
        ([call("read_file", filePath="absent.py"), call("nothing"), DONE], ["failed", "failed", "ok"]),
    ],
)
def test_labels(env: Environment, renderer: Renderer, answers: list[Message], labels: list[str]) -> None:
    trajectory = run(TASK, env, ScriptedClient(renderer, script(*answers)), Limits(), profile="nano")
    assert label_steps(trajectory) == labels
    (segment,) = trajectory.segments
    mask = train_mask(segment, labels)
    kept = {turn for turn, m in zip(segment.turns, mask) if m}
    assert kept == {turn for turn, label in enumerate(labels) if label == "ok"}
    assert all(m <= original for m, original in zip(mask, segment.mask))


def test_running_tests_again_after_an_edit_is_no_repetition(env: Environment, renderer: Renderer) -> None:
    trajectory = run(TASK, env, ScriptedClient(renderer, script(*FIX)), Limits(), profile="nano")
    assert set(label_steps(trajectory)) == {"ok"}
    assert train_mask(trajectory.segments[0], label_steps(trajectory)) == trajectory.segments[0].mask


def test_a_cut_answer_is_a_failed_step(env: Environment, renderer: Renderer) -> None:
    answers = script(Message(role="assistant", content="word " * 60), DONE)
    trajectory = run(TASK, env, ScriptedClient(renderer, answers), Limits(max_turn_tokens=30), profile="nano")
    assert label_steps(trajectory) == ["failed", "ok"]


def test_labels_must_belong_to_the_segment() -> None:
    with pytest.raises(BadInput, match="1 labels for 2 turns"):
        train_mask(Segment(ids=[1, 2], mask=[1, 1], logprobs=[0, 0], turns=[0, 1]), ["ok"])
