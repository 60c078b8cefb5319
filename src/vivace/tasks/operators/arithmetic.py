"""Arithmetic: the wrong operator, swapped operands, a lost sign."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from vivace.tasks.operators.base import Context, Edit, operator

SYMBOLS: dict[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip
ARITHMETIC = {"+": ("-",), "-": ("+",), "*": ("/", "+"), "/": ("*", "//"), "//": ("/", "%"), "%": ("//",), "**": ("*",)}
BITWISE = {"&": ("|",), "|": ("&",), "^": ("|",), "<<": (">>",), ">>": ("<<",)}


@operator(ast.BinOp)
def arith_swap(node: ast.BinOp, context: Context) -> Iterator[Edit]:
    """`a + b` to `a - b`, `*` to `/`, `//` to `%`, ... Text formatting with `%` is left alone."""
    if isinstance(node.op, ast.Mod) and _is_text(node.left):
        return
    yield from _swap(node, context, ARITHMETIC)


@operator(ast.BinOp)
def bit_swap(node: ast.BinOp, context: Context) -> Iterator[Edit]:
    """`&` to `|`, `<<` to `>>`, and back (sets too)."""
    yield from _swap(node, context, BITWISE)


@operator(ast.BinOp)
def operand_swap(node: ast.BinOp, context: Context) -> Iterator[Edit]:
    """`a - b` to `b - a`, where order matters and both sides are simple enough to need no brackets."""
    if not isinstance(node.op, ast.Sub | ast.Div | ast.FloorDiv | ast.Mod | ast.Add) or _is_text(node.left):
        return
    if all(isinstance(side, _SIMPLE) for side in (node.left, node.right)):
        start, end = context.source.span(node)
        left, right = context.text(node.left), context.text(node.right)
        middle = context.source.text[context.source.span(node.left)[1]:context.source.span(node.right)[0]]
        if left != right and "(" not in middle and ")" not in middle:
            yield start, end, f"{right}{middle}{left}"


@operator(ast.AugAssign)
def augassign_swap(node: ast.AugAssign, context: Context) -> Iterator[Edit]:
    """`x += 1` to `x -= 1`, and the like."""
    written = SYMBOLS.get(type(node.op), "")
    place = context.source.token_between(node.target, node.value, re.escape(written + "="))
    for other in (ARITHMETIC | BITWISE).get(written, ()):
        if place:
            yield (*place, other + "=")


@operator(ast.UnaryOp)
def sign_drop(node: ast.UnaryOp, context: Context) -> Iterator[Edit]:
    """`-x` to `x`."""
    if isinstance(node.op, ast.USub):
        start = context.source.span(node)[0]
        yield start, start + 1, ""


_SIMPLE = (ast.Name, ast.Constant, ast.Attribute, ast.Subscript, ast.Call)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


def _swap(node: ast.BinOp, context: Context, table: Mapping[str, tuple[str, ...]]) -> Iterator[Edit]:
    written = SYMBOLS.get(type(node.op), "")
    if written not in table:
        return
    place = context.source.token_between(node.left, node.right, re.escape(written))
    for other in table[written]:
        if place:
            yield (*place, other)
