"""Humanity's Last Exam, text only: a named judge model compares the final answer with the reference."""

from __future__ import annotations

import re
from pathlib import Path

from vivace.core.types import Grade, Message
from vivace.evals.graders.extract import last_object
from vivace.evals.suites.base import Bench, Case, Info, Suite
from vivace.evals.suites.questions import user
from vivace.evals.suites.rows import need, rows

SYSTEM = ("Your response should be in the following format:\nExplanation: {your explanation for your answer choice}\n"
          "Answer: {your chosen answer}\nConfidence: {your confidence score between 0% and 100% for your answer}")
JUDGE = """Judge whether the response to the question is correct, by the reference answer alone.
Do not solve the problem; do not argue for another answer. Small differences of rounding or notation are allowed.

[question]: {question}

[response]: {response}

[correct_answer]: {answer}

Reply with one JSON object with the keys "extracted_final_answer" (the exact final answer of the response, or null),
"reasoning" (why it does or does not agree with the reference), "correct" ("yes" or "no") and
"confidence" (0 to 100, as stated in the response; 100 if none is stated)."""
TRIES = 3


def load(path: Path) -> list[Case]:
    """Fields id, question, answer, answer_type, image, category; rows with an image are left out."""
    cases = []
    for row in rows(path):
        name, question, answer = need(row, "id", "question", "answer")
        if not row.get("image"):
            cases.append(Case(id=f"hle-text/{name}", cluster=row.get("category") or "",
                              messages=[Message(role="system", content=SYSTEM), *user(question)],
                              target={"question": question, "answer": str(answer)}))
    return cases


def grade(case: Case, text: str, bench: Bench) -> Grade:
    """Solved as the judge says. A judge that gives no usable verdict three times leaves the attempt without one."""
    if not text.strip():
        return Grade(status="failed", scores={"confidence": 1.0}, detail="no answer")
    prompt = JUDGE.format(question=case.target["question"], response=text, answer=case.target["answer"])
    for _ in range(TRIES):
        if (found := verdict(bench.ask("judge", user(prompt)))) is not None:
            right, confidence, why = found
            return Grade(status="solved" if right else "failed", scores={"confidence": confidence}, detail=why[:200])
    return Grade(status="invalid", detail=f"the judge gave no usable verdict in {TRIES} tries")


def verdict(reply: str) -> tuple[bool, float, str] | None:
    """(correct, confidence from 0 to 1, reasoning) of a judge's reply; None when it is not in the agreed form."""
    held = last_object(reply)
    if held is None or str(held.get("correct")).lower() not in ("yes", "no"):
        return None
    stated = re.search(r"\d+(\.\d+)?", str(held.get("confidence", 100)))
    confidence = min(float(stated.group(0)), 100.0) / 100 if stated else 1.0
    return str(held["correct"]).lower() == "yes", confidence, str(held.get("reasoning", ""))


SUITE = Suite(
    Info(name="hle-text", title="HLE (text)", items="2,500, about 2,158 without an image", source="cais/hle",
         licence="MIT", gate="accept the terms on the hub; canary", metric="share judged correct", roles=("judge",),
         grader={"version": "1", "judge_prompt": "ours, the original's JSON fields", "tries": TRIES,
                 "no_usable_verdict": "invalid"},
         notes="Published figures use o3-mini-2025-01-31 as judge and the whole set, not the audited subsets."),
    load, grade,
)
