"""Answers that are forgotten and asked for again, with `Limits.take_backs` of them allowed in one attempt.

A large model learns from the error it reads; a small one is misled by it, and repeats what it has just said. So, on a
task with tests, an answer goes that had no effect (it was cut short, its edit could not be made, it was mere text), and
so does an edit that did not help: its files are put back as they were. What is forgotten is paid for, in tokens, turns
and test runs, and stays in the trajectory for training (`Trajectory.forgotten`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vivace.core.types import ToolCall
from vivace.harness.tools.base import Result
from vivace.sandbox import Workspace

WITHOUT_EFFECT = frozenset({"no_change", "no_match", "ambiguous", "already_applied", "not_found", "would_not_parse"})
"""Kinds of outcomes that leave everything as it was."""


IN_VAIN = "in_vain"


class TakeBack(Exception):
    """Raised inside a turn, with the reason. IN_VAIN: all that was done since the last safe point goes, not only this
    answer."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True)
class SafePoint:
    """A state to go back to: of the record, of the counts and of the files. `passed`: tests that were green there."""

    mark: tuple[int, int]
    outcomes: int
    turn: int
    state: str
    files: dict[str, bytes | None]
    passed: int

    @classmethod
    def here(cls, mark: tuple[int, int], outcomes: int, turn: int, workspace: Workspace, passed: int) -> SafePoint:
        return cls(mark, outcomes, turn, workspace.state_digest(), workspace.tree_changes(), passed)

    def helped(self, result: Result, several: bool) -> bool:
        """Whether a test run shows progress since here. Where one function is suspected there is one bug, and a
        half-right edit would only bar the way to the right one; where there are several, every test counts."""
        if result.kind == "ok":
            return True
        return several and not result.stopped and (result.passed or 0) > self.passed


def default_test_run(calls: Sequence[ToolCall], results: Sequence[Result]) -> Result | None:
    """The last result of `runTests` without arguments among those of an answer, if it says how many tests passed."""
    found = [result for call, result in zip(calls, results, strict=True)
             if call.name == "runTests" and not call.arguments and result.passed is not None]
    return found[-1] if found else None
