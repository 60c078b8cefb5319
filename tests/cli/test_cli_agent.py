"""`vivace agent` against a scripted endpoint: the diff is shown, and the checkout changes only when that is agreed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.chat_server import ChatServer, said, serving
from tiny_package import CLEAN
from vivace.commands import agent as agent_command

ASK = "the test in tests/test_shapes.py fails, fix it"
AREA = "shapes/area.py"
LONG = "# " + "a remark that is longer than any terminal is wide " * 4 + "(end)"
EDIT = {"filePath": f"/workspace/{AREA}", "oldString": "    if value >= high + 3:",
        "newString": f"    {LONG}\n    if value > high:"}  # fmt: skip
ANSWERS = (
    said("I run the tests.", ("runTests", {}), usage={"prompt_tokens": 1000, "completion_tokens": 20}),
    said("", ("replace_string_in_file", EDIT), usage={"prompt_tokens": 1100, "completion_tokens": 60}),
    said("", ("runTests", {}), usage={"prompt_tokens": 1200, "completion_tokens": 7}),
    said("", ("task_complete", {"summary": "The bound was [wrong]."}),
         usage={"prompt_tokens": 1300, "completion_tokens": 4}),
)
FIXED = CLEAN[AREA].replace("    if value > high:", f"    {LONG}\n    if value > high:")


def arguments(server: ChatServer, repo: Path, *more: str) -> list[str]:
    return ["agent", ASK, "--repo", str(repo), "--base-url", server.url, "--model", "tiny", *more]


def tree(repo: Path) -> dict[str, str]:
    return {str(path.relative_to(repo)): path.read_text() for path in sorted(repo.rglob("*")) if path.is_file()}


def answering(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_declined(vivace: Callable, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(repo)
    answering(monkeypatch, "n\n")
    with serving(*ANSWERS) as server:
        done = vivace(*arguments(server, repo))
    assert done.code == 1
    assert f"\n+    {LONG}\n" in done.out  # whole lines, whatever the width
    assert "\n-    if value >= high + 3:\n+" in done.out
    assert "Apply these changes?" in done.err
    summary, cost = done.out.splitlines()[-2:]
    assert summary.strip() == "The bound was [wrong]."
    assert cost.startswith("changes not applied; 91 tokens generated (4,600 read) in 4 turns, 2 test runs,")
    assert tree(repo) == before


@pytest.mark.parametrize("keyboard", ["", "y\n"], ids=["nobody there", "agreed"])
def test_the_answer_decides(vivace: Callable, repo: Path, monkeypatch: pytest.MonkeyPatch, keyboard: str) -> None:
    answering(monkeypatch, keyboard)
    with serving(*ANSWERS[1:2], *ANSWERS[3:]) as server:
        done = vivace(*arguments(server, repo))
    assert done.code == (0 if keyboard else 1)
    assert ("changes applied; 64 tokens" if keyboard else "changes not applied; 64 tokens") in done.out
    assert ((repo / AREA).read_text() == FIXED) == bool(keyboard)


def test_yes_in_a_real_process(repo: Path) -> None:
    before = tree(repo)
    with serving(*ANSWERS) as server:
        command = [sys.executable, "-c", "from vivace.cli import main; main()", *arguments(server, repo, "--yes")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, stdin=subprocess.DEVNULL)
    assert done.returncode == 0
    assert done.stderr.startswith("sandbox: workspace-write in ")
    assert done.stderr.count("\n") == 1
    assert f"+    {LONG}" in done.stdout
    assert "Apply these changes?" not in done.stdout
    assert "changes applied; 91 tokens generated (4,600 read) in 4 turns, 2 test runs" in done.stdout
    assert tree(repo) == {**before, AREA: FIXED}
    results = [m["content"] for m in server.requests[-1]["messages"] if m["role"] == "tool"]
    assert results[0].startswith("<summary passed=3 failed=1 />")
    assert results[2] == "<summary passed=4 failed=0 />"
    assert server.requests[0]["model"] == "tiny"
    assert any(tool["function"]["name"] == "replace_string_in_file" for tool in server.requests[0]["tools"])


def test_nothing_to_change(vivace: Callable, repo: Path) -> None:
    with serving(said("It clamps.", usage={"prompt_tokens": 900, "completion_tokens": 3})) as server:
        done = vivace("agent", "What does clamp do?", "--repo", repo, "--base-url", server.url, "--model", "tiny")
    assert done.code == 0
    answer, cost = done.out.splitlines()
    assert answer == "It clamps."
    assert cost.startswith("no changes; 3 tokens generated (900 read) in 1 turns")


@pytest.mark.parametrize(("more", "words"), [
    (["x", "--effort", "huge"], "effort 'huge': choose one of low, medium, high"),
    (["x", "--api", "soap"], "--api soap: choose one of chat, responses"),
    (["x", "--price", "cheap"], "--price cheap: write IN/CACHED/OUT"),
    (["x", "--max-cost", "1"], "--max-cost needs --price"),
    (["x", "--continue"], "leave the prompt, -p and --json out"),
    ([], "nothing to do"),
])
def test_options_that_make_no_sense(vivace: Callable, repo: Path, monkeypatch: pytest.MonkeyPatch, more: list[str],
                                    words: str) -> None:  # fmt: skip
    answering(monkeypatch, "")
    done = vivace("agent", *more, "--repo", repo, "--base-url", "http://127.0.0.1:9", "--model", "tiny")
    assert done.code == 2
    assert words in done.err


def test_a_request_from_standard_input_within_its_budgets(vivace: Callable, repo: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """Two answers of 80 tokens cost more than 0.001 at 10 a million: the second is the last."""
    answering(monkeypatch, ASK)
    with serving(*ANSWERS) as server:
        done = vivace("agent", "-p", *arguments(server, repo)[2:], "--price", "0/0/10", "--max-cost", "0.0007",
                      "--effort", "low", "--yes")  # fmt: skip
    assert done.code == 0
    assert "stopped by: cost; 80 tokens" in done.out
    assert len(server.requests) == 2
    assert {request["reasoning_effort"] for request in server.requests} == {"low"}


def test_the_key_comes_from_the_environment(vivace: Callable, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIVACE_API_KEY", "s3cret")
    with serving(said("Yes.")) as server:
        done = vivace("agent", "Is it?", "--repo", repo, "--base-url", server.url, "--model", "tiny")
    assert {name.lower(): value for name, value in server.headers[0].items()}["authorization"] == "Bearer s3cret"
    assert "s3cret" not in done.out + done.err + json.dumps(server.requests)


def test_an_endpoint_that_dies_after_an_edit_leaves_the_choice(
    vivace: Callable, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work so far is shown and can be kept; the line says why it stopped."""
    answering(monkeypatch, "n\n")
    with serving(ANSWERS[1], (400, {"error": {"message": "gone"}})) as server:
        done = vivace(*arguments(server, repo))
    assert done.code == 1
    assert "changes not applied, stopped by: " in done.out
    assert "refused the request (400): gone; 60 tokens generated" in done.out


def test_a_terminal_sees_the_diff_in_colour_and_whole(
    vivace: Callable, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    shown: Any = io.StringIO()
    monkeypatch.setattr(agent_command, "console", Console(file=shown, force_terminal=True, width=60))
    with serving(*ANSWERS[1:2], *ANSWERS[3:]) as server:
        done = vivace(*arguments(server, repo, "--yes"))
    assert done.code == 0
    assert "\x1b[" in shown.getvalue()
    assert "(end)" in shown.getvalue()
