"""ROUGE beside rouge_score, and ArtifactsBench's extraction beside its repository's."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from parity.compare import LEXICON, Pair, changed
from vivace.evals.graders.rouge import rouge
from vivace.evals.suites import artifacts

PAGES = ("<html><body>a</body></html>", "<html lang=\"en\">\n<p>b</p>\n</html>", "<svg width='9'><rect/></svg>",
         "<HTML>c</HTML>", "<html>open", "<svg>d</svg> and <svg>e</svg>", "no page", "<html><svg>f</svg></html>")
FENCES = ("```html\n<html><head><link rel='stylesheet' href='a.css'></head><body><script src=\"b.js\"></script></body>"
          "</html>\n```", "```css\np {}\n```", "In a.css:\n```css\nb {}\n```", "```javascript\nlet x;\n```",
          "`c.js`\n```javascript\nlet y;\n```", "```html\n<html><body>plain</body></html>\n```", "```js\nz\n```")
SCORES = ('{"Overall Score": "85.5"}', '"Overall Score": 40', '"Overall Score":  "7"', '"总体打分": "92"',
          "Overall Score: 12", '"Overall Score": "60-70"', '"Overall Score": 100 of 100', '"overall score": 3')


def scores() -> Iterator[Pair]:
    """Summaries made of few words, so that they overlap; figures to four places."""
    scorer = import_module("rouge_score.rouge_scorer").RougeScorer(["rouge1", "rouge2", "rougeL"])
    draw, few = random.Random(19), [*LEXICON[:12], "don't", "CVE-2024", "naïve", "x_1"]
    for number in range(300):
        wanted = " ".join(draw.choices(few, k=draw.randint(0, 14)))
        said = changed(wanted, draw) if number % 2 and wanted else " ".join(draw.choices(few, k=draw.randint(0, 14)))

        def ours(a: str = wanted, b: str = said) -> str:
            return " ".join(f"{key} {value:.4f}" for key, value in sorted(rouge(a, b).items()))

        def theirs(a: str = wanted, b: str = said) -> str:
            return " ".join(f"{key} {value.fmeasure:.4f}" for key, value in sorted(scorer.score(a, b).items()))

        yield f"rouge | {wanted!r} {said!r}", ours, theirs


def artifact(checkout: Path | None) -> Iterator[Pair]:
    """The last page of an answer, and the last score of a judge."""
    if checkout is None:
        raise ImportError("give a checkout of Tencent-Hunyuan/ArtifactsBenchmark with --artifacts")
    sys.path.insert(0, str(checkout / "src"))
    upstream, whole = import_module("extract_ans"), import_module("code_parser")
    draw = random.Random(23)
    for _ in range(400):
        text = "\n".join(draw.choices((*PAGES, "Some words."), k=draw.randint(1, 4)))

        def block(t: str = text) -> str:
            found = upstream.extract_last_html_or_svg_block(t)
            return str(found["content"]) if found["type"] != "None" else ""

        yield f"artifact | {text!r}", lambda t=text: artifacts.artifact(t) or "", block
        fences = "\n".join(draw.choices((*FENCES, "Some words."), k=draw.randint(1, 5)))

        def page(t: str = fences) -> str:
            try:
                found = str(whole.extract_html(t))
            except Exception:  # noqa: BLE001 - upstream goes on with the last block then
                return block(t)
            return re.sub(r"<(style|script)>/\* \S+ not found in result \*/</\1>\n", "", found)  # a comment of its own

        if "<html" in fences:
            yield f"page | {fences!r}", lambda t=fences: artifacts.artifact(t) or "", page
        reply = "\n".join(draw.choices((*SCORES, "Well."), k=draw.randint(1, 3)))

        def score(t: str = reply) -> str:
            found = upstream.extract_mllm_overall(0, t)
            return "none" if found is None else f"{float(found):g}"

        def mine(t: str = reply) -> str:
            found = artifacts.verdict(t)
            return "none" if found is None else f"{found:g}"

        yield f"score | {reply!r}", mine, score
