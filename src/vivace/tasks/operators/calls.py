"""Calls: swapped or lost arguments, the sibling method, a lost normalisation, a range off by one."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from vivace.tasks.operators.base import Context, Edit, operator

_PAIRS = (
    "lower upper", "lstrip rstrip", "append extend", "startswith endswith", "find rfind", "index rindex",
    "split rsplit", "keys values", "ljust rjust", "min max", "any all", "floor ceil", "partition rpartition",
    "isdigit isalpha", "removeprefix removesuffix", "union intersection", "popleft pop", "appendleft append",
    "sorted list", "int float", "get pop", "encode decode",
)  # fmt: skip
SIBLINGS: dict[str, tuple[str, ...]] = {"strip": ("lstrip", "rstrip"), "title": ("upper",), "capitalize": ("lower",)}
for _pair in _PAIRS:
    _a, _b = _pair.split()
    SIBLINGS[_a] = (*SIBLINGS.get(_a, ()), _b)
    SIBLINGS[_b] = (*SIBLINGS.get(_b, ()), _a)
DROPPABLE = frozenset({"strip", "lstrip", "rstrip", "lower", "upper", "copy", "title", "capitalize", "casefold"})


@operator(ast.Call)
def arg_swap(node: ast.Call, context: Context) -> Iterator[Edit]:
    """`f(a, b)` to `f(b, a)`: neighbours among the positional arguments."""
    for left, right in zip(node.args, node.args[1:]):
        if isinstance(left, ast.Starred | ast.GeneratorExp) or isinstance(right, ast.Starred | ast.GeneratorExp):
            continue
        start, end = context.source.span(left)[0], context.source.span(right)[1]
        middle = context.source.text[context.source.span(left)[1]:context.source.span(right)[0]]
        if middle.strip() == "," and context.text(left) != context.text(right):
            yield start, end, f"{context.text(right)}{middle}{context.text(left)}"


@operator(ast.Call)
def kwarg_drop(node: ast.Call, context: Context) -> Iterator[Edit]:
    """`f(a, key=b)` to `f(a)`."""
    before: ast.AST = max([node.func, *node.args, *(k for k in node.keywords if k.arg is None)],
                          key=lambda part: context.source.span(part)[1])
    for keyword in node.keywords:
        if keyword.arg is None:
            continue
        start, end = context.source.span(keyword)
        gap_start = context.source.span(before)[1]
        gap = context.source.text[gap_start:start]
        if gap_start < start and gap.strip() == ",":
            yield gap_start, end, ""
        elif gap.strip() == "(" and len(node.keywords) == len(node.args) + 1 == 1:
            yield start, end, ""
        before = keyword


@operator(ast.Call)
def method_swap(node: ast.Call, context: Context) -> Iterator[Edit]:
    """`x.lower()` to `x.upper()`, `min(...)` to `max(...)`: the name next to it in the table of siblings."""
    if isinstance(node.func, ast.Attribute):
        end = context.source.span(node.func)[1]
        for other in SIBLINGS.get(node.func.attr, ()):
            yield end - len(node.func.attr), end, other
    elif isinstance(node.func, ast.Name):
        for other in SIBLINGS.get(node.func.id, ()):
            yield context.replace(node.func, other)


@operator(ast.Call)
def method_drop(node: ast.Call, context: Context) -> Iterator[Edit]:
    """`x.strip()` to `x`: a normalisation that got lost."""
    if isinstance(node.func, ast.Attribute) and node.func.attr in DROPPABLE and not node.args and not node.keywords:
        if isinstance(context.parent(node), ast.Expr):
            return
        end = context.source.span(node.func)[1]
        dot = end - len(node.func.attr) - 1
        if context.source.text[dot] == ".":
            yield dot, context.source.span(node)[1], ""


@operator(ast.Call)
def range_shift(node: ast.Call, context: Context) -> Iterator[Edit]:
    """`range(n)` to `range(n - 1)` or `range(1, n)`; only the stop when there is a start."""
    if not (isinstance(node.func, ast.Name) and node.func.id == "range" and node.args) or node.keywords:
        return
    stop = node.args[0] if len(node.args) == 1 else node.args[1]
    if isinstance(stop, ast.Name | ast.Call | ast.Attribute):
        yield context.replace(stop, f"{context.text(stop)} - 1")
    if len(node.args) == 1 and not isinstance(stop, ast.Starred | ast.GeneratorExp):
        start = context.source.span(stop)[0]
        yield start, start, "1, "
