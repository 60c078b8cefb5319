"""ArtifactsBench: pages and pictures that a model writes, rendered for real and scored by a judge that sees them.

The last <html> block of an answer (else the last <svg>) is opened in Chromium inside the sandbox; three screenshots of
the whole page, a second apart, go to the judge with the question, the answer and the item's checklist.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.types import Grade, Pictured, Sampling
from vivace.evals.graders import browser
from vivace.evals.suites.base import Bench, Case, Info, Suite
from vivace.evals.suites.questions import user
from vivace.evals.suites.rows import need, rows

TRIES, LONGEST, SOLVED = 4, 100_000, 60.0
JUDGE = """Score a visual artifact that was written in answer to a request, by its checklist.
{shown}
Judge strictly by what the code does and by what the screenshots show: a part that does not appear or does not work
earns nothing. Each of the {count} items of the checklist is worth 10 points; scale their sum to 100.

[request]
{question}

[answer]
{answer}

[checklist]
{checklist}

Go through the items one by one, and end with a JSON object such as {{"Overall Score": "42"}}, from 0 to 100."""
SHOWN = "The images are screenshots of the whole page after loading, one second apart."
UNSEEN = "The page could not be rendered ({why}); there are no screenshots."
_HTML = re.compile(r"<html[^>]*>.*?</html>", re.DOTALL)
_SVG = re.compile(r"<svg[^>]*>.*?</svg>", re.DOTALL)
_SCORES = tuple(re.compile(rf'"{name}":\s*"?(\d+(?:\.\d+)?)') for name in ("Overall Score", "总体打分"))


def load(path: Path) -> list[Case]:
    """Fields index, question, checklist (a list or a text), class, difficulty."""
    found = []
    for row in rows(path):
        index, question, checklist = need(row, "index", "question", "checklist")
        items = checklist if isinstance(checklist, list) else [checklist]
        found.append(Case(id=f"artifacts-bench/{index}", cluster=str(row.get("class") or ""), messages=user(question),
                          target={"question": question, "checklist": [_text(item) for item in items]}))
    return found


def grade(case: Case, text: str, bench: Bench) -> Grade:
    """The judge's score over 100 is `score`; what is solved is ours to say, since the benchmark has scores only."""
    judge = bench.roles.get("judge")
    if judge is not None and judge.codec is not None:
        raise BadInput("a native judge sees no images; name an endpoint with --judge NAME@URL")
    if not text.strip():
        return Grade(status="failed", scores={"score": 0.0}, detail="no answer")
    page, shots, why = artifact(text), list[bytes](), "the answer holds no <html> or <svg> block"
    if page is not None:
        shots, why = browser.screenshots(page, bench.sandbox())
    prompt = JUDGE.format(shown=SHOWN if shots else UNSEEN.format(why=why), question=case.target["question"],
                          answer=text[:LONGEST], count=len(case.target["checklist"]),
                          checklist="\n".join(case.target["checklist"]))
    message = Pictured(role="user", content=prompt, images=[base64.b64encode(shot).decode() for shot in shots])
    for attempt in range(TRIES):
        draw = Sampling(temperature=0.0, max_tokens=8192, seed=bench.seed + attempt)
        score = verdict(bench.ask("judge", [message], draw))
        if score is not None:
            return Grade(status="solved" if score >= SOLVED else "failed",
                         scores={"score": score / 100, "rendered": float(bool(shots))}, detail=f"{score:g} of 100")
    return Grade(status="invalid", detail=f"the judge gave no score in {TRIES} tries")


def artifact(text: str) -> str | None:
    """The last html block of an answer, else the last svg."""
    for pattern in (_HTML, _SVG):
        if found := pattern.findall(text):
            return str(found[-1])
    return None


def verdict(reply: str) -> float | None:
    """The last overall score that a judge states, from 0 to 100."""
    for pattern in _SCORES:
        if found := pattern.findall(reply):
            return min(float(found[-1]), 100.0)
    return None


def _text(item: Any) -> str:
    return item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)


SUITE = Suite(
    Info(name="artifacts-bench", title="ArtifactsBench", items="1,825", licence="CC-BY-4.0", roles=("judge",),
         source="tencent/ArtifactsBenchmark (dataset/artifacts_bench.json)", engine="browser", sandboxed=True,
         metric="mean of the judge's scores", max_tokens=32_768,
         grader={"version": "1", "measure": "score", "artifact": "last <html>, else last <svg>",
                 "screenshots": f"{browser.SHOTS} of the whole page, {browser.GAP_S:g} s apart", "tries": TRIES,
                 "judge_prompt": "ours, the benchmark's checklist and scale", "answer_characters": LONGEST,
                 "not_rendered": "judged on the text, as published", "solved_from": f"{SOLVED:g} (ours)"},
         notes="Published figures use Gemini 2.5 Pro as judge. Pages get no network here."),
    load, grade, found=browser.identity,
)
