"""What an operator is: a function from a node to edits, registered under its own name for the nodes it wants."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from vivace.tasks.operators.source import Scope, Source

Edit = tuple[int, int, str]  # start, end, replacement
Operator = Callable[[Any, "Context"], Iterator[Edit]]
REGISTRY: dict[type[ast.AST], list[tuple[str, Operator]]] = {}


@dataclass
class Context:
    """What an operator may look at beside its node."""

    source: Source
    scope: Scope

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self.scope.parents.get(node)

    def text(self, node: ast.AST) -> str:
        return self.source.segment(node)

    def replace(self, node: ast.AST, text: str) -> Edit:
        return (*self.source.span(node), text)


def operator(*kinds: type[ast.AST]) -> Callable[[Operator], Operator]:
    """Register a function as the operator of its own name for these node types."""

    def register(function: Operator) -> Operator:
        for kind in kinds:
            REGISTRY.setdefault(kind, []).append((function.__name__, function))
        return function

    return register


def operator_names() -> list[str]:
    """All registered operators, sorted."""
    return sorted({name for entries in REGISTRY.values() for name, _ in entries})
