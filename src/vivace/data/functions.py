"""Functions of the corpus: where they are, and keys under which copies of one function fall together."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
NAMED_NODES = 20  # smaller functions repeat by chance
SHAPE_NODES = 60


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
