"""The shortest unambiguous replace edits that turn one text into another.

Experts and training documents write edits in this one form: whole changed lines, without the first line's
indentation (so the tokens are those that stand in the file), grown by neighbouring lines only until `oldString`
occurs exactly once. A deletion begins with what it deletes where it can: that is what has to be found.
"""

from __future__ import annotations

import difflib


def minimal_edits(before: str, after: str) -> list[tuple[str, str]]:
    """(oldString, newString) pairs to apply in order, top to bottom.

    Each oldString occurs exactly once in the text that the edits before it have left. Empty when the texts are equal.
    """
    edits: list[tuple[str, str]] = []
    while before != after:
        edit = _first_edit(before, after)
        edits.append(edit)
        before = before.replace(*edit) if edit[0] else after
    return edits


def _first_edit(before: str, after: str) -> tuple[str, str]:
    old_lines, new_lines = before.split("\n"), after.split("\n")
    head = _common(old_lines, new_lines)
    tail = _common(old_lines[head:][::-1], new_lines[head:][::-1])  # difflib is quadratic: give it the middle only
    middle = old_lines[head : len(old_lines) - tail], new_lines[head : len(new_lines) - tail]
    matcher = difflib.SequenceMatcher(None, *middle, autojunk=False)
    i1, i2, j1, j2 = next([head + at for at in op[1:]] for op in matcher.get_opcodes() if op[0] != "equal")
    # Only this block changes now: what follows it is the old text, so that growing never swallows a later edit.
    target = new_lines[:j2] + old_lines[i2:]
    return _unique(before, old_lines, target, (i1, i2), (j1, j2))


def _common(a: list[str], b: list[str]) -> int:
    """Length of the common prefix."""
    return next((n for n, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def _unique(
    before: str, old_lines: list[str], new_lines: list[str], old: tuple[int, int], new: tuple[int, int]
) -> tuple[str, str]:
    (i1, i2), (j1, j2) = old, new
    if i1 == i2 or j1 == j2:  # pure insertion or deletion: anchor on a neighbour
        after = i1 == 0 or (i1 < i2 < len(old_lines) and _goes(old_lines, i1, i2))
        i1, j1, i2, j2 = (i1, j1, i2 + 1, j2 + 1) if after else (i1 - 1, j1 - 1, i2, j2)
    grow_up = True
    while True:
        old_text, new_text = strip_common_indent("\n".join(old_lines[i1:i2]), "\n".join(new_lines[j1:j2]))
        if old_text and before.find(old_text, before.find(old_text) + 1) < 0:  # overlapping hits count too
            return old_text, new_text
        can_up, can_down = i1 > 0 and j1 > 0, i2 < len(old_lines) and j2 < len(new_lines)
        if not (can_up or can_down):
            return before, "\n".join(new_lines)
        if (grow_up and can_up) or not can_down:
            i1, j1 = i1 - 1, j1 - 1
        else:
            i2, j2 = i2 + 1, j2 + 1
        grow_up = not grow_up


def _goes(lines: list[str], first: int, end: int) -> bool:
    """Whether an edit that deletes these lines begins with them: what has to go is named first, and what follows at
    the same depth stays. A line that stands there twice begins it in any case."""
    same = _depth(lines[first]) == _depth(lines[end]) and bool(lines[end].strip())
    return same and lines[first - 1] != lines[first]


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


def strip_common_indent(old: str, new: str) -> tuple[str, str]:
    """Drop the first line's leading blanks from both, when both have the same."""
    indent = old[: len(old) - len(old.lstrip(" \t"))]
    if indent and new.startswith(indent) and not new[len(indent) : len(indent) + 1].isspace():
        return old[len(indent) :], new[len(indent) :]
    return old, new
