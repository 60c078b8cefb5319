"""The sub-agent behind `runSubagent`: an attempt of its own that can only look, paid for by the one that asks."""

from __future__ import annotations

from collections.abc import Callable

from vivace.core.errors import InfraError
from vivace.core.types import Task, Trajectory
from vivace.harness.hooks import Hooks
from vivace.harness.limits import Budget, Limits

Play = Callable[[Task, Limits, Hooks], Trajectory]
"""Plays a task in the files of the one who asks, with the profile "explore"."""


class _Quiet(Hooks):
    """Nothing is told; the user's wish to stop counts all the same."""

    def __init__(self, outer: Hooks) -> None:
        self._outer = outer

    def stopped(self) -> bool:
        return self._outer.stopped()


def explorer(task: Task, budget: Budget, hooks: Hooks, play: Play) -> Callable[[str], str]:
    """A function that answers questions about the files; its tokens count in `budget`, within what is left there."""

    def explore(question: str) -> str:
        left = max(1, budget.limits.max_output_tokens - budget.usage.output_tokens)
        seconds = max(0.1, budget.limits.max_seconds - budget.seconds)
        limits = budget.limits.model_copy(
            update={"max_output_tokens": left, "max_seconds": seconds, "take_backs": 0})
        asked = task.model_copy(update={"problem_statement": question, "FAIL_TO_PASS": [], "PASS_TO_PASS": []})
        found = play(asked, limits, _Quiet(hooks))
        budget.add(found.usage)
        if found.error:
            raise InfraError(found.error)
        return found.answer()

    return explore
