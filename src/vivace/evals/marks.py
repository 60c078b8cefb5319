"""Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub table, first column left, the others right; empty for no rows."""
    if not rows:
        return ""
    lines = [f"| {' | '.join(header)} |", f"|{'|'.join([':--', *['--:'] * (len(header) - 1)])}|"]
    return "\n".join([*lines, *(f"| {' | '.join(cell(part) for part in row)} |" for row in rows)])


def cell(text: str) -> str:
    """A text that does not tear a table."""
    return text.replace("|", "\\|").replace("\n", " ")
