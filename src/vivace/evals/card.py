"""MODEL_CARD.md: what the model is, how it was made, what was measured, what was not."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup
from pydantic import Field

from vivace.core.types import Record
from vivace.evals import table
from vivace.evals.benchmarks import Benchmarks
from vivace.evals.marks import cell, markdown_table
from vivace.evals.pages import templates

MISSING = "missing"
NOTHING_MEASURED = (
    "Not done: jailbreak suites, red teaming. No safety figure is claimed beyond those of the table, if there are any.",
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


class Source(Record):
    """Where a table's figures come from: the folder of the run, as seen from the card, and the command that made it."""

    title: str
    folder: str
    command: str = ""
    recipe: str = ""
    """Name of the recipe, whose settings are the folder's config.json."""


class CardFacts(Record):
    """Everything the card says; what is None or empty is printed as missing. Hashes are hex digests.

    `summary` is what `evals.compare.compare` returned (stages of a recipe), `benchmarks` what `evals.benchmarks` made
    of evaluations.
    """

    name: str
    based_on: str = ""
    released: str = ""
    use: str = ""
    summary: dict[str, Any] = Field(default_factory=lambda: {"eval": {}, "paired": [], "baseline": {}})
    benchmarks: Benchmarks | None = None
    sources: list[Source] = Field(default_factory=list)
    parameters_total: int | None = None
    parameters_active: int | None = None
    context: int | None = None
    vocabulary: int | None = None
    architecture: str = ""
    precision: str = ""
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
    benchmarks = facts.benchmarks or Benchmarks()
    text = templates(escape=False, number=table.number, cell=cell).get_template("card.md.j2").render(
        f=facts, millions=_millions, missing=MISSING, b=benchmarks,
        samples=any(held.sample for held in benchmarks.measured.values()),
        capability=benchmarks.table(safety=False), safety_table=benchmarks.table(safety=True),
        evaluation=markdown_table(table.STAGE_HEADER, table.stage_rows(facts.summary)),
        pairs=markdown_table(table.PAIR_HEADER, table.pair_rows(facts.summary)),
        repos=_repositories(facts.summary), tokens_note=table.TOKENS_NOTE,
    )
    return re.sub(r"\n{3,}", "\n\n", text)


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


def card_page(facts: CardFacts) -> str:
    """The same card as one HTML page, from its Markdown; nothing in it is fetched from anywhere."""
    from markdown_it import MarkdownIt

    environment = templates(escape=True)
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(render_card(facts))
    return environment.get_template("card.html.j2").render(
        name=facts.name, body=Markup(body), css=Markup(environment.get_template("report.css.j2").render()))


def _millions(count: int) -> str:
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"
