"""Comparisons: off-by-one at the boundary, the wrong direction, the opposite."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from vivace.tasks.operators.base import Context, Edit, operator

SYMBOLS: dict[type[ast.cmpop], tuple[str, str]] = {  # what is written, and how to find it
    ast.Lt: ("<", r"<"), ast.LtE: ("<=", r"<="), ast.Gt: (">", r">"), ast.GtE: (">=", r">="),
    ast.Eq: ("==", r"=="), ast.NotEq: ("!=", r"!="), ast.Is: ("is", r"\bis\b"), ast.IsNot: ("is not", r"\bis\s+not\b"),
    ast.In: ("in", r"\bin\b"), ast.NotIn: ("not in", r"\bnot\s+in\b"),
}  # fmt: skip
BOUNDARY = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
DIRECTION = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
NEGATION = {"==": "!=", "!=": "==", "is": "is not", "is not": "is", "in": "not in", "not in": "in"}


@operator(ast.Compare)
def cmp_boundary(node: ast.Compare, context: Context) -> Iterator[Edit]:
    """`a < b` to `a <= b`, and the like."""
    yield from _swap(node, context, BOUNDARY)


@operator(ast.Compare)
def cmp_flip(node: ast.Compare, context: Context) -> Iterator[Edit]:
    """`a < b` to `a > b`."""
    yield from _swap(node, context, DIRECTION)


@operator(ast.Compare)
def cmp_negate(node: ast.Compare, context: Context) -> Iterator[Edit]:
    """`a == b` to `a != b`, `is` to `is not`, `in` to `not in`, and back."""
    yield from _swap(node, context, NEGATION)


def _swap(node: ast.Compare, context: Context, table: dict[str, str]) -> Iterator[Edit]:
    left = node.left
    for kind, right in zip(node.ops, node.comparators):
        written, pattern = SYMBOLS[type(kind)]
        place = context.source.token_between(left, right, pattern)
        if place and written in table:
            yield (*place, table[written])
        left = right
