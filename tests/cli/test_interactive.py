"""The interactive agent as its user meets it: a real process on a pseudo-terminal, with a scripted endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from terminal import Terminal, environment

from harness.calc_repo import FILES, write_tree
from harness.fault_server import FaultServer, chat_events, faulty

OPS = "calc/ops.py"
ADD = ('replace_string_in_file', '{"filePath": "/workspace/calc/ops.py", "oldString": "return a - b", '
       '"newString": "return a + b"}')  # fmt: skip
MEAN = ('replace_string_in_file', '{"filePath": "/workspace/calc/ops.py", "oldString": "    return total / len(values)"'
        ', "newString": "    return total / max(1, len(values))"}')  # fmt: skip
FIXED = FILES[OPS].replace("a - b", "a + b")
USED = {"prompt_tokens": 1000, "completion_tokens": 50}


def reply(content: str, *calls: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"events": chat_events(content, *calls, usage=USED), **more}


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "calc", FILES)


def agent(server: FaultServer, repo: Path, tmp_path: Path, *more: str) -> Terminal:
    return Terminal("agent", "--repo", repo, "--base-url", server.url, "--model", "tiny", *more,
                    env=environment(tmp_path))  # fmt: skip


def tree(repo: Path) -> dict[str, str]:
    return {str(p.relative_to(repo)): p.read_text() for p in sorted(repo.rglob("*")) if p.is_file()}


def test_a_session_on_a_terminal(repo: Path, tmp_path: Path) -> None:
    """Streamed text, live calls with diffs, one hunk taken and one left, undo, the meter, and going on later."""
    replies = [reply("I mend both.\nNow.", ADD, MEAN), reply("Both are mended."), reply("As you like."),
               reply("Still here.")]
    with faulty(replies) as server:
        with agent(server, repo, tmp_path, "--price", "1/0.1/10", "--effort", "high") as terminal:
            terminal.expect("sandbox: ")
            terminal.expect("tiny (high) | 0 in, 0 out, 0.000 spent")
            terminal.enter("mend add and mean")
            for text in ("> mend add and mean", "I mend both.", "Now.", f"replace_string_in_file {OPS}  ok",
                         "+    return a + b", "Both are mended.", f"── {OPS}", "-    return a - b",
                         "take this? (1 of 2)"):  # fmt: skip
                terminal.expect(text)
            assert tree(repo) == FILES  # not touched yet
            terminal.send("?y")
            terminal.expect("y takes it")
            terminal.expect("take this? (2 of 2)")
            terminal.send("n")
            terminal.expect("1 taken, 1 left: calc/ops.py")
            assert tree(repo) == {**FILES, OPS: FIXED}
            terminal.enter("why?")
            terminal.expect("As you like.")
            terminal.enter("/undo")
            terminal.expect("undone: why?")
            terminal.enter("/undo")
            terminal.expect("undone: mend add and mean")
            assert tree(repo) == FILES
            terminal.enter("/nonsense")
            terminal.expect("no command /nonsense")
            terminal.send("\x04")
            terminal.expect("vivace agent --resume ")
            assert terminal.end() == 0
        with agent(server, repo, tmp_path, "--continue") as terminal:
            terminal.enter("and now?")
            terminal.expect("Still here.")
            terminal.enter("/quit")
            assert terminal.end() == 0
        bodies = server.requests
    assert bodies[0]["reasoning_effort"] == "high"
    left = bodies[2]["messages"][-1]["content"]
    assert left.startswith("The user did not take these of your changes")
    assert "+    return total / max(1, len(values))" in left
    assert left.endswith("why?")
    assert [m["role"] for m in bodies[3]["messages"]] == ["system", "user"]  # the rest was undone


def test_stopping_and_steering(repo: Path, tmp_path: Path) -> None:
    """Ctrl-C ends the turn, in an answer and in a command; what is typed meanwhile is read with the next turn."""
    sleep = ("run_in_terminal", '{"command": "sleep 100", "explanation": "", "goal": "", "mode": "sync"}')
    look = ("list_dir", '{"path": "/workspace"}')
    slow = reply("word " * 100, pause=3.0)
    replies = [slow, reply("", sleep), reply("I look.", look, pause=0.4), reply("Then this.")]
    with faulty(replies) as server, agent(server, repo, tmp_path) as terminal:
        terminal.expect("sandbox: ")
        terminal.enter("talk")
        terminal.expect("word word")
        terminal.send("\x03")
        terminal.expect("stopped; say how to go on")
        terminal.enter("sleep")
        terminal.expect("_terminal sleep 100")  # only what differs from the line before is drawn
        terminal.send("\x03")
        terminal.expect("stopped by the user")
        terminal.expect("stopped; say how to go on")
        terminal.enter("look")
        terminal.expect("> look")
        terminal.enter("and be brief")
        terminal.expect("> and be brief  (read next)")
        terminal.expect("Then this.")
        terminal.enter("/quit")
        assert terminal.end() == 0
        last = server.requests[-1]["messages"]
    assert [m["role"] for m in last][-3:] == ["assistant", "tool", "user"]
    assert last[-1]["content"] == "and be brief"
    assert [m["content"] for m in last if m["role"] == "user"][:2] == ["talk", "sleep"]


def test_killed_on_the_terminal_and_resumed(repo: Path, tmp_path: Path) -> None:
    """kill -9 while the model talks, after an edit: both are there again."""
    replies = [reply("I mend it.", ADD), reply("word " * 100, pause=3.0), reply("It was add.")]
    with faulty(replies) as server:
        with agent(server, repo, tmp_path) as terminal:
            terminal.expect("sandbox: ")
            terminal.enter("mend add")
            terminal.expect("word word")
            terminal.kill()
        assert tree(repo) == FILES
        with agent(server, repo, tmp_path, "-c") as terminal:
            terminal.expect("going on after: mend add")
            terminal.enter("/diff")
            terminal.expect("+    return a + b")
            terminal.enter("what was it?")
            terminal.expect("It was add.")
            terminal.expect("take this? (1 of 1)")
            terminal.send("a")
            terminal.expect("1 taken")
            terminal.enter("/quit")
            assert terminal.end() == 0
        roles = [m["role"] for m in server.requests[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "user"]
    assert tree(repo) == {**FILES, OPS: FIXED}
