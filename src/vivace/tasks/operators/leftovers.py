"""Leftovers of debugging and merging: code commented out, a way out too early, a branch switched off, a line twice.

Unlike the other operators these leave what was right in sight, or add what has to go again. Wide operators.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from vivace.tasks.operators.base import Context, Edit, operator

LEFTOVERS = frozenset({"code_comment", "debug_return", "debug_raise", "debug_value", "condition_off", "condition_on",
                       "line_twice", "first_only"})  # fmt: skip
_STATEMENTS = (ast.Assign, ast.AugAssign, ast.Expr, ast.Return, ast.If, ast.For)
_REPEATED = frozenset({"append", "extend", "insert", "add", "update", "write", "pop", "popleft", "appendleft"})


@operator(ast.Assign, ast.AugAssign, ast.Expr, ast.Raise, wide=True)
def code_comment(node: ast.stmt, context: Context) -> Iterator[Edit]:
    """A statement commented out; `pass` stands in for it where it was alone."""
    if _own_line(node, context) and not _is_text(node):
        alone = len(_body(node, context)) == 1
        yield context.replace(node, f"{'pass  ' if alone else ''}# {context.text(node)}")


@operator(*_STATEMENTS, wide=True)
def debug_return(node: ast.stmt, context: Context) -> Iterator[Edit]:
    """`return None` before a statement: the rest of its block is not reached."""
    yield from _before(node, context, "return None")


@operator(*_STATEMENTS, wide=True)
def debug_raise(node: ast.stmt, context: Context) -> Iterator[Edit]:
    """`raise NotImplementedError` before a statement."""
    yield from _before(node, context, "raise NotImplementedError")


@operator(ast.Assign, wide=True)
def debug_value(node: ast.Assign, context: Context) -> Iterator[Edit]:
    """`x = None` right after `x = ...`: a value set by hand and forgotten."""
    target, none = node.targets[0], isinstance(node.value, ast.Constant) and node.value.value is None
    if isinstance(target, ast.Name) and len(node.targets) == 1 and not none and _own_line(node, context):
        yield from _after(node, context, f"{target.id} = None")


@operator(ast.If, ast.While, wide=True)
def condition_off(node: ast.If | ast.While, context: Context) -> Iterator[Edit]:
    """`if x:` to `if x and False:`."""
    yield from _switched(node, context, "and False")


@operator(ast.If, wide=True)
def condition_on(node: ast.If, context: Context) -> Iterator[Edit]:
    """`if x:` to `if x or True:`."""
    yield from _switched(node, context, "or True")


@operator(ast.AugAssign, ast.Expr, wide=True)
def line_twice(node: ast.AugAssign | ast.Expr, context: Context) -> Iterator[Edit]:
    """A line that came in twice by a merge: something is added, written or taken once too often."""
    call = node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
    counts = call is not None and isinstance(call.func, ast.Attribute) and call.func.attr in _REPEATED
    if (counts or isinstance(node, ast.AugAssign)) and _own_line(node, context):
        yield from _after(node, context, context.text(node))


@operator(ast.For, wide=True)
def first_only(node: ast.For, context: Context) -> Iterator[Edit]:
    """`for x in y:` to `for x in y[:1]:`."""
    if isinstance(node.iter, ast.Name | ast.Attribute | ast.Call) and "\n" not in context.text(node.iter):
        yield context.replace(node.iter, f"{context.text(node.iter)}[:1]")


def removals(source: str, lines: set[int]) -> Iterator[str]:
    """The text without one of these lines, and with one of their comments as code again, whether that parses or not:
    what a search without a model tries against leftovers."""
    rows = source.split("\n")
    for number in sorted(lines):
        row = rows[number - 1]
        bare = row.lstrip()
        begin, found, code = row.partition("# ")
        changed = [rows[: number - 1] + rows[number:]] if bare and not bare.startswith("#") else []
        if found and begin.strip() in ("", "pass"):
            indent = row[: len(row) - len(bare)]
            changed.append([*rows[: number - 1], indent + code, *rows[number:]])
        yield from map("\n".join, changed)


def _before(node: ast.stmt, context: Context, line: str) -> Iterator[Edit]:
    start = context.source.span(node)[0]
    indent = context.before(node)
    if not _is_text(node) and not indent.strip() and context.text(node) != line and not context.is_elif(node):
        yield start, start, f"{line}\n{indent}"


def _after(node: ast.stmt, context: Context, line: str) -> Iterator[Edit]:
    end = context.source.span(node)[1]
    yield end, end, f"\n{context.before(node)}{line}"


def _switched(node: ast.If | ast.While, context: Context, switch: str) -> Iterator[Edit]:
    simple = ast.Name | ast.Attribute | ast.Call | ast.Compare | ast.Subscript
    if isinstance(node.test, simple) and "\n" not in context.text(node.test):
        yield context.replace(node.test, f"{context.text(node.test)} {switch}")


def _own_line(node: ast.stmt, context: Context) -> bool:
    """Whether it is all that its line holds."""
    end = context.source.span(node)[1]
    stop = context.source.text.find("\n", end)
    rest = context.source.text[end : stop if stop >= 0 else None]
    return not context.before(node).strip() and "\n" not in context.text(node) and not rest.strip()


def _is_text(node: ast.stmt) -> bool:
    """A docstring or the like."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _body(node: ast.stmt, context: Context) -> list[ast.stmt]:
    """The statements among which it stands."""
    parent = context.parent(node)
    blocks = (getattr(parent, field, None) for field in ("body", "orelse", "finalbody"))
    return next(block for block in blocks if isinstance(block, list) and node in block)
