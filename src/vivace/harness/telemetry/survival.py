"""How much of an accepted edit is still there, by the two measures that editors use.

`four_gram`: of the runs of four characters of the edit's lines, the share that the same place of the file still has
(counted with repetition). `no_revert`: 1 while the place is as far from what was there before the edit as the edit made
it, 0 once it is as near to it as it was; similarity is that of `difflib` over characters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

GRAM = 4


@dataclass(frozen=True)
class Survival:
    """Both in [0, 1]."""

    four_gram: float
    no_revert: float


def survival(after: str, now: str | None, span: tuple[int, int], old: str) -> Survival:
    """Of one hunk.

    Args:
        after: the file as the edit left it.
        now: the file as it is; None: it is gone.
        span: lines of `after` that the hunk has put there, 0-based, end exclusive; empty for a deletion.
        old: the text that stood in their place.
    """
    if now is None:
        return Survival(0.0, 0.0)
    lines = after.splitlines(keepends=True)
    new = "".join(lines[span[0] : span[1]])
    place = "".join(_place(lines, now.splitlines(keepends=True), span))
    return Survival(_contained(new, place), _not_reverted(old, new, place))


def hunks(before: str, after: str) -> list[tuple[tuple[int, int], str]]:
    """(lines of `after`, the text that stood there before) of each change."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    found = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [((j1, j2), "".join(old[i1:i2])) for tag, i1, i2, j1, j2 in found if tag != "equal"]


def _place(then: Sequence[str], now: Sequence[str], span: tuple[int, int]) -> Sequence[str]:
    """The lines of `now` where those of `span` were. What is unchanged around them tells the place."""
    begin, end = 0, len(now)
    for tag, i1, i2, j1, _ in SequenceMatcher(None, then, now, autojunk=False).get_opcodes():
        if tag != "equal":
            continue
        if i1 < span[0]:
            begin = j1 + min(i2, span[0]) - i1
        if i2 > span[1]:
            end = j1 + max(i1, span[1]) - i1
            break
    return now[begin : max(begin, end)]


def _contained(new: str, place: str) -> float:
    wanted = _grams(new)
    if not wanted:  # a deletion, or next to nothing: it is there as long as nothing else is
        return float(new.strip() == place.strip())
    return sum((wanted & _grams(place)).values()) / wanted.total()


def _grams(text: str) -> Counter[str]:
    return Counter(text[at : at + GRAM] for at in range(len(text) - GRAM + 1))


def _not_reverted(old: str, new: str, place: str) -> float:
    if place == new:
        return 1.0
    far = 1.0 - _alike(old, new)
    if far == 0.0:
        return 1.0
    return max(0.0, min(1.0, (1.0 - _alike(old, place)) / far))


def _alike(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()
