"""What a constraint is, and the list that modules add theirs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Arguments = Mapping[str, Any]
Check = Callable[[str, Arguments, bool], bool]
"""(text, arguments, mended) to whether the text follows the instruction. Never asked about blank texts."""


@dataclass(frozen=True)
class Constraint:
    """A verifier. `mended` says in a line what is wrong with the published one; empty where nothing is."""

    check: Check
    needs: tuple[str, ...] = ()
    mended: str = ""


_KNOWN: dict[str, Constraint] = {}


def constraint(name: str, *needs: str, mended: str = "") -> Callable[[Check], Check]:
    """Add a verifier under its public name."""

    def add(check: Check) -> Check:
        _KNOWN[name] = Constraint(check, needs, mended)
        return check

    return add


def known() -> dict[str, Constraint]:
    """Every constraint that was added so far."""
    return _KNOWN


def listed(text: str) -> tuple[str, ...]:
    """A list of words."""
    return tuple(text.split())


def relation(count: int, arguments: Arguments, key: str, which: str = "relation") -> bool:
    """IFEval's two comparisons: "less than" the argument, else at least as many."""
    wanted = int(arguments[key])
    return count < wanted if arguments.get(which) == "less than" else count >= wanted
