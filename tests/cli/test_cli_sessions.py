"""`vivace sessions`: list, show, fork, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tiny_package import tiny_tokenizer
from vivace.core.types import Attempt, Message, Segment, ToolCall, Trajectory
from vivace.harness.sessions.changes import Change
from vivace.harness.sessions.session import Session
from vivace.recipe.stages.finetune import training_documents

SAID = [Message(role="system", content="s"), Message(role="user", content="Mend it"),
        Message(role="assistant", content="I look.", tool_calls=[
            ToolCall(name="read_file", arguments={"filePath": "a.py"}, id="1")]),
        Message(role="tool", content="text", tool_call_id="1"), Message(role="assistant", content="Done.")]  # fmt: skip


def held(repo: Path) -> str:
    """A session with a change that is not taken yet."""
    with Session.create(repo) as session:
        session.begin("Mend it", {"model": "m", "native": False, "profile": "copilot", "effort": None})
        for message in SAID:
            session.log.append("message", message=message.model_dump())
        session.end(Trajectory(task_id="t", turns=2))
        session.apply({}, {"shapes/new.py": Change(None, b"x = 1\n")})
        return session.log.name


def test_what_there_is(vivace: Callable, repo: Path) -> None:
    assert "no sessions yet" in vivace("sessions").err
    name = held(repo)
    assert vivace("sessions").out == f"{name}  shapes  Mend it\n"
    done = vivace("sessions", "show", name)
    assert done.out.startswith("> Mend it\n\nI look.\n\n- read_file a.py\nDone.\n")
    assert done.out.rstrip().endswith("+x = 1")
    assert vivace("sessions", "show", "2020").code == 2
    forked = vivace("sessions", "fork", name).out.strip()
    assert forked != name
    assert vivace("sessions", "show", forked).out == done.out


def test_a_sample_that_fine_tuning_reads(vivace: Callable, repo: Path, tmp_path: Path) -> None:
    name, out = held(repo), tmp_path / "samples.jsonl"
    done = vivace("sessions", "export", name, "--out", out)
    assert done.code == 2
    assert "has no ids; name the checkpoint" in done.err
    tiny_tokenizer().save(tmp_path)
    done = vivace("sessions", "export", name, "--out", out, "--model", tmp_path)
    assert done.code == 0, done.err
    attempt = Attempt.model_validate(json.loads(out.read_text()))
    ((ids, weights),) = training_documents([attempt], 0.0)
    segment = Segment.model_validate(attempt.trajectory.segments[0])
    assert ids == segment.trained().ids
    assert [weight > 0 for weight in weights] == [bit == 1 for bit in segment.trained().mask]
    assert f"{len(segment.ids):,} tokens, {sum(segment.mask):,} of them the model's" in done.out
