"""Conditions: and/or confused, a part lost, a negation lost or added, branches exchanged."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from vivace.tasks.operators.base import Context, Edit, operator


@operator(ast.BoolOp)
def bool_op_swap(node: ast.BoolOp, context: Context) -> Iterator[Edit]:
    """One `and` to `or`, or back."""
    written, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    for left, right in zip(node.values, node.values[1:]):
        place = context.source.token_between(left, right, rf"\b{written}\b")
        if place:
            yield (*place, other)


@operator(ast.BoolOp)
def operand_drop(node: ast.BoolOp, context: Context) -> Iterator[Edit]:
    """`a and b` to `a`, or to `b`; operands in brackets keep them only where they stay whole."""
    if len(node.values) != 2:
        return
    gap = context.source.text[context.source.span(node.values[0])[1]:context.source.span(node.values[1])[0]]
    if "(" in gap or ")" in gap:
        return
    for kept in node.values:
        yield context.replace(node, context.text(kept))


@operator(ast.UnaryOp)
def not_drop(node: ast.UnaryOp, context: Context) -> Iterator[Edit]:
    """`not x` to `x`."""
    if isinstance(node.op, ast.Not):
        start = context.source.span(node)[0]
        text = context.source.text[start:context.source.span(node)[1]]
        rest = text[3:].lstrip(" ")
        yield start, start + len(text) - len(rest), ""


@operator(ast.If, ast.While, ast.IfExp, ast.Assert, ast.comprehension)
def condition_negate(node: ast.AST, context: Context) -> Iterator[Edit]:
    """`if x:` to `if not x:`; also of while, assert, ternaries and comprehension filters."""
    tests = node.ifs if isinstance(node, ast.comprehension) else [node.test]  # type: ignore[attr-defined]
    for test in tests:
        start, end = context.source.span(test)
        if isinstance(test, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
            yield start, start, "not "
        elif isinstance(test, ast.BoolOp):
            yield start, end, f"not ({context.source.text[start:end]})"


@operator(ast.IfExp)
def ternary_swap(node: ast.IfExp, context: Context) -> Iterator[Edit]:
    """`a if c else b` to `b if c else a`."""
    source = context.source
    (_, body_end), (test_start, test_end) = source.span(node.body), source.span(node.test)
    body, other = context.text(node.body), context.text(node.orelse)
    first, second = source.text[body_end:test_start], source.text[test_end:source.span(node.orelse)[0]]
    plain = not any(bracket in first + second for bracket in "()")
    if plain and body != other and not isinstance(node.orelse, ast.IfExp | ast.Lambda):
        yield context.replace(node, f"{other}{first}{context.text(node.test)}{second}{body}")
