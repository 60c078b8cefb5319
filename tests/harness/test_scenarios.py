"""Edit tools pinned by data alone: a new case is a new folder, no code.

    NNN_name/before/       the files
    NNN_name/call.json     {"profile", "name", "arguments"}
    NNN_name/after/        the files afterwards; absent if unchanged
    NNN_name/result.txt    the outcome's kind, then what the model reads
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from calc_repo import no_tests

from vivace.core.types import ToolCall
from vivace.harness.environment import Environment
from vivace.harness.tools.base import Context
from vivace.harness.tools.registry import get_profile
from vivace.sandbox import Workspace, open_sandbox

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("[0-9]*"))


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda folder: folder.name)
def test_scenario(folder: Path) -> None:
    request = json.loads((folder / "call.json").read_text())
    profile = get_profile(request.pop("profile"))
    with Workspace(folder / "before", open_sandbox()) as workspace:
        context = Context(Environment(workspace, no_tests), profile.terse)
        result, outcome = profile.call(ToolCall(**request), context)
        after = {path: workspace.read_bytes(path) for path in workspace.files()}
    assert f"{outcome.kind}\n{result.text}\n" == (folder / "result.txt").read_bytes().decode()
    expected = folder / "after"
    assert after == tree(expected if expected.exists() else folder / "before")
