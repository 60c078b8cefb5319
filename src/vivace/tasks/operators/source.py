"""A source text with its syntax tree, positions as character offsets, and the functions it defines."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from vivace.core.syntax import python_tree

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_NEWLINE = re.compile(r"\r\n|\r|\n")  # what the parser counts as a line end; str.splitlines knows more of them


class Source:
    """Offsets are into the text as characters; the tree's byte columns are translated here and nowhere else.

    Raises SyntaxError for a text that does not parse.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = python_tree(text)
        self.starts = [0, *(match.end() for match in _NEWLINE.finditer(text))]

    def offset(self, line: int, column: int) -> int:
        """Character offset of a 1-based line and a UTF-8 byte column."""
        start = self.starts[line - 1]
        end = self.starts[line] if line < len(self.starts) else len(self.text)
        row = self.text[start:end]
        return start + (column if row.isascii() else len(row.encode()[:column].decode()))

    def span(self, node: ast.AST) -> tuple[int, int]:
        """(start, end) of a node that has a position; brackets around an expression are not part of it."""
        return (self.offset(node.lineno, node.col_offset),  # type: ignore[attr-defined]
                self.offset(node.end_lineno, node.end_col_offset))  # type: ignore[attr-defined]

    def segment(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.text[start:end]

    def token_between(self, left: ast.AST, right: ast.AST, pattern: str) -> tuple[int, int] | None:
        """Where an operator stands between two operands; None when a comment in the gap could mislead."""
        start, end = self.span(left)[1], self.span(right)[0]
        gap = self.text[start:end]
        match = None if "#" in gap else re.search(pattern, gap)
        return (start + match.start(), start + match.end()) if match else None

    def line_of(self, offset: int) -> int:
        """1-based line of a character offset."""
        low, high = 0, len(self.starts)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.starts[middle] <= offset else (low, middle)
        return low + 1


@dataclass(frozen=True)
class Function:
    """One function or method. Lines are 1-based and inclusive; `line` is that of `def`."""

    qualname: str
    line: int
    end_line: int

    @property
    def name(self) -> str:
        return self.qualname.rsplit(".", 1)[-1]

    @property
    def length(self) -> int:
        return self.end_line - self.line + 1


def functions(source: str) -> list[Function]:
    """Every function of a text, outer before inner, in order."""
    return [Function(scope.qualname, scope.function.lineno, scope.function.end_lineno or scope.function.lineno)
            for node, scope in walk(python_tree(source)) if scope.function is node]


@dataclass
class Scope:
    """Where a node stands: the innermost function and class, and the dotted name of that function."""

    qualname: str = ""
    function: FunctionNode | None = None
    owner: ast.ClassDef | None = None
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict, repr=False)

    @cached_property
    def locals(self) -> dict[str, int]:
        """Names bound in the function, with the first line that binds each; no comprehension variables."""
        found: dict[str, int] = {}
        if self.function is None:
            return found
        a = self.function.args
        for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))):
            found[arg.arg] = self.function.lineno
        stack: list[ast.AST] = list(self.function.body)
        while stack:
            node = stack.pop()
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found[node.id] = min(found.get(node.id, node.lineno), node.lineno)
            if not isinstance(node, _OWN_NAMES):
                stack.extend(ast.iter_child_nodes(node))
        return found

    @cached_property
    def self_reads(self) -> frozenset[str]:
        """Attributes of `self` that the function touches as data, not as methods it calls."""
        nodes = list(ast.walk(self.function)) if self.function else []
        called = {node.func for node in nodes if isinstance(node, ast.Call)}
        return frozenset(node.attr for node in nodes if isinstance(node, ast.Attribute) and node not in called
                         and isinstance(node.value, ast.Name) and node.value.id == "self")


_OWN_NAMES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef,
              ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def walk(tree: ast.Module) -> Iterator[tuple[ast.AST, Scope]]:
    """Nodes that may be mutated, each with its scope, in source order.

    Left out: annotations and decorators (no behaviour, or not the function's own), docstrings, and f-strings
    (before Python 3.12 the nodes inside them carry wrong positions).
    """
    parents: dict[ast.AST, ast.AST] = {}
    yield from _walk(tree, Scope(parents=parents), parents)


def _walk(node: ast.AST, scope: Scope, parents: dict[ast.AST, ast.AST]) -> Iterator[tuple[ast.AST, Scope]]:
    if isinstance(node, FunctionNode):
        scope = Scope(_join(scope.qualname, node.name), node, scope.owner, parents)
    elif isinstance(node, ast.ClassDef):
        scope = Scope(_join(scope.qualname, node.name), scope.function, node, parents)
    yield node, scope
    for child in _children(node):
        parents[child] = node
        yield from _walk(child, scope, parents)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    skipped: list[ast.AST] = []
    if isinstance(node, FunctionNode | ast.ClassDef):
        skipped += node.decorator_list
    skipped += [part for part in (getattr(node, "annotation", None), getattr(node, "returns", None)) if part]
    for child in ast.iter_child_nodes(node):
        docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        if not (docstring or isinstance(child, ast.JoinedStr) or child in skipped):
            yield child


def _join(outer: str, name: str) -> str:
    return f"{outer}.{name}" if outer else name
