"""Changes in the pieces that a person takes or leaves: hunks of text files, anything else as a whole."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

from vivace.harness.sessions.changes import Change, Changes
from vivace.sandbox.patch import apply_patch, make_patch
from vivace.sandbox.patch_parse import split_lines

CONTEXT = 2
"""Unchanged lines around a hunk; neighbours that are closer than twice as many are one."""


@dataclass(frozen=True)
class Piece:
    """`patch` holds this piece alone and can be applied by itself; "" where a whole file is no text."""

    path: str
    patch: str
    title: str
    """What it is, where the patch does not say so: "new file", "deleted", "not text"; "" for a hunk."""


def pieces(changes: Mapping[str, Change]) -> list[Piece]:
    """Every piece, in the order of the files and their lines."""
    return [piece for path, change in sorted(changes.items()) for piece in _pieces(path, change)]


def choose(changes: Mapping[str, Change], taken: Container[Piece]) -> tuple[Changes, Changes]:
    """(the changes that bring the pieces `taken`, those that bring the others after them)."""
    chosen: Changes = {}
    rest: Changes = {}
    for path, change in changes.items():
        mine = _pieces(path, change)
        wanted = [piece for piece in mine if piece in taken]
        if len(wanted) == len(mine):
            chosen[path] = change
        elif not wanted:
            rest[path] = change
        else:
            text = (change.before or b"").decode()
            for piece in reversed(wanted):  # from the end, so that the lines of the others stay where they are
                text = apply_patch({path: text}, piece.patch)[path] or ""
            chosen[path] = Change(change.before, text.encode())
            rest[path] = Change(text.encode(), change.after)
    return chosen, rest


def patch_of(changes: Mapping[str, Change]) -> str:
    """All of them as one patch; files that are no text are left out."""
    return "".join(piece.patch for path, change in sorted(changes.items()) for piece in [_whole(path, change)])


def _pieces(path: str, change: Change) -> list[Piece]:
    whole = _whole(path, change)
    if whole.title:
        return [whole]
    head, *hunks = _split(whole.patch)
    return [Piece(path, head + hunk, "") for hunk in hunks]


def _whole(path: str, change: Change) -> Piece:
    try:
        old, new = (None if data is None else data.decode() for data in (change.before, change.after))
    except UnicodeDecodeError:
        return Piece(path, "", "not text")
    if "\0" in (old or "") + (new or ""):
        return Piece(path, "", "not text")
    patch = make_patch({} if old is None else {path: old}, {} if new is None else {path: new}, CONTEXT)
    if not change.known:
        return Piece(path, patch, "changed by you meanwhile")
    return Piece(path, patch, "new file" if old is None else "deleted" if new is None else "")


def _split(patch: str) -> list[str]:
    """Head and hunks. Lines of a hunk begin with a sign, so one that begins with @@ opens the next."""
    parts = [""]
    for line in split_lines(patch):
        if line.startswith("@@ "):
            parts.append("")
        parts[-1] += line
    return parts

