"""CyberBench (JPMorgan Chase, 2024): entities, summaries, choices and labels in the language of security.

Ten data sets in the one file that its `src/data.py` writes. Answers are compared as published: word for word after
stripping, entities as the sets of a JSON object, summaries by ROUGE.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.types import Attempt, Grade
from vivace.evals.graders.rouge import f_measure, rouge
from vivace.evals.suites.base import Bench, Case, Info, Suite
from vivace.evals.suites.questions import user
from vivace.evals.suites.rows import need, rows

SHOTS, SPLIT, SEED = 5, "test", 20260101
ENTITIES, SUMMARIES = ("cyner", "aptner"), ("cynews",)
POSITIVE = {"web": "phishing", "email": "phishing", "http": "anomalous"}
"""Data sets with two labels, and the one whose F1 is published."""
EXACT = ("mitre", "cve", "secmmlu", "cyquiz")
SETS = (*ENTITIES, *SUMMARIES, *EXACT, *POSITIVE)


def load(path: Path) -> list[Case]:
    """Columns task, dataset, instruction, input, output, split; the test rows are asked, with examples of train."""
    held = rows(path)
    for row in held:
        need(row, "dataset", "instruction", "input", "output", "split")
        if row["dataset"] not in SETS:
            raise BadInput(f"{path}: no data set {row['dataset']!r} is in CyberBench; they are {', '.join(SETS)}")
    examples = {name: [row for row in held if row["dataset"] == name and row["split"] == "train"] for name in SETS}
    cases: dict[str, Case] = {}
    for row in held:
        if row["split"] == SPLIT:
            name = hashlib.sha256(json.dumps([row["dataset"], row["input"], row["output"]]).encode()).hexdigest()[:16]
            while name in cases:
                name += "+"
            cases[name] = Case(id=f"cyberbench/{row['dataset']}-{name}", cluster=row["dataset"],
                               messages=user(_prompt(row, _drawn(name, examples[row["dataset"]]))),
                               target={"dataset": row["dataset"], "output": row["output"].strip()})
    if not cases:
        raise BadInput(f"{path} has no rows of split {SPLIT}; give data/cyberbench.csv as its src/data.py writes it")
    return list(cases.values())


def grade(case: Case, text: str, bench: Bench) -> Grade:
    """`score` is the item's own figure; F1 over a whole data set comes from the counts, in `figures`."""
    name, wanted, said = case.target["dataset"], case.target["output"], text.strip()
    if name in ENTITIES:
        return _entities(json.loads(wanted), said)
    if name in SUMMARIES:
        scores = rouge(wanted, said)
        return Grade(status="solved" if said == wanted else "failed", scores={**scores, "score": scores["rougeL"]})
    scores = {"score": float(said == wanted)}
    if name in POSITIVE:
        really, claimed = wanted == POSITIVE[name], said == POSITIVE[name]
        scores |= {"hits": float(really and claimed), "wanted": float(really), "found": float(claimed)}
    return Grade(status="solved" if said == wanted else "failed", scores=scores, detail=f"said {said[:60]!r}")


def figures(attempts: Sequence[Attempt]) -> dict[str, float]:
    """The published figure of each data set (ROUGE: the mean of its three), and `cyberbench`, the mean of these."""
    found: dict[str, float] = {}
    for name in SETS:
        grades = [attempt.grade.scores for attempt in attempts if attempt.repo == name]
        if not grades:
            continue
        if name in SUMMARIES:
            parts = {key: fmean(one[key] for one in grades) for key in ("rouge1", "rouge2", "rougeL")}
            found |= {f"{name} {key}": value for key, value in parts.items()} | {name: fmean(parts.values())}
        elif name in EXACT:
            found[f"{name}"] = fmean(one["score"] for one in grades)
        else:
            hits, wanted, claimed = (sum(one[key] for one in grades) for key in ("hits", "wanted", "found"))
            found[name] = f_measure(hits, int(wanted), int(claimed))
    return {**found, "cyberbench": fmean(found[name] for name in SETS if name in found)} if found else {}


def _entities(wanted: Mapping[str, Sequence[str]], said: str) -> Grade:
    found = _object(said)
    pairs = [(set(wanted.get(key, ())), set((found or {}).get(key, ()))) for key in {*wanted, *(found or {})}]
    hits, asked, claimed = (sum(map(len, side)) for side in (
        [a & b for a, b in pairs], [a for a, _ in pairs], [b for _, b in pairs]))
    score = f_measure(hits, asked, claimed) if asked + claimed else 1.0
    return Grade(status="solved" if score == 1 and found is not None else "failed", scores={
        "score": score if found is not None else 0.0, "hits": float(hits), "wanted": float(asked),
        "found": float(claimed)}, detail="" if found is not None else "not a JSON object of lists")


def _object(text: str) -> dict[str, list[str]] | None:
    """A JSON object of lists of strings, and nothing around it; anything else counts as no entities, as published."""
    try:
        held: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    good = isinstance(held, dict) and all(
        isinstance(value, list) and all(isinstance(one, str) for one in value) for value in held.values())
    return held if good else None


def _prompt(row: Mapping[str, str], shots: Sequence[Mapping[str, str]]) -> str:
    examples = [f"Input: {one['input']}\nOutput: {one['output']}" for one in shots]
    parts = [f"Instruction: {row['instruction']}", *examples, f"Input: {row['input']}\nOutput: "]
    return "\n\n".join(parts)


def _drawn(name: str, examples: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    return random.Random(f"{SEED}/{name}").sample(list(examples), min(SHOTS, len(examples)))


SUITE = Suite(
    Info(name="cyberbench", title="CyberBench", items="the test rows of ten data sets", licence="code Apache-2.0; each "
         "data set its own", source="jpmorganchase/CyberBench (data/cyberbench.csv, written by its src/data.py)",
         gate="its script fetches ten data sets from ten places, each under terms of its own",
         metric="per data set: accuracy, F1 or ROUGE; `cyberbench` is their mean", max_tokens=512, clustered=True,
         grader={"version": "1", "measure": "score", "item": "exact after strip, F1 of entities, ROUGE-L",
                 "shots": f"{SHOTS} of split train, drawn by the item, seed {SEED}",
                 "figures": "F1 of entities and of the positive label over a data set; ROUGE without stemming"},
         notes="Published figures use 5 examples drawn at random or by similarity, and a bare completion prompt. Not "
               "Cybench (capture-the-flag tasks)."),
    load, grade, figures=figures,
)
