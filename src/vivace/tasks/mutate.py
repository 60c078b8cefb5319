"""Mutation sites of a source text and their application.

Pure functions of the text: edits are spliced into the original characters, so nothing is reformatted. Every site lies
on one line and its replacement too, so that a one-line replacement undoes it, unless wide operators are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from vivace.tasks.operators import REGISTRY, WIDE, Context, Function, Source, functions, operator_names, walk

__all__ = ["Function", "Site", "apply", "functions", "operator_names", "sites"]


@dataclass(frozen=True, order=True)
class Site:
    """One possible edit: characters [start, end) become `replacement`. `qualname` is the function it stands in."""

    start: int
    end: int
    operator: str
    replacement: str
    line: int
    qualname: str


def sites(source: str, *, lines: set[int] | None = None, wide: bool = False) -> list[Site]:
    """Every mutation of every function of `source`, in order of position; only on these 1-based lines if given.

    `wide`: with the operators that may touch several lines; `line` is then that of the site's start.

    Raises SyntaxError when the text does not parse.
    """
    parsed = Source(source)
    found: set[Site] = set()
    for node, scope in walk(parsed.tree):
        if scope.function is None:
            continue
        context = Context(parsed, scope)
        for registry in (REGISTRY, WIDE) if wide else (REGISTRY,):
            for name, edits in registry.get(type(node), ()):
                for start, end, replacement in edits(node, context):
                    old = source[start:end]
                    several = any(mark in text for mark in "\n\r" for text in (old, replacement))
                    if (several and registry is REGISTRY) or old == replacement:
                        continue
                    line = parsed.line_of(start)
                    if lines is None or line in lines:
                        found.add(Site(start, end, name, _apart(source, start, end, replacement), line,
                                       scope.qualname))
    return sorted(found)


def apply(source: str, site: Site) -> str:
    """The text with this one edit."""
    return source[:site.start] + site.replacement + source[site.end:]


def _apart(source: str, start: int, end: int, replacement: str) -> str:
    """Keep words apart: `return-x` without its sign is `return x`."""
    if start and _word(source[start - 1]) and _word((replacement + source[end:end + 1])[:1]):
        replacement = " " + replacement
    if replacement and _word(replacement[-1]) and end < len(source) and _word(source[end]):
        replacement += " "
    return replacement


def _word(character: str) -> bool:
    return character.isalnum() or character == "_"
