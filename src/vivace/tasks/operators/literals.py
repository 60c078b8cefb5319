"""Literals: a number off by one, a flag flipped, a text damaged, a slice bound or a default shifted."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from vivace.tasks.operators.base import Context, Edit, operator

_PLAIN_TEXT = re.compile(r"""(['"])([^'"\\{}%\n]{0,16})\1""")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,5}")


@operator(ast.Constant)
def const_int_shift(node: ast.Constant, context: Context) -> Iterator[Edit]:
    """`n` to `n + 1` or `n - 1`, outside slices and defaults."""
    if not _in_slice(node, context) and not _is_default(node, context):
        yield from _shifted(node, context)


@operator(ast.Constant)
def slice_shift(node: ast.Constant, context: Context) -> Iterator[Edit]:
    """A constant slice bound, off by one."""
    if _in_slice(node, context):
        yield from _shifted(node, context)


@operator(ast.Subscript)
def slice_flip(node: ast.Subscript, context: Context) -> Iterator[Edit]:
    """`x[:n]` to `x[n:]`, and back."""
    cut = node.slice
    if isinstance(cut, ast.Slice) and cut.step is None and (cut.lower is None) != (cut.upper is None):
        start, end = context.source.span(cut)
        if cut.lower is None and cut.upper is not None:
            yield start, end, f"{context.text(cut.upper)}:"
        elif cut.lower is not None:
            yield start, end, f":{context.text(cut.lower)}"


@operator(ast.Constant)
def bool_literal_flip(node: ast.Constant, context: Context) -> Iterator[Edit]:
    """`True` to `False`, and back, outside defaults."""
    if isinstance(node.value, bool) and not _is_default(node, context):
        yield context.replace(node, str(not node.value))


@operator(ast.Constant)
def default_change(node: ast.Constant, context: Context) -> Iterator[Edit]:
    """Another default for a parameter: a flag flipped, a number off by one."""
    if not _is_default(node, context):
        return
    if isinstance(node.value, bool):
        yield context.replace(node, str(not node.value))
    else:
        yield from _shifted(node, context)


@operator(ast.Constant)
def string_tweak(node: ast.Constant, context: Context) -> Iterator[Edit]:
    """A short plain text: its last character lost, its case changed; an empty one becomes a blank."""
    match = _PLAIN_TEXT.fullmatch(context.text(node)) if isinstance(node.value, str) else None
    if match is None:
        return
    quote, body = match.groups()
    changed = [body[:-1], body.swapcase()] if body else [" "]
    for text in dict.fromkeys(changed):
        if text != body:
            yield context.replace(node, f"{quote}{text}{quote}")


def _shifted(node: ast.Constant, context: Context) -> Iterator[Edit]:
    text = context.text(node)
    if isinstance(node.value, int) and _DECIMAL.fullmatch(text):
        yield context.replace(node, str(int(text) + 1))
        if int(text) > 0:
            yield context.replace(node, str(int(text) - 1))


def _in_slice(node: ast.AST, context: Context) -> bool:
    parent = context.parent(node)
    if isinstance(parent, ast.UnaryOp):
        parent = context.parent(parent)
    return isinstance(parent, ast.Slice)


def _is_default(node: ast.AST, context: Context) -> bool:
    return isinstance(context.parent(node), ast.arguments)
