"""AMO-Bench: fifty problems beyond the IMO; 39 are graded by comparing values, 11 by a judge's majority."""

from __future__ import annotations

import re
from pathlib import Path

from vivace.core.errors import BadInput
from vivace.core.types import Grade, Sampling
from vivace.evals.graders import mathematics
from vivace.evals.suites.base import Bench, Case, Info, Suite
from vivace.evals.suites.questions import user
from vivace.evals.suites.rows import need, rows

ASK = "\n\nEnd your response with a line of the form\n### The final answer is: $\\boxed{<your answer>}$"
JUDGE = """Is the student's answer to this mathematical problem equivalent to the reference answer?
Decimal approximations must be right to at least four decimal places.

### Problem
{problem}

### Reference Answer
{gold}

### Student Answer
{answer}

Reason briefly, and end with one line, either
### Conclusion: Correct
or
### Conclusion: Incorrect"""
VOTES, LONGEST = 5, 20_000
TYPES = ("number", "set", "variable", "description")
TRIES = {5: [f"n={n}" for n in range(1, 21)], 37: [f"a={a},b={a + 1},c={a + 2}" for a in range(2, 19)]}
"""Values at which formulas are compared, by question_id: the two of type variable."""
_CUTS = ("\\medskip", "\n---")
_HEADS = [f"{mark}{the}final answer{tail}" for mark in ("### ", "")
          for the, tail in (("the ", " is:"), ("the ", ":"), ("", " is:"), ("", ":"), ("the ", " is"), ("the ", ""),
                            ("", " is"), ("", ""))]
_SIZES = re.compile(r"\\(?:[bB]igg?[lr]?|left|right)")
_WIDE = {"‘": "'", "’": "'", "“": '"', "”": '"', "（": "(", "）": ")", "，": ", ", "：": ": ", "；": "; ", "。": ". ",
         "！": "! ", "？": "? ", "…": "...", "–": "-", "−": "-"}


def load(path: Path) -> list[Case]:
    """Fields question_id, prompt, answer, answer_type (number, set, variable, description)."""
    cases = []
    for row in rows(path):
        number, prompt, answer, kind = need(row, "question_id", "prompt", "answer", "answer_type")
        if kind not in TYPES:
            raise BadInput(f"item {number}: answer_type {kind!r} is none of {', '.join(TYPES)}")
        if kind == "variable" and int(number) not in TRIES:
            raise BadInput(f"item {number}: nothing says at which values its formula is to be compared")
        ask = "" if "final answer is" in prompt.lower() else ASK
        cases.append(Case(id=f"amo-bench/{number}", messages=user(prompt + ask), target={
            "answer": str(answer), "type": kind, "problem": prompt, "tries": TRIES.get(int(number), [])}))
    return cases


def final_answer(text: str, kind: str) -> str:
    """What follows the last "### The final answer is:", in the notation that the parser is given."""
    found = text.replace("：", ": ")
    for head in _HEADS:
        at = found.lower().rfind(head)
        if at >= 0:
            found = found[at + len(head) :]
            break
    if kind != "description":
        found = _SIZES.sub("", found)
    for wide, narrow in _WIDE.items():
        found = found.replace(wide, narrow)
    found = re.sub(r"[ .]+\}", lambda match: _closed(match.group(0)), found)
    if kind != "description":
        found = re.sub(r"\\[,;]", "", found).replace("\n", " ")
    if kind in ("number", "variable"):
        found = found.replace(",", "")
        for wide, narrow in (("\\{", "("), ("\\}", ")"), ("\\[", "("), ("\\]", ")")):
            found = found.replace(wide, narrow)
    return found.strip()


def _closed(text: str) -> str:
    """Spaces before a closing brace go first, then full stops, and spaces before those stay."""
    inner = text[:-1].rstrip(" ").rstrip(".")
    return f"{inner}}}"


def grade(case: Case, text: str, bench: Bench) -> Grade:
    """By the answer's type; once more on what stands before a rule or a \\medskip."""
    kind, gold = case.target["type"], case.target["answer"]
    found = final_answer(text, kind)
    if kind == "description":
        return _vote(case, found, bench)
    cut = found
    for mark in _CUTS:
        cut = cut.split(mark)[0].strip()
    right = any(_same(kind, gold, one, case.target["tries"]) for one in dict.fromkeys((found, cut)))
    return Grade(status="solved" if right else "failed", detail=f"answer {found[:80]!r}")


def _same(kind: str, gold: str, found: str, tries: list[str]) -> bool:
    if kind == "variable":
        return mathematics.judge.same_formula(gold, found, tries)
    return mathematics.judge.either_way(gold, found)


def _vote(case: Case, found: str, bench: Bench) -> Grade:
    prompt = JUDGE.format(problem=case.target["problem"], gold=case.target["answer"], answer=found)
    if len(prompt) >= LONGEST:
        prompt = f"{prompt[: LONGEST // 2]}\n\n...\n\n{prompt[-LONGEST // 2 :]}"
    draws = [Sampling(temperature=1.0, max_tokens=8192, seed=bench.seed + at) for at in range(VOTES)]
    votes = [agrees(bench.ask("judge", user(prompt), draw)) for draw in draws]
    return Grade(status="solved" if sum(votes) * 2 > VOTES else "failed", scores={"votes": sum(votes) / VOTES},
                 detail=f"{sum(votes)} of {VOTES} votes")


def agrees(reply: str) -> bool:
    """Whether a judge concludes Correct."""
    conclusion = reply.lower().split("conclusion:")[-1]
    return "correct" in conclusion.split() and "not correct" not in conclusion and "n't correct" not in conclusion


SUITE = Suite(
    Info(name="amo-bench", title="AMO-Bench", items="50 (39 graded without a judge)",
         source="meituan-longcat/AMO-Bench", licence="MIT", metric="mean over repeats", roles=("judge",), repeats=8,
         max_tokens=65_536,
         grader={"version": "2", "compare": "math-verify in both orders, 4 decimals; formulas at 20 or 17 points",
                 "description": f"majority of {VOTES} votes at temperature 1, prompt ours"},
         notes="Published figures use o4-mini (low effort) as judge."),
    load, grade,
)
