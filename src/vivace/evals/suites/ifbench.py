"""IFBench: constraints that code can verify, loosely, at the level of prompts, as its paper reports them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.types import Grade
from vivace.evals.suites.base import Bench, Case, Info, Suite
from vivace.evals.suites.questions import user
from vivace.evals.suites.rows import need, parsed, rows
from vivace.text import instructions
from vivace.text.instructions import language

NEEDS_TAGGER = "words:start_verb"


def load(path: Path) -> list[Case]:
    """Fields key, prompt, instruction_id_list, kwargs (IFEval's data have the same)."""
    cases = []
    for row in rows(path):
        key, prompt, names, given = need(row, "key", "prompt", "instruction_id_list", "kwargs")
        names, given = parsed(names), parsed(given)
        if len(names) != len(given):
            raise BadInput(f"item {key} has {len(names)} instructions and {len(given)} sets of arguments")
        if unknown := [name for name in names if name not in instructions.CONSTRAINTS]:
            raise BadInput(f"item {key}: no verifier for {unknown[0]!r}; is it data of IFEval or IFBench?")
        given = [{k: v for k, v in one.items() if v is not None} for one in given]
        cases.append(Case(id=f"ifbench/{key}", messages=user(prompt), target={"names": names, "arguments": given}))
    return cases


def grader(mended: bool) -> Callable[[Case, str, Bench], Grade]:
    def grade(case: Case, text: str, bench: Bench) -> Grade:
        """Solved when every instruction is followed loosely; `strict` and the share of instructions are scores."""
        names, given = case.target["names"], case.target["arguments"]
        if NEEDS_TAGGER in names and not language.has_tagger():
            return Grade(status="invalid", detail="words:start_verb needs NLTK's tagger: python -m nltk.downloader "
                                                  "averaged_perceptron_tagger_eng")
        found = instructions.judge(names, given, text, mended=mended)
        failed = [name for name, good in zip(names, found.loose, strict=True) if not good]
        return Grade(status="failed" if failed else "solved",
                     detail=f"not followed: {', '.join(failed)}" if failed else "",
                     scores={"strict": float(all(found.strict)), "instructions": sum(found.loose) / len(names)})

    return grade


def _suite(name: str, mended: bool, notes: str) -> Suite:
    verifiers = "mended (docs/evaluation.md)" if mended else "as published, faults included (allenai/IFBench db69a6f)"
    facts: Mapping[str, Any] = {"version": "1", "verifiers": verifiers, "metric": "prompt-level loose"}
    title = "IFBench (mended verifiers)" if mended else "IFBench"
    return Suite(
        Info(name=name, title=title, items="300", source="allenai/IFBench_test", licence="ODC-BY", repeats=3,
             metric="share of prompts whose every instruction is followed loosely", grader=facts, notes=notes),
        load, grader(mended), found=language.identity,
    )


SUITE = _suite("ifbench", False, "Temperature 0; reasoning is not graded. `words:start_verb` (6 items) has no verdict "
               "without NLTK's tagger.")
MENDED = _suite("ifbench-mended", True, "Not comparable with published figures; what differs is in "
                "`vivace.text.instructions.mended_notes()`.")
