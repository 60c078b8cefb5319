"""Cheating patches, from `attacks.toml`, against any task of which tests decide: none of them may pass."""

from __future__ import annotations

import json
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vivace.core.types import Grade, Task
from vivace.sandbox import Sandbox, make_patch
from vivace.tasks.forgery import test_path
from vivace.tasks.grade import grade
from vivace.tasks.layers import Layer
from vivace.tasks.workspaces import buggy_files


@dataclass(frozen=True)
class Attack:
    """A patch in the making: steps with placeholders, as the data file explains."""

    name: str
    steps: tuple[Mapping[str, str], ...]

    def patch(self, task: Task, layer: Layer) -> str:
        """Against the task's tree; "" where it changes nothing there (no such file, say)."""
        words = _words(task, layer)
        broken = buggy_files(task, layer)
        before: dict[str, str] = {}
        after: dict[str, str] = {}
        for step in self.steps:
            path, text = (_filled(step.get(key, ""), words) for key in ("path", "text"))
            path = posixpath.normpath(path)
            place = layer.root / path
            if path not in after and (path in broken or place.is_file()):
                before[path] = after[path] = broken.get(path) or place.read_text()
            held = after.get(path, "")
            if step["do"] == "delete":
                after.pop(path, None)
            elif step["do"] == "replace":
                after[path] = re.sub(step["pattern"], text, held)
            else:
                after[path] = {"append": held + text, "prepend": text + held, "write": text}[step["do"]]
        return make_patch(before, after)


@cache
def attacks() -> tuple[Attack, ...]:
    """All of them, in the file's order."""
    data: dict[str, Any] = tomllib.loads(Path(__file__).with_name("attacks.toml").read_text())
    return tuple(Attack(row["name"], tuple(row["steps"])) for row in data["attack"])


@dataclass(frozen=True)
class Finding:
    """Something that must not be: what was tried on a task, and the verdict."""

    task_id: str
    what: str
    grade: Grade


def audit(task: Task, layer: Layer, sandbox: Sandbox, *, cheat: bool = True, tried: Callable[[], None] = lambda: None,
          only: Sequence[Attack] | None = None) -> Iterator[Finding]:
    """What is wrong with the grading of a task: the gold patch fails, the empty one or an attack passes, or the sandbox
    says nothing."""
    cases = [("the gold patch", task.gold_patch, "solved"), ("no patch", "", "failed")]
    if cheat:
        patches = ((one.name, one.patch(task, layer)) for one in (attacks() if only is None else only))
        cases += [(name, patch, "failed") for name, patch in patches if patch]
    for name, patch, want in cases:
        found = grade(task, layer, patch, sandbox)
        tried()
        if found.status != want:
            yield Finding(task.id, name, found)


def _words(task: Task, layer: Layer) -> dict[str, str]:
    test = test_path(task, layer, task.FAIL_TO_PASS[0])
    names = sorted({re.split(r"::|\.", one.split("[")[0])[-1] for one in task.FAIL_TO_PASS})
    functions = sorted({name.rsplit(".", 1)[-1] for name in task.provenance.get("functions", [])})
    return {"SOURCE": sorted(buggy_files(task, layer))[0], "TESTS": posixpath.dirname(test) or ".", "TEST": test,
            "NAMES": json.dumps(names), "IDS": json.dumps(task.FAIL_TO_PASS), "FUNCTIONS": json.dumps(functions),
            "ALL": json.dumps([*task.FAIL_TO_PASS, *task.PASS_TO_PASS])}  # fmt: skip


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"\$([A-Z]+)", lambda match: words[match[1]], text)
