"""What an operator is: a function from a node to edits, registered under its own name for the nodes it wants."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from vivace.tasks.operators.source import Scope, Source

Edit = tuple[int, int, str]  # start, end, replacement
Operator = Callable[[Any, "Context"], Iterator[Edit]]
Registry = dict[type[ast.AST], list[tuple[str, Operator]]]
REGISTRY: Registry = {}
"""Operators whose edit stays on one line, so that a one-line replacement undoes it."""
WIDE: Registry = {}
"""Those that may touch several lines, and those added since the shipped rows were made: asked for by name only, because
what is drawn with a seed from the others must stay as it is."""


@dataclass
class Context:
    """What an operator may look at beside its node."""

    source: Source
    scope: Scope

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self.scope.parents.get(node)

    def text(self, node: ast.AST) -> str:
        return self.source.segment(node)

    def before(self, node: ast.AST) -> str:
        """What stands before it on its line: the indentation, where it begins the line."""
        start = self.source.span(node)[0]
        return self.source.text[self.source.starts[self.source.line_of(start) - 1] : start]

    def is_elif(self, node: ast.AST) -> bool:
        return isinstance(node, ast.If) and self.source.text.startswith("elif", self.source.span(node)[0])

    def replace(self, node: ast.AST, text: str) -> Edit:
        return (*self.source.span(node), text)


def operator(*kinds: type[ast.AST], wide: bool = False) -> Callable[[Operator], Operator]:
    """Register a function as the operator of its own name for these node types."""
    registry = WIDE if wide else REGISTRY

    def register(function: Operator) -> Operator:
        for kind in kinds:
            registry.setdefault(kind, []).append((function.__name__, function))
        return function

    return register


def operator_names(wide: bool = False) -> list[str]:
    """All registered operators, sorted."""
    entries = [*REGISTRY.values(), *(WIDE.values() if wide else ())]
    return sorted({name for row in entries for name, _ in row})
