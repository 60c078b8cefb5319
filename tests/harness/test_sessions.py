"""Sessions on disk: gone on with, forked, undone with their files, exported; and a process killed at any row loses
nothing."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from calc_repo import FILES, call, write_tree

from vivace.core.errors import BadInput
from vivace.core.files import read_jsonl
from vivace.core.protocols import Client
from vivace.core.types import Message, Sampling, Trajectory
from vivace.harness import agent
from vivace.harness.clients.scripted import ScriptedClient
from vivace.harness.hooks import Hooks
from vivace.harness.loop import Limits
from vivace.harness.sessions import log as logs
from vivace.harness.sessions.export import training_attempt
from vivace.harness.sessions.log import SessionLog, sessions
from vivace.harness.sessions.session import INTERRUPTED, Session
from vivace.harness.sessions.turn import play_turn
from vivace.text.chat import Renderer

OPS = "calc/ops.py"
EDIT = call("replace_string_in_file", filePath=OPS, oldString="return a - b", newString="return a + b")
NEW = call("create_file", filePath="notes.txt", content="one\n")
MORE = call("replace_string_in_file", filePath="notes.txt", oldString="one", newString="two")
SAY = Message(role="assistant", content="Done.")
FIXED = FILES[OPS].replace("a - b", "a + b")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIVACE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(agent, "find_python", lambda *args, **more: Path(sys.executable))  # a sandbox each time
    return tmp_path / "state"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "calc", FILES)


class Model:
    """Answers in turn, over all requests of a test; with a renderer it draws ids."""

    def __init__(self, *answers: Message, codec: Renderer | None = None) -> None:
        self.left = list(answers)
        self.seen: list[list[Message]] = []
        self.prompts: list[list[int]] = []
        self.inner: Client = ScriptedClient(codec, self._next)
        self.codec, self.name = codec, "scripted"

    def _next(self, messages: Sequence[Message]) -> Message:
        self.seen.append(list(messages))
        return self.left.pop(0)

    def complete(self, messages: Sequence[Message], *, prompt_ids: Sequence[int] = (), **more: Any) -> Any:
        self.prompts.append(list(prompt_ids))
        return self.inner.complete(messages, prompt_ids=prompt_ids, **more)


def ask(session: Session, model: Client, text: str = "do it", profile: str = "copilot", **more: Any) -> Trajectory:
    limits = more.pop("limits", Limits())
    return play_turn(session, text, model, limits, profile=profile, sampling=Sampling(), effort=None,
                     front=more.pop("front", Hooks()), **more)


def take(session: Session, *paths: str) -> None:
    pending = session.pending()
    session.apply({path: pending[path] for path in paths},
                  {path: change for path, change in pending.items() if path not in paths})


def texts(repo: Path) -> dict[str, str]:
    return {str(p.relative_to(repo)): p.read_text() for p in sorted(repo.rglob("*")) if p.is_file()}


def test_a_session_goes_on_in_another_process(repo: Path) -> None:
    """What is not applied is in the next workspace; the conversation is behind the next request."""
    with Session.create(repo) as session:
        done = ask(session, Model(EDIT, NEW, SAY), "Mend add")
        name = session.log.name
        assert texts(repo) == FILES
        assert sorted(session.pending()) == [OPS, "notes.txt"]
    with Session.resume(name[:-2]) as session:
        model = Model(MORE, SAY)
        again = ask(session, model, "And two")
        assert again.messages[: len(done.messages)] == done.messages
        assert model.seen[0][-1].content == "And two"
        assert session.pending()["notes.txt"].after == b"two\n"
        take(session, "notes.txt")
        assert texts(repo) == {**FILES, "notes.txt": "two\n"}
        assert list(session.pending()) == [OPS]
        assert session.usage.output_tokens == done.usage.output_tokens + again.usage.output_tokens
    assert [found for found, _ in sessions(repo)] == [name]
    assert list(sessions(repo.parent)) == []


def test_undo_takes_back_words_and_files(repo: Path) -> None:
    with Session.create(repo) as session:
        ask(session, Model(EDIT, SAY), "Mend add")
        take(session, OPS)
        ask(session, Model(NEW, SAY), "Write notes")
        take(session, "notes.txt")
        ask(session, Model(MORE, SAY), "two, not one")
        assert session.undo() == "two, not one"
        assert session.pending() == {}
        assert session.undo() == "Write notes"
        assert texts(repo) == {**FILES, OPS: FIXED}
        assert session.undo() == "Mend add"
        assert texts(repo) == FILES
        assert session.state.messages == []
        with pytest.raises(BadInput, match="nothing to undo"):
            session.undo()
        model = Model(SAY)
        ask(session, model, "Something else")
        assert [m.content for m in model.seen[0] if m.role == "user"] == ["Something else"]


def test_undo_does_not_touch_what_the_user_changed_since(repo: Path) -> None:
    with Session.create(repo) as session:
        ask(session, Model(EDIT, NEW, SAY))
        take(session, OPS, "notes.txt")
        (repo / OPS).write_text("# mine\n")
        with pytest.raises(BadInput, match=r"calc/ops\.py changed"):
            session.undo()
        assert texts(repo) == {**FILES, OPS: "# mine\n", "notes.txt": "one\n"}
        assert len(session.state.prompts) == 1


def test_a_fork_is_a_session_of_its_own(repo: Path) -> None:
    with Session.create(repo) as session:
        ask(session, Model(EDIT, SAY))
        with session.fork() as fork:
            assert fork.state.messages == session.state.messages
            assert fork.pending() == session.pending()
            ask(fork, Model(NEW, SAY))
        assert list(session.pending()) == [OPS]
        with Session.resume(fork.log.name) as fork:
            assert sorted(fork.pending()) == [OPS, "notes.txt"]


def test_one_process_at_a_time(repo: Path) -> None:
    with Session.create(repo) as session, pytest.raises(BadInput, match="open in another process"):
        SessionLog(session.log.folder)
    Session.resume(session.log.name).close()
    with pytest.raises(BadInput, match="no session 'nonsense'"):
        Session.resume("nonsense")


def test_pending_changes_move_along_with_the_user_s_own(repo: Path) -> None:
    """Elsewhere in the file: both are kept. In the same lines: the user's."""
    with Session.create(repo) as session:
        ask(session, Model(EDIT, SAY))
        (repo / OPS).write_text("# mine\n" + FILES[OPS])
        ask(session, Model(SAY))
        after = session.pending()[OPS].after
        assert after == ("# mine\n" + FIXED).encode()
        (repo / OPS).write_text(FILES[OPS].replace("a - b", "b - a"))
        ask(session, Model(SAY))
        assert session.pending() == {}
        assert session.notices == [f"{OPS} was changed by somebody else; the agent's changes of it are dropped"]


def test_a_file_that_the_user_changes_meanwhile_is_not_overwritten(repo: Path) -> None:
    class Meddling(Hooks):
        def recorded(self, message: Message, *_: Any) -> None:
            if message.role == "user":
                (repo / OPS).write_text("# mine\n")

    with Session.create(repo) as session:
        ask(session, Model(EDIT, SAY), front=Meddling())
        with pytest.raises(BadInput, match="changed while the agent worked"):
            take(session, OPS)
        assert (repo / OPS).read_text() == "# mine\n"


def test_a_request_that_cannot_be_worked_on_leaves_no_trace(repo: Path) -> None:
    with Session.create(repo) as session:
        with pytest.raises(BadInput, match=r"tests/test_other\.py"):
            ask(session, Model(), "tests/test_other.py fails")
        assert session.state.prompts == []


def test_remarks_are_told_with_the_next_request(repo: Path) -> None:
    with Session.create(repo) as session:
        ask(session, Model(SAY))
        session.remark("The user did not take calc/ops.py.")
        model = Model(SAY, SAY)
        ask(session, model, "Again")
        ask(session, model, "And again")
        said = [m.content for m in model.seen[-1] if m.role == "user"]
        assert said == ["do it", "The user did not take calc/ops.py.\n\nAgain", "And again"]


def test_a_native_model_goes_on_token_by_token(repo: Path, renderer: Renderer) -> None:
    """Every prompt begins with all the ids before it, across requests and processes."""
    look = call("read_file", filePath=OPS, startLine="1")
    with Session.create(repo) as session:
        first = Model(look, EDIT, SAY, codec=renderer)
        ask(session, first, profile="nano")
        name = session.log.name
    with Session.resume(name) as session:
        second = Model(look, SAY, codec=renderer)
        done = ask(session, second, "again", profile="nano")
        prompts = [*first.prompts, *second.prompts]
        for shorter, longer in pairwise(prompts):
            assert longer[: len(shorter)] == shorter
        assert done.segments == [session.state.segment]
        assert [turn for turn in dict.fromkeys(session.state.segment.turns) if turn >= 0] == [0, 1, 2, 3, 4]
        attempt = training_attempt(session, None)
        assert attempt.trajectory.segments[0].ids == session.state.segment.ids
        # The one renderer says the same of these messages.
        rendered = training_attempt(session, renderer).trajectory.segments[0]
        assert (rendered.ids, rendered.mask, rendered.turns) == (
            session.state.segment.ids, session.state.segment.mask, session.state.segment.turns)  # fmt: skip


def test_another_model_goes_on_with_its_own_words(repo: Path, renderer: Renderer) -> None:
    with Session.create(repo) as session:
        ask(session, Model(EDIT, SAY))
        native = Model(SAY, SAY, codec=renderer)
        ask(session, native, "go on", profile="nano")
        ids = renderer.render(session.state.messages)[0]
        assert native.prompts[0] == [*ids[: len(native.prompts[0]) - 1], *renderer.generation_prompt()]
        assert session.state.segment.ids == ids
        assert "runTests()" in session.state.messages[0].content
        back = Model(SAY)
        ask(session, back, "and you")
        assert back.seen[0][0].content.startswith("You are a coding agent")
        assert training_attempt(session, renderer).trajectory.segments[0].ids
        with pytest.raises(BadInput, match="--model"):
            training_attempt(session, None)


def test_what_is_taken_back_is_not_in_the_conversation_but_in_the_file(repo: Path, renderer: Renderer) -> None:
    wrong = call("replace_string_in_file", filePath=OPS, oldString="no such text", newString="x")
    done_call = call("task_complete")
    with Session.create(repo) as session:
        model = Model(wrong, EDIT, done_call, codec=renderer)
        done = ask(session, model, "tests/test_ops.py::test_add fails", profile="nano",
                   limits=Limits(take_backs=2))  # fmt: skip
        assert done.taken_back == 1
        assert session.state.messages == done.messages
        assert [session.state.segment] == done.segments
        assert "no such text" in session.log.path.read_text()


def test_export_says_what_the_user_took(repo: Path, renderer: Renderer) -> None:
    with Session.create(repo) as session:
        ask(session, Model(EDIT, SAY))
        assert training_attempt(session, renderer).grade.status == "failed"
        take(session, OPS)
        attempt = training_attempt(session, renderer)
    assert attempt.grade.status == "solved"
    assert "+    return a + b" in attempt.trajectory.patch
    segment = attempt.trajectory.segments[0]
    assert len(segment.ids) == len(segment.mask) == len(segment.turns) == len(segment.logprobs)
    answers = [renderer.answer(m) for m in attempt.trajectory.messages if m.role == "assistant"]
    assert [token for token, bit in zip(segment.ids, segment.mask) if bit] == [t for ids in answers for t in ids]


# Killed.

KILLED_AT = (1, 6, 10, 11, 19, 21, 22, 23)
"""Rows of `life` of every kind; all of them in the slow set."""


def life(repo: Path) -> None:
    """What the process does that is killed: two requests, a file taken, a request undone, one more."""
    with Session.create(repo) as session:
        ask(session, Model(EDIT, NEW, SAY), "one")
        take(session, OPS, "notes.txt")
        ask(session, Model(MORE, SAY), "two")
        take(session, "notes.txt")
        session.undo()
        ask(session, Model(SAY), "three")


def killed(work: Callable[[], None]) -> int:
    """Runs `work` in a child; the signal that ended it (0: none)."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The log of the whole life, if nobody ends it."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIVACE_STATE", str(folder / "state"))
        patch.setattr(agent, "find_python", lambda *args, **more: Path(sys.executable))
        life(write_tree(folder / "calc", FILES))
        ((_, _),) = found = list(sessions())
        return list(read_jsonl(folder / "state" / "sessions" / found[0][0] / logs.LOG))


def test_the_life_is_long_enough(rows: list[dict[str, Any]]) -> None:
    kinds = [row["type"] for row in rows]
    assert kinds.count("apply") == 3
    assert {kinds[at] for at in KILLED_AT} >= {"prompt", "message", "turn", "apply", "applied", "leaf"}
    assert max(KILLED_AT) < len(rows)


@pytest.mark.parametrize(("at", "torn"), [
    *[(at, False) for at in KILLED_AT], (7, True), (12, True),
    *[pytest.param(at, torn, marks=pytest.mark.slow) for at in range(1, 28) for torn in (False, True)
      if torn or at not in KILLED_AT],
])
def test_killed_at_a_row(repo: Path, rows: list[dict[str, Any]], at: int, torn: bool,
                         monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """kill -9 right after row `at` is on the disk, or in the middle of writing it."""
    real = logs.append_jsonl

    def append(path: Path, row: dict[str, Any], *, durable: bool) -> None:
        if torn and row["id"] == at:
            with path.open("ab") as file:
                file.write(json.dumps(row).encode()[:25])
            die()
        real(path, row, durable=durable)
        if row["id"] == at:
            die()

    with monkeypatch.context() as patch:
        patch.setattr(logs, "append_jsonl", append)
        assert killed(lambda: life(repo)) == signal.SIGKILL
    ((name, _),) = sessions()
    with Session.resume(name) as session:
        # Nothing that was written is lost.
        written = rows[: at if torn else at + 1]
        timeless = [{k: v for k, v in row.items() if k not in ("time", "seconds", "outcomes", "repo")}
                    for row in session.log.rows]  # fmt: skip
        for row, kept in zip(written, timeless):
            assert kept == {k: v for k, v in row.items() if k not in ("time", "seconds", "outcomes", "repo")}
        assert len(session.log.rows) >= len(written)
        consistent(session, repo)
        # It goes on, with a whole conversation, and comes to the same end.
        model = Model(SAY)
        done = ask(session, model, "go on")
        assert done.stop_reason == "complete"
        complete_calls(model.seen[0])
        if session.pending():
            take(session, *session.pending())
        while session.state.prompts:
            session.undo()
        assert texts(repo) == FILES


def consistent(session: Session, repo: Path) -> None:
    """The checkout has exactly what the log says was applied."""
    expected = dict(FILES)
    for row in session.state.applied:
        for path, (_, after) in row["changes"].items():
            data = session.log.contents(after)
            expected.pop(path, None)
            if data is not None:
                expected[path] = data.decode()
    assert texts(repo) == expected
    for path, change in session.pending().items():
        assert change.known
        assert (expected[path].encode() if path in expected else None) == change.before


def complete_calls(messages: list[Message]) -> None:
    """Every call has its result, and one that was lost says so."""
    for at, message in enumerate(messages):
        results = [m.role for m in messages[at + 1 : at + 1 + len(message.tool_calls)]]
        assert results == ["tool"] * len(message.tool_calls)


def test_killed_between_two_files(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what the user agreed to is in the checkout: the other half follows."""
    from vivace.harness import apply

    real, puts = apply._put, []

    def put(*args: Any) -> None:
        real(*args)
        puts.append(args)
        if len(puts) == 1:
            die()

    with monkeypatch.context() as patch:
        patch.setattr(apply, "_put", put)
        assert killed(lambda: life(repo)) == signal.SIGKILL
    assert (texts(repo)[OPS] == FIXED) != ("notes.txt" in texts(repo))  # one of the two
    ((name, _),) = sessions()
    with Session.resume(name) as session:
        assert texts(repo) == {**FILES, OPS: FIXED, "notes.txt": "one\n"}
        assert session.pending() == {}
        assert session.notices == ["changes that were being applied when the last process ended are applied now"]
        session.undo()
        assert texts(repo) == FILES


def test_killed_before_a_result(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two calls in one answer, killed after the first result: the second is said to be unknown."""
    two = Message(role="assistant", tool_calls=[*EDIT.tool_calls, *NEW.tool_calls])

    class Deadly(Hooks):
        def recorded(self, message: Message, *_: Any) -> None:
            if message.role == "tool":
                die()

    def work() -> None:
        with Session.create(repo) as session:
            ask(session, Model(two), front=Deadly())

    assert killed(work) == signal.SIGKILL
    ((name, _),) = sessions()
    with Session.resume(name) as session:
        assert list(session.pending()) == [OPS]
        model = Model(SAY)
        ask(session, model, "go on")
        assert [m.content for m in model.seen[0][-2:]] == [INTERRUPTED, "go on"]
