"""Finding the one place an edit means.

A ladder of ever more forgiving comparisons; each step must give exactly one hit, and the span found is always a range
of the file's own characters, so everything outside it stays as it is:

    exact -> line ends -> trailing blanks -> typographic look-alikes -> uniform indentation -> refuse

A byte order mark is kept and never matched.

Nothing is guessed beyond that: a silent wrong edit costs more than an error that says what is there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vivace.harness.edit.indent import Reindent, fit_indentation

Step = Literal["exact", "line_endings", "trailing_blanks", "look_alikes", "indentation"]
Reason = Literal["no_match", "ambiguous", "no_change", "already_applied", "omission"]

_LOOK_ALIKES = str.maketrans({
    **dict.fromkeys("‘’‚‛′", "'"), **dict.fromkeys("“”„‟″", '"'),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    **dict.fromkeys("\u00a0\u1680\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000", " "),
})  # fmt: skip
BOM = "\ufeff"
_BLANKS = re.compile(r"[ \t]+(?=\n|$)")
_OMISSION = re.compile(
    r"^[ \t]*(#|//|/\*|<!--|--|;)[ \t]*"
    r"((\.\.\.|…)|\(?(existing|rest of|remaining|unchanged|same as before)\b[^\n]*"
    r"(code|method|function|lines|file|unchanged|before))",
    re.MULTILINE | re.IGNORECASE,
)


@dataclass(frozen=True)
class Match:
    """Replace `text[start:end]` by `new`. `step` is the rung of the ladder that found it."""

    start: int
    end: int
    new: str
    step: Step


@dataclass(frozen=True)
class Refusal:
    """Why an edit has no single place. `lines` are the 1-based lines of the candidate places, if any."""

    reason: Reason
    lines: tuple[int, ...] = ()


def find(text: str, old: str, new: str, near: Sequence[tuple[int, int]] = ()) -> Match | Refusal:
    """The single place where `old` stands in `text`, and what to put there.

    `new` comes back adapted to the place: with its line ends, and under `indentation` with the same shift. `near`:
    ranges of lines (1-based, ends included) that were shown; of several places the only one that lies in them is meant.
    """
    if text.startswith(BOM):  # the mark belongs to the file, not to its text
        found = find(text[1:], old.removeprefix(BOM), new.removeprefix(BOM), near)
        return replace(found, start=found.start + 1, end=found.end + 1) if isinstance(found, Match) else found
    if old == new:
        return Refusal("no_change")
    if not old:
        return Match(0, 0, new, "exact") if not text else Refusal("no_match")
    marker = _OMISSION.search(new)
    if marker and marker.group(0).strip() not in text:
        return Refusal("omission")
    for step, search in _LADDER:
        hits = search(text, old, new)
        if len(hits) > 1 and near:
            shown = [hit for hit in hits if any(a <= line_of(text, hit[0]) <= b for a, b in near)]
            hits = shown if len(shown) == 1 else hits
        if len(hits) == 1:
            start, end, fitted = hits[0]
            if text[start:end] == fitted:
                return Refusal("no_change")
            return Match(start, end, fitted, step)
        if hits:
            return Refusal("ambiguous", tuple(line_of(text, start) for start, _, _ in hits))
    return _refuse(text, old, new)


def line_of(text: str, offset: int) -> int:
    """1-based line number of a character."""
    return text.count("\n", 0, offset) + 1


def _refuse(text: str, old: str, new: str) -> Refusal:
    if _OMISSION.search(old):
        return Refusal("omission")
    places = _occurrences(text, new) if new.strip() else []
    if places:
        return Refusal("already_applied", tuple(line_of(text, start) for start in places))
    return Refusal("no_match")


_Hit = tuple[int, int, str]


def _exact(text: str, old: str, new: str) -> list[_Hit]:
    hits = [(start, start + len(old)) for start in _occurrences(text, old)]
    return [(start, end, new if "\r" in new else with_line_ends(new, text, start, end)) for start, end in hits]


def _occurrences(text: str, part: str) -> list[int]:
    """Starts of every occurrence, overlapping ones too."""
    found, start = [], text.find(part)
    while start >= 0:
        found.append(start)
        start = text.find(part, start + 1)
    return found


# --- comparisons after normalising both sides ----------------------------------------------------------------------

_Folded = tuple[str, list[int]]
"""A normalised text and, for each of its characters and its end, the offset in the original."""


def _identity(text: str) -> _Folded:
    return text, list(range(len(text) + 1))


def _fold_line_ends(folded: _Folded) -> _Folded:
    text, at = folded
    if "\r" not in text:
        return folded
    keep = [i for i, c in enumerate(text) if not (c == "\r" and text[i + 1 : i + 2] == "\n")]
    offsets = [at[i] for i in keep]
    for new, i in enumerate(keep):  # a newline stands for the whole "\r\n", which starts one earlier
        if text[i] == "\n" and i and text[i - 1] == "\r":
            offsets[new] = at[i - 1]
    return "".join(text[i] for i in keep), [*offsets, at[-1]]


def _fold_trailing_blanks(folded: _Folded) -> _Folded:
    text, at = folded
    drop = {i for m in _BLANKS.finditer(text) for i in range(*m.span())}
    if not drop:
        return folded
    keep = [i for i in range(len(text)) if i not in drop]
    offsets = [at[i] for i in keep]
    for new, i in enumerate(keep):  # blanks before a newline go with it
        if text[i] == "\n":
            while i and i - 1 in drop:
                i -= 1
            offsets[new] = at[i]
    return "".join(text[i] for i in keep), [*offsets, at[-1]]


def _fold_look_alikes(folded: _Folded) -> _Folded:
    text, at = folded
    if text.isascii():
        return folded
    out: list[str] = []
    offsets: list[int] = []
    i = 0
    while i < len(text):
        end = i + 1
        while end < len(text) and unicodedata.combining(text[end]):
            end += 1
        cluster = unicodedata.normalize("NFC", text[i:end]).translate(_LOOK_ALIKES)
        out.append(cluster)
        offsets += [at[i]] * len(cluster)
        i = end
    return "".join(out), [*offsets, at[-1]]


def _folded_search(*folds: Callable[[_Folded], _Folded]) -> Callable[[str, str, str], list[_Hit]]:
    def search(text: str, old: str, new: str) -> list[_Hit]:
        haystack, needle = _identity(text), _identity(old)
        for fold in folds:
            haystack, needle = fold(haystack), fold(needle)
        folded, offsets = haystack
        size = len(needle[0])
        if not needle[0].strip():
            return []
        to_line_end = old[-1] in " \t"  # blanks were dropped there: only the end of a line is the same place
        hits = []
        for at in _occurrences(folded, needle[0]):
            if to_line_end and folded[at + size : at + size + 1] not in ("", "\n"):
                continue
            start, end = offsets[at], offsets[at + size]
            hits.append((start, end, with_line_ends(new, text, start, end)))
        return hits

    return search


def with_line_ends(new: str, text: str, start: int, end: int) -> str:
    """`new` with the line ends of the place it goes to (of the span, or of the whole file if the span has none)."""
    place = text[start:end] if "\n" in text[start:end] else text
    crlf = place.count("\r\n")
    plain = new.replace("\r\n", "\n")
    return plain.replace("\n", "\r\n") if crlf * 2 > place.count("\n") else plain


# --- uniform indentation -------------------------------------------------------------------------------------------


def _indentation(text: str, old: str, new: str) -> list[_Hit]:
    """Whole lines that agree with `old` apart from one change of indentation, which `new` then undergoes too."""
    lines = text.split("\n")
    wanted = old.replace("\r\n", "\n").removesuffix("\n").split("\n")
    bare = [line.strip() for line in wanted]
    if not any(bare):
        return []
    stripped = [line.strip() for line in lines]
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    hits = []
    for at in range(len(lines) - len(wanted) + 1):
        if stripped[at : at + len(wanted)] != bare:
            continue
        change = fit_indentation(wanted, lines[at : at + len(wanted)])
        fitted = _reindent(new, change) if change else None
        if fitted is None:
            continue
        last = at + len(wanted)
        start, end = starts[at], starts[last] - 1  # without the last line's newline
        end -= text[end - 1 : end] == "\r" and end > start
        if old.endswith("\n"):
            if last < len(lines):
                end = starts[last]
            else:
                fitted = fitted.removesuffix("\n")
        hits.append((start, end, with_line_ends(fitted, text, start, end)))
    return hits


def _reindent(new: str, change: Reindent) -> str | None:
    lines = [change(line) if line.strip() else "" for line in new.replace("\r\n", "\n").split("\n")]
    return None if any(line is None for line in lines) else "\n".join(line or "" for line in lines)


_LADDER: tuple[tuple[Step, Callable[[str, str, str], list[_Hit]]], ...] = (
    ("exact", _exact),
    ("line_endings", _folded_search(_fold_line_ends)),
    ("trailing_blanks", _folded_search(_fold_line_ends, _fold_trailing_blanks)),
    ("look_alikes", _folded_search(_fold_line_ends, _fold_trailing_blanks, _fold_look_alikes)),
    ("indentation", _indentation),
)
