"""Names: another variable of the function, another attribute of the same object (BugLab, arXiv 2105.12787)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from vivace.tasks.operators.base import Context, Edit, operator

NEIGHBOURS = 3  # alternatives offered per name: the ones bound last before it


@operator(ast.Name)
def variable_misuse(node: ast.Name, context: Context) -> Iterator[Edit]:
    """A local read where another one, bound on an earlier line, was meant."""
    known = context.scope.locals
    parent = context.parent(node)
    called = isinstance(parent, ast.Call) and parent.func is node
    if not isinstance(node.ctx, ast.Load) or node.id not in known or node.id in ("self", "cls") or called:
        return
    if _in_comprehension(node, context):  # its own variables may shadow the function's
        return
    others = [name for name, line in known.items() if line < node.lineno and name not in (node.id, "self", "cls")]
    for name in sorted(others, key=lambda other: (-known[other], other))[:NEIGHBOURS]:
        yield context.replace(node, name)


@operator(ast.Attribute)
def attribute_misuse(node: ast.Attribute, context: Context) -> Iterator[Edit]:
    """`self.a` where `self.b` was meant; both are read as data somewhere in the function."""
    if not (isinstance(node.value, ast.Name) and node.value.id == "self" and isinstance(node.ctx, ast.Load)):
        return
    if context.scope.function is None or _called(node, context):
        return
    end = context.source.span(node)[1]
    for name in sorted(context.scope.self_reads - {node.attr})[:NEIGHBOURS]:
        yield end - len(node.attr), end, name


def _called(node: ast.AST, context: Context) -> bool:
    parent = context.parent(node)
    return isinstance(parent, ast.Call) and parent.func is node


def _in_comprehension(node: ast.AST, context: Context) -> bool:
    current = context.parent(node)
    while current is not None and not isinstance(current, ast.stmt):
        if isinstance(current, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.Lambda):
            return True
        current = context.parent(current)
    return False
