"""Repair episodes as text: the form of an attempt in the harness, with test results that were not executed.

Names, paths, source and edits are those of the file; the failing tests and their errors are made up. They teach the
form (what is edited is what was shown, what did not help is taken back) before any demonstration is.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any

from vivace.core.types import Message, Task, ToolCall
from vivace.harness.attachments import TERSE, Attachment
from vivace.harness.edit.minimal import minimal_edits
from vivace.harness.prompts import opening
from vivace.harness.tools.registry import get_profile
from vivace.tasks.reading import read_back
from vivace.tasks.statements import Suspect, complex_statement, simple_statement

PROFILE = get_profile("nano")
ERRORS = ("assert {a} == {b}", "AssertionError: {a} != {b}", "AssertionError: assert {a} == {b}", "assert False",
          "TypeError: unsupported operand", "IndexError: list index out of range", "AssertionError", "KeyError: {a}",
          "ValueError: {a}", "AttributeError: 'NoneType' object has no attribute",
          "Failed: DID NOT RAISE ValueError")  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """A module with faults; all texts have the same number of lines.

    `functions` maps the names to look at, guilty or not, to their first and last line; each is defined once. `wrong`
    is what the module looks like after each edit that did not help, one after the other; none for a straight repair.
    """

    path: str
    clean: str
    broken: str
    functions: dict[str, tuple[int, int]]
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One message and whether it is worth learning from."""

    message: Message
    good: bool


def episode(fault: Fault, rng: random.Random, reads: bool = False) -> list[Step]:
    """One conversation; empty where not all of the functions would be attached, or where an edit is too long.

    `reads`: each edit is an answer of its own, which first reads back the lines that lead up to it.
    """
    test, error = _test(fault, rng), rng.choice(ERRORS).format(a=rng.randint(0, 40), b=rng.randint(0, 40))
    places = [Suspect(name, fault.path) for name in fault.functions]
    shown = _attached(fault)
    if sum(one.text.count("\n") + 1 for one in shown) > TERSE.total:
        return []
    if len(places) == 1:
        statement = simple_statement(places[0], test, error, rng)
    else:
        statement = complex_statement(places, [(test, error), (_test(fault, rng), error)], rng)
    steps = [Step(message, False) for message in opening(_task(statement), PROFILE, native=True, attached=shown)]
    now = fault.broken
    for text, good in [*((text, False) for text in fault.wrong), (fault.clean, True)]:
        edits = minimal_edits(now, text)
        if not edits or any(not old or old.count("\n") > 6 for old, _ in edits):
            return []
        answers = [[edit] for edit in edits] if reads else [edits]
        for number, answer in enumerate(answers):
            calls = [_call("replace_string_in_file", filePath=fault.path, oldString=a, newString=b) for a, b in answer]
            if number == len(answers) - 1:
                calls.append(_call("runTests"))
            thought = read_back(now, answer[0][0], _begin(fault, now, answer[0][0]), rng) if reads else ""
            steps.append(Step(_turn(*calls, thought=thought), good))
            for old, new in answer:
                after = now.replace(old, new, 1)
                steps.append(_result(f"edited {fault.path} line {_first_change(now, after)}"))
                now = after
        failed = f"0 passed, 1 failed\n{test}\nline {rng.randint(5, 300)}: {error}"
        steps.append(_result(f"{rng.randint(1, 5)} passed, 0 failed" if good else failed))
    return [*steps, Step(_turn(_call("task_complete")), True)]


def _result(text: str) -> Step:
    return Step(Message(role="tool", content=text), False)


def _attached(fault: Fault) -> list[Attachment]:
    """What `vivace.harness.attachments` finds, without parsing the module again for every document."""
    lines = fault.broken.split("\n")
    return [Attachment(name, fault.path, first, "\n".join(lines[first - 1 : last]))
            for name, (first, last) in fault.functions.items()]


def _test(fault: Fault, rng: random.Random) -> str:
    module = re.sub(r".*/|[.]py$", "", fault.path)
    return f"tests/test_{module}.py::test_{rng.choice(list(fault.functions)).strip('_')}"


def _task(statement: str) -> Task:
    return Task(id="", env="", repo="", split="train", licence="", problem_statement=statement, bug_patch="",
                gold_patch="", FAIL_TO_PASS=[], PASS_TO_PASS=[])  # fmt: skip


def _first_change(before: str, after: str) -> int:
    pairs = zip(before.split("\n"), after.split("\n"))
    return next(number for number, (a, b) in enumerate(pairs, 1) if a != b)


def _begin(fault: Fault, now: str, old: str) -> int:
    """First line of the function that the edit is in; of the file where it is in none."""
    line = now.count("\n", 0, now.index(old)) + 1
    return max((first for first, last in fault.functions.values() if first <= line <= last), default=1)


def _turn(*calls: ToolCall, thought: str = "") -> Message:
    return Message(role="assistant", content=thought, tool_calls=list(calls))


def _call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)
