"""Python source as a syntax tree, from any thread."""

from __future__ import annotations

import ast
import threading

_lock = threading.Lock()


def python_tree(text: str) -> ast.Module:
    """`ast.parse`, one thread at a time.

    While CPython makes the nodes it keeps one recursion depth for all threads, and the garbage collector may let
    another thread in: two that overlap end in SystemError ("AST constructor recursion depth mismatch", with 3.11.7).

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: as `ast.parse`.
    """
    with _lock:
        return ast.parse(text)


def python_expression(text: str) -> ast.Expression:
    """The same for a single expression."""
    with _lock:
        return ast.parse(text, mode="eval")
