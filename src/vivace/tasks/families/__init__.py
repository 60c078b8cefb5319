"""Families of tasks, one file each; `FAMILIES` maps the `family` of a row to what makes and grades it."""

from __future__ import annotations

from typing import Any

from vivace.core.errors import BadInput
from vivace.core.types import Task
from vivace.tasks.families.base import Bench, Family
from vivace.tasks.families.complete import Complete
from vivace.tasks.families.implement import Implement
from vivace.tasks.families.instruct import Instruct
from vivace.tasks.families.question import Question
from vivace.tasks.families.refactor import Refactor
from vivace.tasks.families.repair import Combined, CrossFile, Repair
from vivace.tasks.families.terminal import Terminal
from vivace.tasks.families.testwriting import TestWriting

FAMILIES: dict[str, Family[Any]] = {
    one.name: one for one in (Repair(), Implement(), Complete(), Refactor(), TestWriting(), Question(), Instruct(),
                              Terminal())
}
PRODUCERS: dict[str, Family[Any]] = {"repair": FAMILIES["repair"], "combined": Combined(), "cross-file": CrossFile(),
                                   **FAMILIES}
"""What can be made, in the order in which it is made: combined repairs are made of single ones."""

__all__ = ["FAMILIES", "PRODUCERS", "Bench", "Family", "family_of"]


def family_of(task: Task) -> Family[Any]:
    """The family of a row.

    Raises:
        BadInput: a row of a newer or another version.
    """
    if task.family not in FAMILIES:
        raise BadInput(f"task {task.id}: no family {task.family!r}; there are {', '.join(FAMILIES)}")
    return FAMILIES[task.family]
