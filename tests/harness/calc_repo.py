"""A tiny repository with a bug, the task to fix it, and scripted policies that do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from vivace.core.types import Message, Task, ToolCall
from vivace.sandbox.testrun import TestReport

FILES = {
    "calc/__init__.py": "from calc.ops import add, mean\n",
    "calc/ops.py": '"""Sums."""\n\n\ndef add(a, b):\n    """Sum of two numbers."""\n    return a - b\n\n\n'
    "def mean(values):\n    total = 0\n    for value in values:\n        total = add(total, value)\n"
    "    return total / len(values)\n",
    "tests/test_ops.py": "from calc import add, mean\n\n\ndef test_add():\n    assert add(1, 2) == 3\n\n\n"
    "def test_mean():\n    assert mean([2, 4]) == 3\n\n\nclass TestZero:\n    def test_zero(self):\n"
    "        assert add(0, 0) == 0\n",
    "README.md": "Calc\n====\nAdds numbers.\n",
}
TASK = Task(
    id="calc-1",
    env="calc",
    repo="calc",
    split="train",
    licence="MIT",
    problem_statement="tests/test_ops.py::test_add fails. Fix it.",
    bug_patch="",
    gold_patch="",
    FAIL_TO_PASS=["tests/test_ops.py::test_add", "tests/test_ops.py::test_mean"],
    PASS_TO_PASS=["tests/test_ops.py::TestZero::test_zero"],
)


def write_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return root


def call(name: str, **arguments: object) -> Message:
    """An assistant message with one call."""
    return Message(role="assistant", tool_calls=[ToolCall(name=name, arguments=arguments)])


def script(*answers: Message) -> Callable[[Sequence[Message]], Message]:
    """A policy that gives these answers in turn, whatever it is told."""

    def policy(messages: Sequence[Message]) -> Message:
        return answers[sum(m.role == "assistant" for m in messages)]

    return policy


FIX = (
    call("runTests"),
    call("grep_search", query="def add"),
    call("read_file", filePath="calc/ops.py", startLine="4", endLine="7"),
    call("replace_string_in_file", filePath="calc/ops.py", oldString="return a - b", newString="return a + b"),
    call("runTests"),
    call("task_complete"),
)


def no_tests(ids: list[str] | None) -> TestReport:
    """A runner for tests of tools that run none."""
    raise AssertionError("no tests should have been run")
