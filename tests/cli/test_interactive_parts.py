"""The parts of the interactive agent without a terminal: what the screen shows, and what comes of a review."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from harness.calc_repo import write_tree
from vivace.commands.interactive.front import Front
from vivace.commands.interactive.review import review
from vivace.commands.interactive.screen import Screen
from vivace.commands.interactive.text import plain, short_count
from vivace.core.types import Delta, ToolCall, Usage
from vivace.harness.hooks import Event
from vivace.harness.sessions.changes import Change
from vivace.harness.sessions.session import Session

CALL = ToolCall(name="read_file", arguments={"filePath": "/workspace/a.py"})


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=40, highlight=False)


def shown(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_what_others_write_cannot_steer_the_terminal() -> None:
    evil = "a\x1b[2Jb\x1b]0;title\x07c\x9b1md\re\x08\x1b(f\tg\nh\x00"
    assert plain(evil) == "abc1mde(f\tg\nh"
    assert "\x1b" not in plain("\x1b" * 3 + "[31m")


def test_words_come_as_they_are_said(console: Console) -> None:
    screen = Screen(console, None)
    screen.begin()
    for piece in ("The fir", "st line\nand a second one that is ", "longer than the screen is wide"):
        screen.delta(Delta(text=piece))
    assert shown(console) == "The first line\nand a second one that is longer than\n"
    assert screen.live().plain.startswith("the screen is wide\n")
    assert "answering, 0 s  Ctrl-C stops" in screen.live().plain
    screen.event(Event(type="message", text="whatever: it was told"))
    assert shown(console).endswith("\nthe screen is wide\n")
    screen.delta(Delta(again=True))
    assert "broke off" in shown(console)
    screen.delta(Delta(call="read_file"))
    screen.taken_back()
    assert "taken back" in shown(console)
    assert "thinking" in screen.live().plain


def test_words_that_were_not_streamed_are_shown_once(console: Console) -> None:
    screen = Screen(console, None)
    screen.begin()
    screen.event(Event(type="message", text="All at once."))
    assert shown(console) == "All at once.\n"


def test_wide_characters_fill_their_columns(console: Console) -> None:
    screen = Screen(console, None)
    screen.begin()
    screen.delta(Delta(text="語" * 50))
    assert max(len(line) for line in shown(console).splitlines()) <= 20
    screen.event(Event(type="message"))
    assert shown(console).count("語") == 50


def test_calls_are_shown_while_they_are_written_and_run(console: Console) -> None:
    screen = Screen(console, None)
    assert not screen.live()
    screen.begin()
    screen.delta(Delta(call="read_file"))
    screen.delta(Delta(arguments="x" * 2500))
    assert "writing read_file 2.5k" in screen.live().plain
    screen.event(Event(type="tool_call", call=CALL))
    assert "running read_file a.py" in screen.live().plain
    screen.event(Event(type="tool_result", call=CALL, kind="not_found", text="ERROR: \x1b[2Jno file", seconds=0.1))
    assert shown(console) == "● read_file a.py  not found, 0.1 s\n  ERROR: no file\n"
    screen.event(Event(type="tool_result", call=CALL, kind="ok", text="done\n@@ -1 +1 @@\n-a\n+b\n", seconds=0.1))
    assert shown(console).endswith("  @@ -1 +1 @@\n  -a\n  +b\n")


def test_the_meter_adds_up(console: Console) -> None:
    screen = Screen(console, (1.0, 0.1, 10.0))
    screen.begin()
    screen.event(Event(type="usage", usage=Usage(input_tokens=1000, output_tokens=500)))
    assert screen.meter() == "1.0k in, 500 out, 0.006 spent, 0:00"
    screen.end(Usage(input_tokens=1000, output_tokens=500), 75)
    assert screen.meter() == "1.0k in, 500 out, 0.006 spent, 1:15"
    assert [short_count(n) for n in (999, 12_345, 123_456, 2_500_000)] == ["999", "12.3k", "123k", "2.5M"]


def test_a_stop_is_seen_and_forgotten() -> None:
    import select

    front = Front(Screen(Console(file=io.StringIO()), None))
    front.stop()
    front.stop()
    assert front.stopped()
    assert select.select([front.interrupt], [], [], 0)[0]
    front.begin()
    assert not front.stopped()
    assert not select.select([front.interrupt], [], [], 0)[0]
    front.steer("a")
    assert (list(front.steering()), list(front.steering())) == (["a"], [])
    front.close()


BEFORE = "".join(f"line {n}\n" for n in range(30))
AFTER = BEFORE.replace("line 2\n", "two\n").replace("line 15\n", "fifteen\n").replace("line 28\n", "")


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """With three hunks in one file and a new file to decide on."""
    monkeypatch.setenv("VIVACE_STATE", str(tmp_path / "state"))
    repo = write_tree(tmp_path / "repo", {"a.txt": BEFORE})
    with Session.create(repo) as opened:
        pending = {"a.txt": Change(BEFORE.encode(), AFTER.encode()), "new.txt": Change(None, b"new\n")}
        opened.apply({}, pending)
        yield opened


def decide(session: Session, console: Console, keys: str) -> str:
    left = list(keys)
    review(session, console, lambda question, allowed: left.pop(0))
    assert not left
    return (session.repo / "a.txt").read_text()


def test_hunks_are_taken_left_and_kept(session: Session, console: Console) -> None:
    assert decide(session, console, "ynl") == BEFORE.replace("line 2\n", "two\n")
    pending = session.pending()
    assert pending["a.txt"].after == BEFORE.replace("line 2\n", "two\n").replace("line 28\n", "").encode()
    assert pending["new.txt"].after == b"new\n"
    assert "1 taken, 1 left, 2 to decide later" in " ".join(shown(console).split())
    (remark,) = session.state.remarks
    assert "+fifteen" in remark
    assert "two" not in remark
    assert decide(session, console, "a") == pending["a.txt"].after.decode()  # later
    assert (session.repo / "new.txt").exists()


def test_all_or_none_from_here(session: Session, console: Console) -> None:
    assert decide(session, console, "nd") == BEFORE
    assert session.pending() == {}
    assert not (session.repo / "new.txt").exists()
    assert "new.txt" in session.state.remarks[0]


def test_yes_takes_everything(session: Session, console: Console) -> None:
    review(session, console, lambda *_: pytest.fail("asked"), yes=True)
    assert (session.repo / "a.txt").read_text() == AFTER
    assert session.state.remarks == []


def test_newer_work_is_not_overwritten(session: Session, console: Console) -> None:
    (session.repo / "a.txt").write_text("mine\n")
    assert decide(session, console, "a") == "mine\n"
    assert "a.txt changed while the agent worked" in " ".join(shown(console).split())
    assert sorted(session.pending()) == ["a.txt", "new.txt"]  # still there
