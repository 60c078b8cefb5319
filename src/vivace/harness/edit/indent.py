"""One change of indentation that explains every line of an edit, to be applied to its new text as well."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

Reindent = Callable[[str], str | None]
"""A line with its new indentation; None where the change says nothing about that line."""

_UNITS = ("\t", "  ", "    ", "        ")


def fit_indentation(old: Sequence[str], actual: Sequence[str]) -> Reindent | None:
    """The change that turns the indentation of every non-blank line of `old` into that of `actual`.

    Tried in order: the same blanks added or removed everywhere; one width of indentation for another (2 for 4
    blanks, tabs for blanks), shifted by whole levels. The lines must agree apart from blanks at both ends.
    """
    pairs = [(line, there) for line, there in zip(old, actual) if line.strip()]
    for change in _candidates(pairs):
        if all(_indent(there) == _indent(change(line) or "\0") for line, there in pairs):
            return change
    return None


def _candidates(pairs: Sequence[tuple[str, str]]) -> Iterable[Reindent]:
    first, there = _indent(pairs[0][0]), _indent(pairs[0][1])
    yield _swap_prefix(first, there)
    yield _swap_prefix(_shortest(line for line, _ in pairs), _shortest(line for _, line in pairs))
    for unit in _UNITS:
        for target in _UNITS:
            levels, target_levels = len(first) // len(unit), len(there) // len(target)
            if unit != target and first == unit * levels and there == target * target_levels:
                yield _change_width(unit, target, target_levels - levels)


def _swap_prefix(removed: str, added: str) -> Reindent:
    """Lines that are indented less than `removed` move by the same number of blanks, if both are blanks only."""
    if removed.endswith(added):
        removed, added = removed[: len(removed) - len(added)], ""
    elif added.endswith(removed):
        removed, added = "", added[: len(added) - len(removed)]

    def change(line: str) -> str | None:
        return added + line[len(removed) :] if line.startswith(removed) else None

    return change


def _change_width(unit: str, target: str, levels: int) -> Reindent:
    def change(line: str) -> str | None:
        indent = _indent(line)
        count, rest = divmod(len(indent), len(unit))
        if rest or indent != unit * count or count + levels < 0:
            return None
        return target * (count + levels) + line[len(indent) :]

    return change


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _shortest(lines: Iterable[str]) -> str:
    return min((_indent(line) for line in lines), key=len)
