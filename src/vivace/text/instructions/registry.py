"""All constraints by their public names, and the strict and loose verdict on an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from vivace.core.errors import BadInput
from vivace.text.instructions.constraint import Constraint, known

_MODULES = ("ifeval", "counting", "ratios", "wording", "sentences", "layout", "custom", "repeating")
for _name in _MODULES:
    import_module(f"vivace.text.instructions.{_name}")
CONSTRAINTS: Mapping[str, Constraint] = known()


@dataclass(frozen=True)
class Verdict:
    """Per instruction: followed by the answer as it stands, and by any of its eight loosened forms."""

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]


def follows(name: str, text: str, arguments: Mapping[str, Any], *, mended: bool = False) -> bool:
    """Whether a text follows one instruction; a blank one follows none.

    `mended`: without the faults of the published verifiers (`mended_notes`); scores of published tables are made
    with them.

    Raises:
        BadInput: there is no such constraint, or an argument that it needs is missing.
    """
    if name not in CONSTRAINTS:
        raise BadInput(f"no verifier for the instruction {name!r}; is it data of IFEval or IFBench?")
    given = {key: value for key, value in arguments.items() if value is not None}
    if missing := [key for key in CONSTRAINTS[name].needs if key not in given]:
        raise BadInput(f"the instruction {name} has no argument {missing[0]!r}")
    return bool(text.strip()) and CONSTRAINTS[name].check(text, given, mended)


def judge(names: Sequence[str], arguments: Sequence[Mapping[str, Any]], text: str, *, mended: bool = False) -> Verdict:
    """Strict and loose verdict on every instruction of an item."""
    strict, loose = [], []
    for name, given in zip(names, arguments, strict=True):
        strict.append(follows(name, text, given, mended=mended))
        loose.append(strict[-1] or any(follows(name, form, given, mended=mended) for form in loosened(text)))
    return Verdict(tuple(strict), tuple(loose))


def loosened(text: str) -> list[str]:
    """Seven forms of an answer: without its first line, its last line, both, and each of these and it without stars."""
    lines = text.split("\n")
    cut = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    return [*cut, *(form.replace("*", "") for form in (text, *cut))]


def mended_notes() -> dict[str, str]:
    """What `mended` does otherwise, by constraint."""
    return {name: constraint.mended for name, constraint in CONSTRAINTS.items() if constraint.mended}
