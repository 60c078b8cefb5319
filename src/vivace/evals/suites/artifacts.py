"""ArtifactsBench: pages and pictures that a model writes, rendered for real and scored by a judge that sees them.

The page of an answer (else its last <svg>) is opened in Chromium inside the sandbox; three screenshots of the whole
page, a second apart, go to the judge with the question, the answer and the item's checklist.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
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
_FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
_LINKS = re.compile(r"""<link[^>]*rel=["'](?:stylesheet|preload)["'][^>]*href=["']((?!https?://).*?)["']""")
_SCRIPTS = re.compile(r"""<script[^>]*src=["']((?!https?://).*?)["']""")
_LINK = re.compile(r"""<link[^>]*href=["'](.*?)["'][^>]*>""")
_SCRIPT = re.compile(r"""<script[^>]*src=["'](.*?)["'][^>]*>""")
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
    """What is rendered of an answer: its first fenced html with the answer's styles and scripts in it, else its last
    <html>, else its last <svg>. None where there is neither <html> nor <svg>."""
    for pattern in (_HTML, _SVG):
        if found := pattern.findall(text):
            return (assembled(text) if pattern is _HTML else None) or str(found[-1])
    return None


def assembled(text: str) -> str | None:
    """The first fenced html of an answer; files that it links to are taken from the answer's fenced css and javascript.

    A fence's file is the one named in the line before it, else the next that the page asks for, as published.
    """
    blocks = [(match.group(1).lower(), match.group(2), text[: match.start()].split("\n")) for match in
              _FENCE.finditer(text)]
    pages = [code for language, code, _ in blocks if language == "html"]
    if not pages:
        return None
    files: dict[str, str] = {}
    kinds = (("css", "css", _LINKS, "styles.css"), ("javascript", "js", _SCRIPTS, "script.js"))
    for kind, suffix, asks, default in kinds:
        asked = asks.findall(pages[-1])
        for language, code, before in blocks:
            if language == kind:
                said = re.findall(rf"([\w\-/]+\.{suffix})", before[-2] if len(before) > 1 else "", re.IGNORECASE)
                name = default if not asked else said[0] if said else asked[0]
                asked = [one for one in asked if one != name]
                files[name] = code
    page = _LINK.sub(lambda match: _inside(match, files, ".css", "style"), pages[0])
    return _SCRIPT.sub(lambda match: _inside(match, files, ".js", "script"), page)


def _inside(match: re.Match[str], files: Mapping[str, str], suffix: str, tag: str) -> str:
    name = match.group(1)
    return f"<{tag}>{files[name]}</{tag}>" if name in files and name.endswith(suffix) else match.group(0)


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
         grader={"version": "1", "measure": "score",
                 "artifact": "first fenced html with its css and js, else last <html>, else last <svg>",
                 "screenshots": f"{browser.SHOTS} of the whole page, {browser.GAP_S:g} s apart", "tries": TRIES,
                 "judge_prompt": "ours, the benchmark's checklist and scale", "answer_characters": LONGEST,
                 "not_rendered": "judged on the text, as published", "solved_from": f"{SOLVED:g} (ours)"},
         notes="Published figures use Gemini 2.5 Pro as judge. Pages get no network here."),
    load, grade, found=browser.identity,
)
