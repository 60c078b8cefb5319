"""A conversation that outgrows its window is summed up and goes on: in a segment of its own, and smaller."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from calc_repo import FILES, TASK, call, write_tree

from vivace.core.types import Completion, Message, Sampling, Segment, Trajectory, Usage
from vivace.harness.clients.scripted import ScriptedClient
from vivace.harness.compact import REQUEST
from vivace.harness.environment import Environment
from vivace.harness.hooks import Event, Hooks
from vivace.harness.limits import Limits
from vivace.harness.loop import run
from vivace.harness.sessions.export import training_attempt
from vivace.harness.sessions.session import Session
from vivace.harness.sessions.turn import play_turn
from vivace.harness.steps import label_steps, train_mask
from vivace.text.chat import Renderer

QUESTION = TASK.model_copy(update={"problem_statement": "Look around", "FAIL_TO_PASS": [], "PASS_TO_PASS": []})
LOOK = call("read_file", filePath="calc/ops.py", startLine="1")
SAY = Message(role="assistant", content="Done.")
SHORT = Message(role="assistant", content="add subtracts")


def looking(summary: Message = SHORT, looks: int = 20) -> Any:
    """Reads a file again and again, sums up when asked to, and stops after so many looks in all."""
    seen = 0

    def policy(messages: Sequence[Message]) -> Message:
        nonlocal seen
        if messages[-1].content == REQUEST:
            return summary
        seen += 1
        path = ("calc/ops.py", "tests/test_ops.py", "README.md")[seen % 3]
        return SAY if seen > looks else call("read_file", filePath=path, startLine="1")

    return policy


class Told(Hooks):
    def __init__(self) -> None:
        self.events: list[Event] = []

    def event(self, event: Event) -> None:
        self.events.append(event)


def play(env: Environment, codec: Renderer | None, policy: Any, hooks: Hooks | None = None, **more: Any) -> Trajectory:
    limits = Limits(**{"max_context": 900, "max_turns": 40, "max_turn_tokens": 100, "compact_at": 0.7, **more})
    return run(QUESTION, env, ScriptedClient(codec, policy), limits, profile="nano", hooks=hooks)


def test_every_segment_is_a_sample_of_its_own(env: Environment, renderer: Renderer) -> None:
    hooks = Told()
    done = play(env, renderer, looking(), hooks)
    assert done.stop_reason == "complete"
    assert len(done.segments) >= 3
    assert [e.text for e in hooks.events if e.type == "compacted"] == ["add subtracts"] * (len(done.segments) - 1)
    # Each is what the renderer says of its messages, begins anew, and ends with the summing up.
    system, *said = done.messages
    starts = [at for at, m in enumerate(said) if m.role == "user" and "<summary>" in m.content]
    assert len(starts) == len(done.segments) - 1
    for start, end, segment in zip([0, *starts], [*starts, len(said)], done.segments):
        ids, mask = renderer.render([system, *said[start:end]])
        assert (segment.ids, segment.mask) == (ids, mask)
        assert len(segment.ids) <= 900
        if end < len(said):
            assert [m.content for m in said[end - 2 : end]] == [REQUEST, "add subtracts"]
    assert said[starts[0]].content.startswith("Look around\n\n<summary>")
    # Turns are numbered through, so that single steps can be left out of a loss.
    turns = [dict.fromkeys(turn for turn in segment.turns if turn >= 0) for segment in done.segments]
    assert [turn for some in turns for turn in some] == list(range(done.turns))
    labels = label_steps(done)
    assert len(labels) == done.turns
    assert all(len(train_mask(segment, labels)) == len(segment.ids) for segment in done.segments)


def test_a_summary_that_does_not_shrink_ends_it(env: Environment, renderer: Renderer) -> None:
    long = Message(role="assistant", content="word " * 300)
    done = play(env, renderer, looking(long), max_turn_tokens=700)
    assert done.stop_reason == "context"
    assert len(done.segments) == 1
    assert play(env, renderer, looking(Message(role="assistant"))).stop_reason == "context"  # nothing said
    assert play(env, renderer, looking(LOOK)).stop_reason == "context"  # a call instead


def test_without_it_the_window_is_the_end(env: Environment, renderer: Renderer) -> None:
    assert play(env, renderer, looking(), compact_at=None).stop_reason == "context"


def test_an_endpoint_s_own_count_decides(env: Environment) -> None:
    """Its prompt has the tools in it, which an estimate from the messages leaves out."""

    class Counting:
        codec, name = None, "counting"

        def __init__(self) -> None:
            self.policy = looking(looks=3)
            self.lengths: list[int] = []

        def complete(self, messages: Sequence[Message], *, sampling: Sampling, **more: Any) -> Completion:
            self.lengths.append(len(messages))
            return Completion(message=self.policy(messages), usage=Usage(
                input_tokens=600 + 10 * len(messages), output_tokens=5))  # fmt: skip

    client = Counting()
    done = run(QUESTION, env, client, Limits(max_context=900, compact_at=0.71), profile="nano")
    assert client.lengths == [2, 5, 2, 4, 7, 2]  # summed up after 625 + a long result, and after 640
    assert done.stop_reason == "complete"


def test_a_session_goes_on_after_it(tmp_path: Path, renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIVACE_STATE", str(tmp_path / "state"))
    limits = Limits(max_context=900, max_turns=40, max_turn_tokens=100, compact_at=0.7)
    done: list[Trajectory] = []
    with Session.create(write_tree(tmp_path / "calc", FILES)) as session:
        name = session.log.name
    for request in ("one", "two"):
        with Session.resume(name) as session:
            done.append(play_turn(session, request, ScriptedClient(renderer, looking(looks=14)), limits,
                                  profile="nano", sampling=Sampling(), effort=None, front=Hooks()))
    with Session.resume(name) as session:
        assert len(session.state.past) >= 2
        assert session.state.segment == done[-1].segments[-1]
        sample = training_attempt(session, None).trajectory
        assert sample.segments == training_attempt(session, renderer).trajectory.segments
        turns = [turn for segment in sample.segments for turn in dict.fromkeys(segment.turns) if turn >= 0]
        assert turns == list(range(sum(m.role == "assistant" for m in sample.messages)))
        assert isinstance(sample.segments[0], Segment)
        session.undo()
        session.undo()
        assert (session.state.past, session.state.messages) == ([], [])
