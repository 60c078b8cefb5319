"""FrontierScience: olympiad problems with short answers, and research problems with rubrics of ten points."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from vivace.core.types import Grade
from vivace.evals.suites.base import Bench, Case, Info, Suite
from vivace.evals.suites.questions import user
from vivace.evals.suites.rows import need, rows

OLYMPIAD = """Grade an answer to a science olympiad problem against the reference, strictly and fairly.
It is right if it is equivalent to the reference: the same expression in another form, the same compound, method or
entity by another name, the same number up to rounding to one decimal place, units taken into account.

The problem: {problem}

The reference answer: {reference}

The attempted answer: {answer}

Reason step by step, and end with the line "GRADE: C" if it is right, or "GRADE: I" if it is not."""
RESEARCH = """Grade an answer to a science problem by the rubric, strictly and fairly. The rubric adds up to 10 points
and is the only standard, even where you would disagree with it; fractions of points are allowed where it allows them.

The problem: {problem}

The rubric: {reference}

The attempted answer: {answer}

Go through the items of the rubric one by one, and end with a line such as "VERDICT: 2.5", the total of the points."""
POINTS, PASS, TRIES = 10.0, 7.0, 3


def load(path: Path) -> list[Case]:
    """Fields problem, answer, subject, task_group_id; a rubric is an answer with "Points:" and ", Item:"."""
    cases: dict[str, Case] = {}
    for row in rows(path):
        problem, answer, group = need(row, "problem", "answer", "task_group_id")
        name = hashlib.sha256(f"{group}:{problem}:{answer}".encode()).hexdigest()[:16]
        while name in cases:
            name += "+"
        track = "research" if "Points:" in answer and ", Item:" in answer else "olympiad"
        cases[name] = Case(id=f"frontierscience/{name}", cluster=f"{track} {row.get('subject') or ''}".strip(),
                           messages=user(problem), target={"problem": problem, "answer": answer, "track": track})
    return list(cases.values())


def grade(case: Case, text: str, bench: Bench) -> Grade:
    """Research: `points` of ten, and solved from seven on."""
    if not text.strip():
        return Grade(status="failed", scores={"points": 0.0}, detail="no answer")
    research = case.target["track"] == "research"
    prompt = (RESEARCH if research else OLYMPIAD).format(problem=case.target["problem"], answer=text,
                                                        reference=case.target["answer"])
    for _ in range(TRIES):
        points = verdict(bench.ask("judge", user(prompt)), research)
        if points is not None:
            return Grade(status="solved" if points >= PASS else "failed", scores={"points": points / POINTS},
                         detail=f"{points:g} points")
    return Grade(status="invalid", detail=f"the judge gave no usable verdict in {TRIES} tries")


def verdict(reply: str, research: bool) -> float | None:
    """Points from 0 to 10 (olympiad: all or none); None when the reply ends in no verdict."""
    if not research:
        found = re.findall(r"GRADE:\s*([CI])\b", reply)
        return (POINTS if found[-1] == "C" else 0.0) if found else None
    stated = re.findall(r"VERDICT:\s*(\d+(?:\.\d+)?)", reply, re.IGNORECASE)
    return min(float(stated[-1]), POINTS) if stated else None


SUITE = Suite(
    Info(name="frontierscience", title="FrontierScience", items="160 (100 olympiad, 60 research)",
         source="openai/frontierscience", licence="Apache-2.0", roles=("judge",),
         metric="share solved; research problems from 7 of 10 points on",
         grader={"version": "1", "judge_prompts": "ours", "tries": TRIES, "research_pass": PASS,
                 "no_usable_verdict": "invalid"},
         notes="Some publish the mean of points instead, which is the attempt's score `points`, and it is not always "
               "said how the two tracks are mixed."),
    load, grade,
)
