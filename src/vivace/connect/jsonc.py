"""Editing JSON with comments and trailing commas, as editors keep their settings: only the place in question changes.

`put` and `take` give a new text in which every byte outside the member or item concerned, and the comma beside it, is
what it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vivace.core.errors import BadInput

Step = str | Callable[[Any], bool]
"""A key of an object, or what tells the wanted item of a list."""
_BLANK = re.compile(r"(?:[\s\ufeff]+|//[^\n]*|/\*.*?\*/)*", re.S)
_SCALAR = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null')
_DEEPEST = 200


@dataclass
class _Node:
    """A value at text[start:end]; of a container, `parts` are (start of the member, key or None, its value)."""

    start: int
    end: int
    value: Any
    parts: list[tuple[int, str | None, _Node]] = field(default_factory=list)


def load(text: str) -> Any:
    """The value in a text; None if it holds none.

    Raises:
        BadInput: it is not JSON with comments; says on which line.
    """
    root = _root(text)
    return None if root is None else root.value


def put(text: str, path: Sequence[Step], value: Any) -> str:
    """The text with `value` at `path`, containers above it made where missing (an object for a key, else a list).

    Raises:
        BadInput: the text is not JSON with comments, or something else than a container is in the way.
    """
    root = _root(text)
    if root is None:
        made = _wrapped(path, value)
        return text + ("" if not text or text.endswith("\n") else "\n") + json.dumps(made, indent=2) + "\n"
    node = root
    for at, step in enumerate(path):
        _require(text, node, step)
        found = _find(node, step)
        if found is None:
            return _insert(text, node, step, _wrapped(path[at + 1 :], value))
        node = node.parts[found][2]
    if node.value == value:
        return text
    return text[: node.start] + _dump(text, value, _indent_at(text, node.start)) + text[node.end :]


def take(text: str, path: Sequence[Step]) -> str:
    """The text without what is at `path`; as it is if nothing is there."""
    root = _root(text)
    if root is None:
        return text
    node, index = root, 0
    for at, step in enumerate(path):
        found = _find(node, step)
        if found is None:
            return text
        if at == len(path) - 1:
            index = found
        else:
            node = node.parts[found][2]
    start, _, child = node.parts[index]
    comma = _BLANK.match(text, child.end)
    after = comma.end() if comma else child.end
    if text[after : after + 1] == ",":
        line = text.rfind("\n", 0, start) + 1
        begin = line - 1 if line and not text[line:start].strip() and line - 1 > node.start else start
        return text[:begin] + text[after + 1 :]
    if index:  # the last of several: the comma before it goes
        before = node.parts[index - 1][2].end
        gap = text[before:start]
        at_comma = before + _comma(gap)
        kept = text[at_comma + 1 : start].rstrip()
        return text[:at_comma] + kept + text[child.end :]
    return text[:start].rstrip(" \t\n\r") + text[child.end :] if not text[node.start + 1 : start].strip() else \
        text[:start] + text[child.end :]


def _comma(gap: str) -> int:
    position = 0
    while True:
        blank = _BLANK.match(gap, position)
        position = blank.end() if blank else position
        if gap[position] == ",":
            return position
        position += 1


def _root(text: str) -> _Node | None:
    start = _skip(text, 0)
    if start == len(text):
        return None
    node = _value(text, start, 0)
    if (end := _skip(text, node.end)) != len(text):
        raise _error(text, end)
    return node


def _value(text: str, at: int, depth: int) -> _Node:
    if depth > _DEEPEST:
        raise _error(text, at)
    if text[at : at + 1] in ("{", "["):
        return _container(text, at, depth)
    found = _SCALAR.match(text, at)
    if not found:
        raise _error(text, at)
    return _Node(at, found.end(), json.loads(found[0]))


def _container(text: str, at: int, depth: int) -> _Node:
    is_object = text[at] == "{"
    close = "}" if is_object else "]"
    node = _Node(at, at, {} if is_object else [])
    at = _skip(text, at + 1)
    while text[at : at + 1] != close:
        start, key = at, None
        if is_object:
            name = _SCALAR.match(text, at)
            if not name or not name[0].startswith('"'):
                raise _error(text, at)
            key = json.loads(name[0])
            at = _skip(text, name.end())
            if text[at : at + 1] != ":":
                raise _error(text, at)
            at = _skip(text, at + 1)
        child = _value(text, at, depth + 1)
        node.parts.append((start, key, child))
        if is_object:
            node.value[key] = child.value
        else:
            node.value.append(child.value)
        at = _skip(text, child.end)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] != close:
            raise _error(text, at)
    node.end = at + 1
    return node


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _error(text: str, at: int) -> BadInput:
    return BadInput(f"line {text.count(chr(10), 0, at) + 1} is not JSON with comments; mend the file first")


def _require(text: str, node: _Node, step: Step) -> None:
    if not isinstance(node.value, dict if isinstance(step, str) else list):
        line = text.count("\n", 0, node.start) + 1
        wanted = "an object" if isinstance(step, str) else "a list"
        raise BadInput(f"{wanted} was expected on line {line}; mend the file first")


def _find(node: _Node, step: Step) -> int | None:
    matching = [at for at, (_, key, child) in enumerate(node.parts)
                if (key == step if isinstance(step, str) else step(child.value))]  # fmt: skip
    return matching[-1] if matching else None  # of equal keys the last one counts


def _wrapped(path: Sequence[Step], value: Any) -> Any:
    for step in reversed(path):
        value = {step: value} if isinstance(step, str) else [value]
    return value


def _insert(text: str, node: _Node, step: Step, value: Any) -> str:
    close = node.end - 1
    newline = "\r\n" if "\r\n" in text else "\n"
    outer = _indent_at(text, node.start)
    own_line = node.parts and not text[text.rfind("\n", 0, node.parts[-1][0]) + 1 : node.parts[-1][0]].strip()
    inner = _indent_at(text, node.parts[-1][0]) if own_line else outer + _unit(text)
    member = f"{json.dumps(step)}: " if isinstance(step, str) else ""
    member = newline + inner + member + _dump(text, value, inner)
    end = node.parts[-1][2].end if node.parts else node.start + 1
    gap = text[end:close]
    trailing = bool(node.parts) and "," in re.sub(r"//[^\n]*|/\*.*?\*/", "", gap, flags=re.S)
    comma = "," if node.parts and not trailing else ""
    kept = gap.rstrip(" \t\r\n")
    rest = gap[len(kept) :]
    if "\n" not in rest:
        rest = newline + outer
    return text[:end] + comma + kept + member + ("," if trailing else "") + rest + text[close:]


def _dump(text: str, value: Any, indent: str) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = json.dumps(value, indent=_unit(text), ensure_ascii=False).split("\n")
    return (newline + indent).join(lines)


def _indent_at(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _unit(text: str) -> str:
    found = re.search(r"^([ \t]+)\S", text, re.M)
    return ("\t" if found[1].startswith("\t") else found[1][:8]) if found else "  "
