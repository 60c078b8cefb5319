"""Functions of the corpus: where they are, and keys under which copies of one function fall together."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vivace.data.documents import Document
from vivace.data.filters import parse

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
NAMED_NODES = 20  # smaller functions repeat by chance
SHAPE_NODES = 60


@dataclass(frozen=True)
class FunctionSite:
    """A function in a document: lines are 1-based and inclusive, decorators counted in; `source` is those lines."""

    package: str
    path: str
    qualname: str
    start: int
    end: int
    source: str

    @property
    def lines(self) -> int:
        return self.end - self.start + 1


def walk_functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, FunctionNode]]:
    """(qualified name, node) of every function and method below `node`, outer ones first."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name, child
            yield from walk_functions(child, f"{prefix}{child.name}.<locals>.")
        elif isinstance(child, ast.ClassDef):
            yield from walk_functions(child, f"{prefix}{child.name}.")
        elif not isinstance(child, ast.expr):
            yield from walk_functions(child, prefix)


def span(node: FunctionNode) -> tuple[int, int]:
    """First and last line of a function, its decorators included."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return first, node.end_lineno or node.lineno


def iter_functions(documents: Iterable[Document]) -> Iterator[FunctionSite]:
    """Every function of the documents, in order; documents that do not parse have none."""
    for document in documents:
        tree = parse(document.text)
        if tree is None:
            continue
        lines = document.text.split("\n")
        for qualname, node in walk_functions(tree):
            start, end = span(node)
            source = "\n".join(lines[start - 1 : end]) + "\n"
            yield FunctionSite(document.package, document.path, qualname, start, end, source)


@dataclass(frozen=True)
class FunctionKeys:
    """`named` ignores docstring, comments and layout; `shape` ignores identifiers and literals too.

    A key is empty where the function is too small for it to mean anything.
    """

    named: str
    shape: str
    nodes: int


def function_keys(tree: ast.AST) -> list[FunctionKeys]:
    """Keys of every function of a module."""
    return [_keys(node) for _, node in walk_functions(tree)]


def _keys(node: FunctionNode) -> FunctionKeys:
    named: list[str] = []
    shape: list[str] = []
    count = 0
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    stack: list[object] = [*reversed(body), node.args]
    while stack:
        item = stack.pop()
        if isinstance(item, ast.AST):
            count += 1
            kind = type(item).__name__
            named.append(kind)
            shape.append(kind)
            stack += [getattr(item, field, None) for field in reversed(item._fields) if field not in ("ctx", "kind")]
        elif isinstance(item, list):
            named.append("[")
            stack += reversed(item)
        elif item is not None:
            named.append(repr(item))
    return FunctionKeys(
        _hash(named) if count >= NAMED_NODES else "", _hash(shape) if count >= SHAPE_NODES else "", count
    )


def _hash(parts: list[str]) -> str:
    return hashlib.blake2b("\n".join(parts).encode(errors="surrogatepass"), digest_size=12).hexdigest()
