"""Tools pinned by data alone: a new case is a new folder, no code.

    NNN_name/before/       the files
    NNN_name/call.json     {"profile", "name", "arguments"}, or {"profile", "calls": [{"name", "arguments"}, ...]} where
                           what the last call answers is compared
    NNN_name/after/        the files afterwards; absent if unchanged
    NNN_name/result.txt    the outcome's kind, then what the model reads
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from vivace.core.types import ToolCall
from vivace.harness.environment import Environment
from vivace.harness.tools.base import Context
from vivace.harness.tools.registry import PROFILES, get_profile
from vivace.sandbox import Workspace, open_sandbox, run_pytest

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("[0-9]*"))


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def play(folder: Path) -> tuple[str, dict[str, bytes]]:
    """(kind and text of the last call, the files afterwards)."""
    request = json.loads((folder / "call.json").read_text())
    profile = get_profile(request["profile"])
    with Workspace(folder / "before", open_sandbox()) as workspace:
        tests = Environment(workspace, lambda ids: run_pytest(workspace, Path(sys.executable), ids or ()))
        context = Context(tests, profile.terse)
        for each in request.get("calls", [request]):
            call = ToolCall(name=each["name"], arguments=each["arguments"])
            result, outcome = profile.call(call, context)
        return f"{outcome.kind}\n{result.text}\n", {path: workspace.read_bytes(path) for path in workspace.files()}


@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda folder: folder.name)
def test_scenario(folder: Path) -> None:
    said, after = play(folder)
    assert said == (folder / "result.txt").read_bytes().decode()
    expected = folder / "after"
    assert after == tree(expected if expected.exists() else folder / "before")


def test_there_are_enough_and_every_tool_has_one() -> None:
    assert len(SCENARIOS) >= 60
    named = set()
    for folder in SCENARIOS:
        request = json.loads((folder / "call.json").read_text())
        named |= {call["name"] for call in request.get("calls", [request])}
    assert set(PROFILES["copilot"].tools) <= named
