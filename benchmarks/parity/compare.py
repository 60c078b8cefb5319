"""Counting agreement of two graders on the same answers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Verdict = bool | str
Pair = tuple[str, Callable[[], Verdict], Callable[[], Verdict]]
"""(kind | answer, our verdict, upstream's)"""
LEXICON = ("level", "radar", "14", "21", "and,", "but!", "Why?", "😀", "harbour", "the", "a", "I", "you", "*", "-",
           "\"quoted\"", "(deep", "[er])", "*stars*", "UPPER.", "Ends.")


@dataclass
class Agreement:
    """`apart` holds, by kind, every answer on which the two differ."""

    total: int = 0
    positive: int = 0
    apart: dict[str, list[str]] = field(default_factory=dict)

    @property
    def agree(self) -> int:
        return self.total - sum(map(len, self.apart.values()))


def count(pairs: Iterator[Pair]) -> Agreement:
    """Run both graders on every pair. ImportError where upstream is not at hand."""
    found = Agreement()
    for label, ours, theirs in pairs:
        mine, upstream = _verdict(ours), _verdict(theirs)
        found.total, found.positive = found.total + 1, found.positive + bool(upstream)
        if mine != upstream:
            found.apart.setdefault(label.split(" | ")[0], []).append(
                f"{label[:160]}: ours {mine}, upstream {upstream}")
    return found


def changed(text: str, draw: random.Random) -> str:
    """A word taken out, put in, doubled or written otherwise; a line break; a mark at the end."""
    parts = text.split(" ")
    at = draw.randrange(len(parts))
    kind = draw.randrange(8)
    if kind == 0 and len(parts) > 1:
        del parts[at]
    elif kind == 1:
        parts.insert(at, draw.choice(LEXICON))
    elif kind == 2:
        parts.insert(at, parts[at])
    elif kind == 3:
        parts[at] = draw.choice((str.upper, str.lower, str.title))(parts[at])
    elif kind == 4:
        parts[at] += draw.choice((",", ".", "\n", "\n\n", "!", "\""))
    elif kind == 5:
        return text + draw.choice((" ", ".", "\n", "?!", "\n* more", " 7", "\""))
    elif kind == 6:
        lines = text.split("\n")
        return "\n".join(lines[draw.randrange(len(lines)) :])
    return " ".join(parts)


def _verdict(grade: Callable[[], Verdict]) -> Verdict:
    try:
        return grade()
    except Exception as error:  # noqa: BLE001 - an exception is a verdict too, and is compared
        return type(error).__name__
