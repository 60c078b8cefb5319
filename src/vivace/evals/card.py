"""MODEL_CARD.md: what the model is, how it was made, what was measured, what was not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from vivace.core.types import Record
from vivace.evals import table
from vivace.evals.pages import templates

NOTHING_MEASURED = (
    "Not done: CyberBench, CyberSecEval, SecRepoBench, jailbreak and over-refusal suites, red teaming. "
    "No safety figure is claimed.",
    "No alignment training for safety was done; the model does not refuse.",
)


class StageFacts(Record):
    """One training stage: what it learned from, how much, and what it cost."""

    name: str
    what: str
    amount: str = ""
    seconds: float | None = None
    peak_rss_mb: float | None = None


class DataSource(Record):
    """One package or corpus part. `role` is train or eval; evaluation packages are named so that anyone can check."""

    name: str
    version: str = ""
    licence: str
    role: str
    amount: str = ""


class CardFacts(Record):
    """Everything the card says. `summary` is what `evals.compare.compare` returned; hashes are hex digests."""

    name: str
    based_on: str = ""
    released: str = ""
    summary: dict[str, Any]
    parameters_total: int
    parameters_active: int
    context: int
    vocabulary: int
    architecture: str
    precision: str = "bf16 weights, fp32 arithmetic on CPU"
    stages: list[StageFacts] = Field(default_factory=list)
    data: list[DataSource] = Field(default_factory=list)
    data_notes: list[str] = Field(default_factory=list)
    base_measures: dict[str, str] = Field(default_factory=dict)
    harness: dict[str, str] = Field(default_factory=dict)
    hashes: dict[str, str] = Field(default_factory=dict)
    commands: list[str] = Field(default_factory=list)
    safety: list[str] = Field(default_factory=lambda: list(NOTHING_MEASURED))
    limitations: list[str] = Field(default_factory=list)


def render_card(facts: CardFacts) -> str:
    """The card as Markdown."""
    text = templates(escape=False, number=table.number, cell=_cell).get_template("card.md.j2").render(
        f=facts, millions=_millions,
        evaluation=markdown_table(table.STAGE_HEADER, table.stage_rows(facts.summary)),
        pairs=markdown_table(table.PAIR_HEADER, table.pair_rows(facts.summary)),
        repos=_repositories(facts.summary), tokens_note=table.TOKENS_NOTE,
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub table, first column left, the others right; empty for no rows."""
    if not rows:
        return ""
    lines = [f"| {' | '.join(header)} |", f"|{'|'.join([':--', *['--:'] * (len(header) - 1)])}|"]
    return "\n".join([*lines, *(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows)])


def _repositories(summary: dict[str, Any]) -> str:
    """Pass rate of every stage on every held-out package."""
    stages = summary["eval"]
    repos = sorted({repo for row in stages.values() for repo in row["by_repo"]})
    rows = []
    for repo in repos:
        held = [row["by_repo"].get(repo) for row in stages.values()]
        count = next(cell["n"] for cell in held if cell)
        rows.append([repo, str(count), *(table.percent(cell["pass_rate"]) if cell else "–" for cell in held)])
    return markdown_table(["package", "n", *stages], rows)


def _millions(count: int) -> str:
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
