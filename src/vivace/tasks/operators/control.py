"""Control flow: a result lost, a loop left instead of continued, an error no longer raised."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from vivace.tasks.operators.base import Context, Edit, operator


@operator(ast.Return)
def return_none(node: ast.Return, context: Context) -> Iterator[Edit]:
    """`return x` to `return None`, for short results only: the fix has to be written again in full."""
    if node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None):
        return
    start, end = context.source.span(node)
    if end - start <= 40:
        yield start, end, "return None"


@operator(ast.Break)
def break_to_continue(node: ast.Break, context: Context) -> Iterator[Edit]:
    """`break` to `continue`."""
    yield context.replace(node, "continue")


@operator(ast.Continue)
def continue_to_break(node: ast.Continue, context: Context) -> Iterator[Edit]:
    """`continue` to `break`."""
    yield context.replace(node, "break")


@operator(ast.Raise)
def raise_remove(node: ast.Raise, context: Context) -> Iterator[Edit]:
    """A one-line `raise` to `pass`."""
    if node.exc is not None:
        yield context.replace(node, "pass")


@operator(ast.Return)
def return_negate(node: ast.Return, context: Context) -> Iterator[Edit]:
    """`return x` to `return not x`, where the result is a truth value by its form."""
    if isinstance(node.value, ast.Compare | ast.BoolOp):
        yield context.replace(node.value, f"not ({context.text(node.value)})")
