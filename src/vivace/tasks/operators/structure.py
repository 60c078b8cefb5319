"""Statements: branches exchanged, guards and effects lost, handlers changed, loops cut short. Wide operators."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Sequence

from vivace.tasks.operators.base import Context, Edit, operator

_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_NARROW = {"Exception": "ValueError", "ValueError": "KeyError", "KeyError": "IndexError", "IndexError": "KeyError",
           "AttributeError": "KeyError", "TypeError": "ValueError", "OSError": "ValueError"}  # fmt: skip


@operator(ast.If, wide=True)
def if_else_swap(node: ast.If, context: Context) -> Iterator[Edit]:
    """The bodies of an `if` and its `else` exchanged."""
    if not node.orelse or context.is_elif(node.orelse[0]):
        return
    body, other = _block(node.body, context), _block(node.orelse, context)
    if body and other and not context.is_elif(node):
        between = context.source.text[body[1]:other[0]]
        first, second = context.source.text[slice(*body)], context.source.text[slice(*other)]
        yield body[0], other[1], f"{second}{between}{first}"


@operator(ast.If, wide=True)
def guard_remove(node: ast.If, context: Context) -> Iterator[Edit]:
    """An `if` that only leaves the function or goes on with the loop, lost."""
    if not node.orelse and isinstance(node.body[-1], _LEAVES) and not context.is_elif(node):
        yield context.replace(node, "pass")


@operator(ast.If, wide=True)
def elif_break(node: ast.If, context: Context) -> Iterator[Edit]:
    """`elif` to `if`: the second condition is asked even where the first one held."""
    if context.is_elif(node):
        start = context.source.span(node)[0]
        yield start, start + 4, "if"


@operator(ast.If, ast.While, wide=True)
def condition_force(node: ast.If | ast.While, context: Context) -> Iterator[Edit]:
    """`if x:` to `if True:` or `if False:`; a `while` is only ever left out."""
    if not isinstance(node.test, ast.Constant):
        yield context.replace(node.test, "False")
        if isinstance(node, ast.If):
            yield context.replace(node.test, "True")


@operator(ast.For, ast.While, wide=True)
def loop_once(node: ast.For | ast.While, context: Context) -> Iterator[Edit]:
    """A loop that ends after its first round."""
    last = node.body[-1]
    if not isinstance(last, _LEAVES) and _block(node.body, context):
        end = context.source.span(last)[1]
        yield end, end, f"\n{context.before(node.body[0])}break"


@operator(ast.For, wide=True)
def loop_remove(node: ast.For, context: Context) -> Iterator[Edit]:
    """A `for` loop without effect on anything: lost as a whole."""
    if not node.orelse:
        yield context.replace(node, "pass")


@operator(ast.Assign, ast.AugAssign, wide=True)
def assign_remove(node: ast.Assign | ast.AugAssign, context: Context) -> Iterator[Edit]:
    """An attribute, an item or a running value that is not set any more."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if isinstance(node, ast.AugAssign) or all(isinstance(one, ast.Attribute | ast.Subscript) for one in targets):
        yield context.replace(node, "pass")


@operator(ast.Try, wide=True)
def handler_remove(node: ast.Try, context: Context) -> Iterator[Edit]:
    """`try` and its handlers lost, its body kept."""
    block = _block(node.body, context)
    if not block or node.orelse or node.finalbody:
        return
    text = context.source.text[slice(*block)]
    head = context.source.text[context.source.starts[context.source.line_of(block[0]) - 1]:block[0]]
    if '"""' not in text and "'''" not in text and not head.strip():
        plain = textwrap.indent(textwrap.dedent(head + text), context.before(node))
        yield (*context.source.span(node), plain.lstrip(" \t"))


@operator(ast.ExceptHandler, wide=True)
def except_change(node: ast.ExceptHandler, context: Context) -> Iterator[Edit]:
    """Another exception caught: one of several, or the one next to it in the table."""
    if isinstance(node.type, ast.Tuple) and len(node.type.elts) > 1:
        for kept in (node.type.elts[0], node.type.elts[-1]):
            yield context.replace(node.type, context.text(kept))
    elif isinstance(node.type, ast.Name) and node.type.id in _NARROW:
        yield context.replace(node.type, _NARROW[node.type.id])


@operator(ast.FunctionDef, ast.AsyncFunctionDef, ast.For, ast.If, wide=True)
def statement_swap(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.For | ast.If, context: Context) -> Iterator[Edit]:
    """Two neighbouring simple statements in the wrong order."""
    for first, second in zip(node.body, node.body[1:]):
        if all(isinstance(one, ast.Assign | ast.AugAssign | ast.Expr) for one in (first, second)):
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                continue  # the docstring
            (start, end), (other, last) = context.source.span(first), context.source.span(second)
            between = context.source.text[end:other]
            if not between.strip() and context.text(first) != context.text(second):
                yield start, last, f"{context.text(second)}{between}{context.text(first)}"


@operator(ast.Expr, wide=True)
def super_init_drop(node: ast.Expr, context: Context) -> Iterator[Edit]:
    """`super().__init__(...)` lost."""
    if "super()" in context.text(node)[:8] and isinstance(node.value, ast.Call):
        yield context.replace(node, "pass")


def _block(body: Sequence[ast.stmt], context: Context) -> tuple[int, int] | None:
    """Span of a body that stands on lines of its own."""
    start, end = context.source.span(body[0])[0], context.source.span(body[-1])[1]
    line = context.source.starts[context.source.line_of(start) - 1]
    return (start, end) if not context.source.text[line:start].strip() else None
