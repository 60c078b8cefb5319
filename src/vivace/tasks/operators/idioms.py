"""Idioms of the language: identity and equality, copies, orders, generators, patterns, keys. Wide operators."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from vivace.tasks.operators.base import Context, Edit, operator

_PATTERN_CALLS = frozenset({"compile", "match", "search", "fullmatch", "findall", "finditer", "sub", "subn", "split"})
_QUANTIFIERS = (("+", "*"), ("*", "+"), ("?", ""), ("^", ""), ("$", ""), (r"\d", r"\w"), (r"\s", r"\S"), (r"\w", r"\W"))
_COPIES = frozenset({"list", "dict", "set", "tuple", "copy", "deepcopy"})


@operator(ast.Compare, wide=True)
def identity_confuse(node: ast.Compare, context: Context) -> Iterator[Edit]:
    """`a == b` to `a is b`, `!=` to `is not`."""
    table = {ast.Eq: ("==", "is"), ast.NotEq: ("!=", "is not")}
    literal = any(isinstance(one, ast.Constant | ast.JoinedStr) for one in (node.left, *node.comparators))
    if len(node.ops) == 1 and type(node.ops[0]) in table and not literal:  # a warning would tell
        written, other = table[type(node.ops[0])]
        place = context.source.token_between(node.left, node.comparators[0], re.escape(written))
        if place:
            yield (*place, other)


@operator(ast.Call, wide=True)
def copy_drop(node: ast.Call, context: Context) -> Iterator[Edit]:
    """`list(x)`, `dict(x)` or `deepcopy(x)` to `x`: two names for one object."""
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    plain = isinstance(node.func, ast.Name) or (isinstance(node.func, ast.Attribute)
                                                and context.text(node.func.value) == "copy")
    named = [type(one) for one in node.args] in ([ast.Name], [ast.Attribute]) and not node.keywords
    if plain and named and name in _COPIES:
        yield context.replace(node, context.text(node.args[0]))


@operator(ast.Call, wide=True)
def sort_reverse(node: ast.Call, context: Context) -> Iterator[Edit]:
    """`sorted(x)` or `x.sort()` in the other direction."""
    sorts = (isinstance(node.func, ast.Name) and node.func.id == "sorted") or (
        isinstance(node.func, ast.Attribute) and node.func.attr == "sort")
    if sorts and not any(keyword.arg in ("reverse", None) for keyword in node.keywords):
        end = context.source.span(node)[1] - 1
        if context.source.text[:end].rstrip()[-1:] != ",":
            yield end, end, ", reverse=True" if node.args or node.keywords else "reverse=True"


@operator(ast.Call, wide=True)
def arg_drop(node: ast.Call, context: Context) -> Iterator[Edit]:
    """`f(a, b)` to `f(a)`: the last positional argument lost."""
    if len(node.args) > 1 and not isinstance(node.args[-1], ast.Starred):
        start, end = context.source.span(node.args[-2])[1], context.source.span(node.args[-1])[1]
        if context.source.text[start:context.source.span(node.args[-1])[0]].strip() == ",":
            yield start, end, ""


@operator(ast.Call, wide=True)
def pattern_change(node: ast.Call, context: Context) -> Iterator[Edit]:
    """A regular expression with another quantifier, a lost anchor, another class."""
    if not (isinstance(node.func, ast.Attribute) and node.func.attr in _PATTERN_CALLS
            and context.text(node.func.value) in ("re", "regex") and node.args):
        return
    pattern = node.args[0]
    if not (isinstance(pattern, ast.Constant) and isinstance(pattern.value, str)):
        return
    text = context.text(pattern)
    for old, new in _QUANTIFIERS:
        at = text.find(old, 1)
        if 0 < at < len(text) - 1 and text[at - 1] != "\\" and text[at - 1] != "[":
            changed = text[:at] + new + text[at + len(old):]
            if _compiles(changed):
                yield context.replace(pattern, changed)


@operator(ast.BinOp, wide=True)
def chain_break(node: ast.BinOp, context: Context) -> Iterator[Edit]:
    """`a + b + c` to `a + c`: the middle lost."""
    if isinstance(node.left, ast.BinOp) and type(node.left.op) is type(node.op):
        middle = (context.source.span(node.left.left)[1], context.source.span(node.left)[1])
        text = context.source.text[slice(*middle)]
        whole = isinstance(node.left.right, ast.Call) and text.count("(") == text.count(")")
        if whole or not set(text) & set("()#\n"):
            yield (*middle, "")


@operator(ast.Await, wide=True)
def await_drop(node: ast.Await, context: Context) -> Iterator[Edit]:
    """`await x` to `x`."""
    yield context.source.span(node)[0], context.source.span(node.value)[0], ""


@operator(ast.YieldFrom, wide=True)
def yield_whole(node: ast.YieldFrom, context: Context) -> Iterator[Edit]:
    """`yield from x` to `yield x`."""
    start = context.source.span(node)[0]
    match = re.compile(r"yield\s+from\b").match(context.source.text, start)
    if match:
        yield start, match.end(), "yield"


@operator(ast.Yield, wide=True)
def yield_none(node: ast.Yield, context: Context) -> Iterator[Edit]:
    """`yield x` to `yield None`."""
    if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
        yield context.replace(node.value, "None")


@operator(ast.DictComp, wide=True)
def dict_swap(node: ast.DictComp, context: Context) -> Iterator[Edit]:
    """`{k: v for ...}` to `{v: k for ...}`."""
    start, end = context.source.span(node.key)[0], context.source.span(node.value)[1]
    key, value = context.text(node.key), context.text(node.value)
    middle = context.source.text[context.source.span(node.key)[1]:context.source.span(node.value)[0]]
    if middle.strip() == ":" and key != value:
        yield start, end, f"{value}{middle}{key}"


@operator(ast.comprehension, wide=True)
def filter_drop(node: ast.comprehension, context: Context) -> Iterator[Edit]:
    """`[x for x in y if c]` to `[x for x in y]`."""
    if len(node.ifs) == 1:
        start, end = context.source.span(node.iter)[1], context.source.span(node.ifs[0])[1]
        gap = context.source.text[start:context.source.span(node.ifs[0])[0]]
        if gap.strip() == "if":
            yield start, end, ""


@operator(ast.Subscript, wide=True)
def key_misuse(node: ast.Subscript, context: Context) -> Iterator[Edit]:
    """`d["a"]` to `d["b"]`, another key that the function uses."""
    function = context.scope.function
    if function is None or not (isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str)):
        return
    keys = {part.slice.value for part in ast.walk(function) if isinstance(part, ast.Subscript)
            and isinstance(part.slice, ast.Constant) and isinstance(part.slice.value, str)}  # fmt: skip
    for other in sorted(keys - {node.slice.value})[:2]:
        yield context.replace(node.slice, repr(other))


def _compiles(literal: str) -> bool:
    try:
        re.compile(ast.literal_eval(literal))
    except (re.error, SyntaxError, ValueError):
        return False
    return True
