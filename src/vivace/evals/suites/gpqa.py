"""GPQA Diamond: four choices in an order drawn from the item's own id; the letter after the last ANSWER counts."""

from __future__ import annotations

import random
import re
from pathlib import Path

from vivace.core.types import Grade
from vivace.evals.suites.base import Bench, Case, Info, Suite
from vivace.evals.suites.questions import user
from vivace.evals.suites.rows import need, rows

PROMPT = ("Answer the following multiple choice question. The last line of your response must be of the form "
          "\"ANSWER: $LETTER\" (without quotes), where LETTER is one of A, B, C, D. Think step by step first.\n\n"
          "{question}\n\n{choices}")
FIELDS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
SEED = 20260101
_LINE = re.compile(r"ANSWER\s*:\s*\W{0,4}([A-D])\b", re.IGNORECASE)


def load(path: Path) -> list[Case]:
    """Fields Record ID, Question, Correct Answer, Incorrect Answer 1 to 3, High-level domain."""
    cases = []
    for row in rows(path):
        name, question, *choices = need(row, "Record ID", "Question", *FIELDS)
        order = [0, 1, 2, 3]
        random.Random(f"{SEED}/{name}").shuffle(order)
        shown = "\n".join(f"{letter}) {choices[i].strip()}" for letter, i in zip("ABCD", order))
        cases.append(Case(id=f"gpqa-diamond/{name}", cluster=row.get("High-level domain") or "",
                          messages=user(PROMPT.format(question=question.strip(), choices=shown)),
                          target={"letter": "ABCD"[order.index(0)]}))
    return cases


def grade(case: Case, text: str, bench: Bench) -> Grade:
    found = _LINE.findall(text)
    if not found:
        return Grade(status="failed", detail="no ANSWER line")
    letter = found[-1].upper()
    return Grade(status="solved" if letter == case.target["letter"] else "failed", detail=f"chose {letter}")


SUITE = Suite(
    Info(name="gpqa-diamond", title="GPQA Diamond", items="198", source="Idavidrein/gpqa (gpqa_diamond.csv)",
         licence="CC-BY-4.0", gate="accept the terms on the hub; its authors ask that no item is posted; canary",
         metric="mean over repeats", repeats=4,
         grader={"version": "1", "extract": "letter of the last ANSWER", "order": f"by Record ID, seed {SEED}"}),
    load, grade,
)
