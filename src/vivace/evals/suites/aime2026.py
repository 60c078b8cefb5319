"""AIME 2026: thirty contest problems whose answers are whole numbers from 0 to 999."""

from __future__ import annotations

import re
from pathlib import Path

from vivace.core.errors import BadInput
from vivace.core.types import Grade
from vivace.evals.graders import mathematics
from vivace.evals.suites.base import Bench, Case, Info, Suite
from vivace.evals.suites.questions import user
from vivace.evals.suites.rows import need, rows

PROMPT = ("Solve the following math problem step by step. The last line of your response must be of the form "
          "\"ANSWER: $ANSWER\" (without quotes), where $ANSWER is the answer.\n\n{problem}")
_LINE = re.compile(r"ANSWER\s*:\s*(.+)", re.IGNORECASE)


def boxed(text: str) -> str | None:
    """What stands in the last \\boxed{...}, braces balanced."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 0, start + len("\\boxed")
    for at in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[begin + 1 : at]
    return None


def final_answer(text: str) -> str | None:
    """The last ANSWER line, without a \\boxed around it, else the last \\boxed."""
    lines = _LINE.findall(text)
    if not lines:
        return boxed(text)
    last: str = lines[-1].strip().strip("*$ ")
    return boxed(last) or last


def load(path: Path) -> list[Case]:
    """Fields id, problem, answer."""
    cases = []
    for row in rows(path):
        name, problem, answer = need(row, "id", "problem", "answer")
        if not str(answer).strip().isdigit():
            raise BadInput(f"item {name}: the answer {answer!r} is no whole number; this is not AIME data")
        cases.append(Case(id=f"aime2026/{name}", messages=user(PROMPT.format(problem=problem)),
                          target={"answer": str(answer).strip()}))
    return cases


def grade(case: Case, text: str, bench: Bench) -> Grade:
    found = final_answer(text)
    if found is None:
        return Grade(status="failed", detail="no ANSWER line and no \\boxed")
    right = mathematics.judge.equal(f"${case.target['answer']}$", f"${found}$")
    return Grade(status="solved" if right else "failed", detail=f"answer {found[:80]!r}")


SUITE = Suite(
    Info(name="aime2026", title="AIME 2026", items="30", source="math-ai/aime26", licence="contest text, see its owner",
         metric="mean over repeats", grader={"version": "2", "extract": "last ANSWER line, else last \\boxed",
                                            "compare": mathematics.SETTINGS},
         repeats=16, notes="A score that is no multiple of 1/30 is a mean over repeats."),
    load, grade,
)
