"""What came of an edit: a short diff, and whether a Python file still parses."""

from __future__ import annotations

import difflib
import warnings
from dataclasses import dataclass


@dataclass(frozen=True)
class SyntaxProblem:
    """First syntax error of a file."""

    line: int
    message: str


def syntax_problem(path: str, text: str) -> SyntaxProblem | None:
    """The first syntax error of a .py file; None if it parses or is in another language."""
    if not path.endswith((".py", ".pyi")):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text.removeprefix("\ufeff"), path, "exec", dont_inherit=True)  # half the time of a syntax tree
    except SyntaxError as error:
        return SyntaxProblem(error.lineno or 1, error.msg)
    except (ValueError, RecursionError, MemoryError) as error:  # NUL bytes; nesting beyond what the parser bears
        return SyntaxProblem(1, str(error) or "too deeply nested")
    return None


def short_diff(before: str, after: str, context: int = 1, most: int = 40) -> str:
    """Hunks of a unified diff without file names, at most `most` lines."""
    lines = list(difflib.unified_diff(_lines(before), _lines(after), lineterm="", n=context))[2:]
    if len(lines) > most:
        lines = [*lines[:most], f"... {len(lines) - most} more lines"]
    return "\n".join(lines)


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []
