from itertools import pairwise

import pytest
from attempts_by_hand import make_attempt
from pydantic import ValidationError

from vivace.evals.card import CardFacts, DataSource, Source, StageFacts, render_card
from vivace.evals.compare import compare
from vivace.evals.marks import markdown_table
from vivace.recipe.stages.report import LIMITATIONS


def facts(**more: object) -> CardFacts:
    stages = {
        name: [make_attempt(f"t{i}", "ab"[i % 2], "solved" if i < solved else "failed", tokens) for i in range(10)]
        for name, solved, tokens in (("sft", 2, 150), ("rl", 7, 90))
    }
    values: dict[str, object] = {
        "name": "vivace-nano", "summary": compare(stages, baseline=stages["sft"]), "parameters_total": 12_300_000,
        "parameters_active": 4_600_000, "context": 2048, "vocabulary": 4096, "architecture": "6 layers",
        "stages": [StageFacts(name="sft", what="expert | demonstrations", amount="300", seconds=61.2, peak_rss_mb=900)],
        "data": [DataSource(name="boltons", version="1.0", licence="BSD-3-Clause", role="train")],
        "sources": [Source(title="tables", folder="eval", recipe="demo")], "hashes": {"weights": "abc123"},
        "commands": ["vivace run recipes/demo.toml"],
        "base_measures": {"bits per byte, held-out": "1.21"}, **more,
    }
    return CardFacts.model_validate(values)


def test_every_section_and_figure_is_there() -> None:
    card = render_card(facts())
    for heading in ("Model summary", "Intended use", "How it was trained", "Data summary", "Evaluation", "Safety",
                    "Limitations", "How to reproduce", "Hashes"):
        assert f"\n## {heading}\n" in card
    for part in ("12.3M in all, 4.6M active", "2,048 tokens", "| rl | 10 | 70.0% | [39.7, 89.2] | 90 | 129 |",
                 "| rl − sft | 10 | +50.0 |", "| brute force | 10 | 20.0% |", "expert \\| demonstrations",
                 "`abc123`", "1.21", "Source of the tables: [eval](eval), made by the recipe `demo`",
                 "| a | 5 | 20.0% | 80.0% |", "No safety figure is claimed"):
        assert part in card, part
    assert "\n\n\n" not in card


def test_tables_are_not_torn() -> None:
    lines = render_card(facts()).splitlines()
    for before, line in pairwise(lines):
        if line.startswith("|") and before.startswith("|"):
            assert line.replace("\\|", "").count("|") == before.replace("\\|", "").count("|")


def test_a_card_without_evaluation_says_so() -> None:
    card = render_card(facts(summary=compare({})))
    assert "Not evaluated." in card


def test_what_holds_for_every_card_is_said_once() -> None:
    section = render_card(facts(limitations=LIMITATIONS)).split("\n## Limitations\n")[1].split("\n## ")[0].lower()
    for word in ("synthetic", "interval", "seed"):
        assert section.count(word) == 1, section
    assert "injected" not in section


def test_a_misspelt_fact_is_refused() -> None:
    with pytest.raises(ValidationError, match="contxt"):
        facts(contxt=1)


def test_markdown_table() -> None:
    assert markdown_table(["a", "b"], [["x", "1|2"]]) == "| a | b |\n|:--|--:|\n| x | 1\\|2 |"
    assert markdown_table(["a"], []) == ""
