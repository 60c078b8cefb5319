"""`vivace ask`, and events as lines of JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from harness.chat_server import said, serving
from vivace.commands.live import Live, describe
from vivace.core.types import ToolCall
from vivace.harness.hooks import Event

AREA = "/workspace/shapes/area.py"
EDIT = {"filePath": AREA, "oldString": "    if value >= high + 3:", "newString": "    if value > high:"}
USED = {"prompt_tokens": 100, "completion_tokens": 5}


def options(url: str, repo: Path) -> list[object]:
    return ["--repo", repo, "--base-url", url, "--model", "tiny"]


def test_a_question_is_answered_and_nothing_can_be_changed(vivace: Callable, repo: Path) -> None:
    before = (repo / "shapes/area.py").read_text()
    answers = (said("", ("replace_string_in_file", EDIT), usage=USED), said("In area.py [line 3].", usage=USED))
    with serving(*answers) as server:
        done = vivace("ask", "Which test fails in tests/test_gone.py?", *options(server.url, repo))
    assert (done.code, done.out) == (0, "In area.py [line 3].\n")
    assert done.err.startswith("no changes; 10 tokens generated (200 read) in 2 turns")
    assert (repo / "shapes/area.py").read_text() == before
    first = server.requests[0]
    assert "change nothing" in first["messages"][0]["content"]
    names = {tool["function"]["name"] for tool in first["tools"]}
    assert "read_file" in names
    assert not names & {"replace_string_in_file", "create_file", "run_in_terminal", "runTests", "task_complete"}
    assert "no tool 'replace_string_in_file'" in server.requests[1]["messages"][-1]["content"]


def test_a_plan_is_asked_for_in_other_words(vivace: Callable, repo: Path) -> None:
    with serving(said("First ...", usage=USED)) as server:
        done = vivace("ask", "--plan", "Add circles", *options(server.url, repo))
    assert done.out == "First ...\n"
    assert "plan a change" in server.requests[0]["messages"][0]["content"]


@pytest.mark.parametrize("yes", [True, False])
def test_events_are_lines_of_json_and_apply_only_with_yes(vivace: Callable, repo: Path, yes: bool) -> None:
    before = (repo / "shapes/area.py").read_text()
    answers = (said("So:", ("replace_string_in_file", EDIT), usage=USED), said("Done.", usage=USED))
    with serving(*answers) as server:
        done = vivace("agent", "mend it", "--json", *(["--yes"] if yes else []), *options(server.url, repo))
    events = [Event.model_validate(json.loads(line)) for line in done.out.splitlines()]
    assert [e.type for e in events] == ["policy", "usage", "message", "tool_call", "tool_result", "usage", "message",
                                        "done"]
    assert events[0].text.startswith("sandbox: workspace-write in ")
    assert events[3].call == ToolCall(name="replace_string_in_file", arguments=EDIT, id="id0")
    last = events[-1]
    assert (last.reason, last.text, last.usage and last.usage.output_tokens) == ("complete", "Done.", 10)
    assert "+    if value > high:" in last.data["patch"]
    assert last.data["applied"] is yes
    assert done.code == (0 if yes else 1)
    assert ((repo / "shapes/area.py").read_text() != before) is yes
    assert done.err == ""


def test_calls_fit_a_line_of_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Live(Console(force_terminal=True, width=40, color_system=None))
    call = ToolCall(name="grep_search", arguments={"query": "a very long expression " * 5})
    shown.event(Event(type="message", text="I look.\n"))
    shown.event(Event(type="tool_call", call=call))
    shown.event(Event(type="tool_result", call=call, kind="no_results", seconds=0.25))
    shown.event(Event(type="message", text="The answer"))  # printed at the end, not here
    said, line = capsys.readouterr().out.splitlines()
    assert said == "I look."
    assert line.startswith("- grep_search a very long")
    assert len(line) <= 40
    read = ToolCall(name="read_file", arguments={"filePath": "/workspace/a.py", "startLine": 3, "endLine": 9})
    assert describe(read) == "read_file a.py:3-9"


def test_what_was_said_is_shown_once_when_calls_run_in_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []
    shown = Live(Console(force_terminal=True, width=40))

    def slow(*said: object, **style: object) -> None:
        time.sleep(0.05)
        printed.append(str(said[0]))

    monkeypatch.setattr(shown.console, "print", slow)
    shown.event(Event(type="message", text="I look."))
    started = Event(type="tool_call", call=ToolCall(name="list_dir"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(shown.event, [started] * 4))
    assert printed == ["I look."]
