"""The policy as its user meets it: options, what is said of it, what --yes does not cover, questions on a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from terminal import Terminal, environment

from harness.calc_repo import FILES, write_tree
from harness.chat_server import said, serving
from harness.fault_server import chat_events, faulty

HOOK = {"command": "mkdir .vscode; echo '{}' > .vscode/tasks.json; echo a > a.txt", "explanation": "", "goal": "",
        "mode": "sync"}  # fmt: skip


@pytest.fixture
def calc(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "calc", {**FILES, "Makefile": "all:\n\ttrue\n"})


def test_yes_does_not_cover_what_runs_later(vivace: Callable, calc: Path) -> None:
    with serving(said("", ("run_in_terminal", HOOK)), said("Done.")) as server:
        done = vivace("agent", "add it", "--repo", calc, "--base-url", server.url, "--model", "tiny", "--yes")
    assert done.code == 0
    assert (calc / "a.txt").read_text() == "a\n"
    assert not (calc / ".vscode").exists()
    assert "not to .vscode/tasks.json (run later on this machine" in " ".join(done.out.split())
    assert done.err.startswith("sandbox: workspace-write in ")
    assert "approval: on-request" in done.err


def test_json_says_what_holds_and_what_was_held_back(vivace: Callable, calc: Path) -> None:
    with serving(said("", ("run_in_terminal", HOOK)), said("Done.")) as server:
        done = vivace("agent", "add it", "--repo", calc, "--base-url", server.url, "--model", "tiny", "--yes", "--json")
    first, *_, last = map(json.loads, done.out.splitlines())
    assert first["type"] == "policy"
    assert first["text"].startswith("sandbox: workspace-write in ")
    assert last["data"]["held"] == [".vscode/tasks.json"]
    assert last["data"]["applied"]


def test_read_only_changes_nothing(vivace: Callable, calc: Path) -> None:
    with serving(said("", ("run_in_terminal", HOOK)), said("Done.")) as server:
        done = vivace("agent", "add it", "--repo", calc, "--base-url", server.url, "--model", "tiny", "--yes",
                      "--sandbox", "read-only")  # fmt: skip
    assert done.code == 0
    assert "no changes" in done.out
    assert not (calc / "a.txt").exists()
    assert "sandbox: read-only" in done.err


@pytest.mark.parametrize(("options", "message"), [
    (["--sandbox", "none"], "choose one of read-only, workspace-write, full"), (["--approval", "ask"], "untrusted"),
    (["--sandbox", "full", "--approval", "never"], "--unattended"), (["--sandbox", "full"], "vivace trust"),
])  # fmt: skip
def test_what_does_not_go_together(vivace: Callable, calc: Path, options: list[str], message: str) -> None:
    done = vivace("agent", "x", "--repo", calc, "--base-url", "http://127.0.0.1:9/v1", "--model", "tiny", *options)
    assert done.code == 2
    assert message in done.err


def test_trust(vivace: Callable, calc: Path) -> None:
    write_tree(calc, {".vivace/config.toml": '[policy]\napproval = "untrusted"\n'})
    with serving(said("Hello."), said("Hello.")) as server:
        start = ["agent", "hello", "--repo", calc, "--base-url", server.url, "--model", "tiny", "-p"]
        assert "is not used until you trust it" in vivace(*start).err
        assert 'approval = "untrusted"' in vivace("trust", calc).out
        assert "approval: untrusted" in vivace(*start).err
    assert vivace("trust", "--revoke", calc).out == "trusted no more\n"
    assert vivace("trust", "--show", calc).out.endswith("is not trusted\n")


def test_questions_on_a_terminal(calc: Path, tmp_path: Path) -> None:
    """Asked while it works, with what is being typed kept; `a` in the review does not take what runs later."""

    def shell(line: str) -> tuple[str, str]:
        return "run_in_terminal", json.dumps({"command": line, "explanation": "", "goal": "", "mode": "sync"})

    edit = ("replace_string_in_file", json.dumps({"filePath": "Makefile", "oldString": "true", "newString": "false"}))
    replies = [{"events": chat_events("", *calls)} for calls in (
        [shell("touch one")], [shell("touch two"), shell("touch three; rm README.md")], [edit], [])]  # fmt: skip
    replies[-1] = {"events": chat_events("All done.")}
    with faulty(replies) as server, Terminal(
            "agent", "--repo", calc, "--base-url", server.url, "--model", "tiny", "--approval", "untrusted",
            env=environment(tmp_path)) as terminal:  # fmt: skip
        terminal.expect("sandbox: workspace-write in ")
        terminal.enter("go")
        terminal.expect("run_in_terminal wants: touch one")
        terminal.expect("a always (touch one)")
        terminal.send("n")
        terminal.expect("the user did not allow it")
        terminal.expect("run_in_terminal wants: touch two")
        terminal.send("y")
        terminal.expect("run_in_terminal wants: touch three; rm README.md")
        terminal.send("n")
        terminal.expect("replace_string_in_file wants: Makefile")
        terminal.expect("make runs it, outside the sandbox; y once, n no")
        terminal.send("y")
        terminal.expect("All done.")
        terminal.expect("make runs it, outside the sandbox: it needs a yes of its own")
        terminal.send("n")
        terminal.expect("── two new file")
        terminal.send("a")
        terminal.expect("1 taken, 1 left")
        terminal.enter("/policy read-only")
        terminal.expect("sandbox: read-only in ")
        terminal.enter("/policy full")
        terminal.expect("vivace trust")
        terminal.enter("/quit")
        assert terminal.end() == 0
    assert (calc / "two").exists()
    assert not (calc / "one").exists()
    assert "true" in (calc / "Makefile").read_text()
