"""Whole repair episodes as text: the form of an attempt in the harness, with results that were not executed.

Names, paths, lines and edits are those of the file; the failing test and its error are made up. They teach the form
(what is looked for is what the user named; what is read is where it was found) before any demonstration is shown.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

from vivace.core.types import Message, Task, ToolCall
from vivace.harness.prompts import opening
from vivace.harness.tools.read_file import TERSE_LINES
from vivace.harness.tools.registry import get_profile
from vivace.tasks.statements import Suspect, simple_statement

PROFILE = get_profile("nano")
ERRORS = ("assert {a} == {b}", "AssertionError: {a} != {b}", "TypeError: unsupported operand", "IndexError: list index",
          "AssertionError", "KeyError: {a}", "ValueError: {a}")  # fmt: skip


def whole_episode(
    broken: str, path: str, name: str, lines: tuple[int, int], edits: Sequence[tuple[str, str]], rng: random.Random
) -> Iterator[list[Message]]:
    """One conversation; none where the search would not find the function in one hit."""
    text = broken.removesuffix("\n").split("\n")
    hits = [number for number, line in enumerate(text, 1) if f"def {name}(" in line]
    if len(hits) != 1 or not lines[0] <= hits[0] <= lines[1]:
        return
    at = hits[0]
    error = rng.choice(ERRORS).format(a=rng.randint(0, 40), b=rng.randint(0, 40))
    test = f"tests/test_{re.sub(r'.*/|[.]py$', '', path)}.py::test_{name.strip('_')}"
    statement = simple_statement(Suspect(name, path), test, error, rng)
    new_lines = [f"edited {path} line {_line_of(text, old)}" for old, _ in edits]
    yield [
        *opening(_task(statement), PROFILE, native=True),
        _turn(_call("grep_search", query=f"def {name}(", includePattern=path)),
        Message(role="tool", content=f"{path}:{at}: {text[at - 1].strip()}"),
        _turn(_call("read_file", filePath=path, startLine=at)),
        Message(role="tool", content="\n".join(text[at - 1 : at - 1 + TERSE_LINES])),
        _turn(*(_call("replace_string_in_file", filePath=path, oldString=old, newString=new) for old, new in edits),
              _call("runTests")),
        *(Message(role="tool", content=line) for line in new_lines),
        Message(role="tool", content=f"{rng.randint(1, 5)} passed, 0 failed"),
        _turn(_call("task_complete")),
    ]


def _task(statement: str) -> Task:
    return Task(id="", env="", repo="", split="train", licence="", problem_statement=statement, bug_patch="",
                gold_patch="", FAIL_TO_PASS=[], PASS_TO_PASS=[])  # fmt: skip


def _line_of(text: Sequence[str], old: str) -> int:
    return "\n".join(text).partition(old)[0].count("\n") + 1


def _turn(*calls: ToolCall) -> Message:
    return Message(role="assistant", tool_calls=list(calls))


def _call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)
