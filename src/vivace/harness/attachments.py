"""What the request names in backticks goes with it, as an editor attaches the symbols one mentions.

A definition that is found for certain is worth a search and a read, in turns and in tokens; whatever is uncertain
(no such name, several of them, too long) is left for the model to look up.
"""

from __future__ import annotations

import ast
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from vivace.core.syntax import python_tree

MOST_FILES = 4000
"""Files searched for a name that comes without a path."""
_NAME = re.compile(r"`((?:[A-Za-z_]\w*\.)?[A-Za-z_]\w*)(?:\(\))?`")
_PATH = re.compile(r"[\w./-]*\w\.py\b")
_one_at_a_time = threading.Lock()
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Attachment:
    """Source of one definition; `line` (1-based) is where it begins, decorators included."""

    name: str
    path: str
    line: int
    text: str


@dataclass(frozen=True)
class Room:
    """How many lines may be attached: of one definition, and in all."""

    each: int
    total: int


TERSE, FULL = Room(40, 80), Room(400, 1200)


def attachments(
    request: str, files: Sequence[str], read: Callable[[str], str | None], room: Room
) -> list[Attachment]:
    """Definitions that `request` names and that exist exactly once in the file it means, in its order.

    The file meant is the first one named after the name, then any other that is named, then (if none is) any of
    `files`. `read` gives a file's text, or None where it is no readable text.
    """
    found: list[Attachment] = []
    left = room.total
    paths = [(at.start(), path) for at in _PATH.finditer(request) if (path := at[0].removeprefix("./")) in files]
    for at in _NAME.finditer(request):
        one = _attach(at[1], _meant(at.end(), paths) or _python(files), bool(paths), read)
        if one is None or any(one.path == other.path and one.line == other.line for other in found):
            continue
        size = one.text.count("\n") + 1
        if size <= room.each and size <= left:
            left -= size
            found.append(one)
    return found


def _meant(position: int, paths: Sequence[tuple[int, str]]) -> list[str]:
    after = [path for start, path in paths if start >= position]
    before = [path for start, path in paths if start < position]
    return list(dict.fromkeys([*after, *before]))


def _python(files: Sequence[str]) -> list[str]:
    return [file for file in files if file.endswith(".py")][:MOST_FILES]


def _attach(name: str, files: Sequence[str], first_wins: bool, read: Callable[[str], str | None]) -> Attachment | None:
    """The one definition of `name`: in the first of the files that has any, or the only one in all of them."""
    hits: list[Attachment] = []
    for path in files:
        text = read(path)
        if text is None or name.rpartition(".")[2] not in text:
            continue
        hits += _definitions(name, path, text)
        if len(hits) > 1 or (hits and first_wins):
            break
    return hits[0] if len(hits) == 1 else None


def _definitions(name: str, path: str, text: str) -> Iterator[Attachment]:
    owner, _, last = name.rpartition(".")
    lines = text.replace("\r\n", "\n").split("\n")
    for scope, found, first, end in _outline(text):
        if found == last and (not owner or scope == owner):
            yield Attachment(name, path, first, "\n".join(lines[first - 1 : end]))


def _outline(text: str) -> tuple[tuple[str, str, int, int], ...]:
    with _one_at_a_time:  # a group of attempts asks for the same file at the same moment: one parses it
        return _parsed_outline(text)


@lru_cache(1024)  # attempts at one task, and at tasks of one package, ask for the same files
def _parsed_outline(text: str) -> tuple[tuple[str, str, int, int], ...]:
    """(class it is directly in, name, first line with decorators, last line) of every definition of a module."""
    try:
        tree = python_tree(text)
    except (SyntaxError, ValueError, RecursionError):
        return ()
    found = []
    for scope in ast.walk(tree):
        owner = scope.name if isinstance(scope, ast.ClassDef) else ""
        for node in ast.iter_child_nodes(scope):
            if isinstance(node, _Definition):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                found.append((owner, node.name, first, node.end_lineno or first))
    return tuple(found)
