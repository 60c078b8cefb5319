"""The status page, made from the code: what there is, whether gold scores 1 and wrong 0, and what was run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vivace.core.errors import BadInput, InfraError
from vivace.core.types import Grade
from vivace.evals.marks import markdown_table
from vivace.evals.rulejudge import rule_judge
from vivace.evals.runs import read_run
from vivace.evals.suites import MODULES, get_suite
from vivace.evals.suites.base import Bench, Case, Suite
from vivace.sandbox import open_sandbox
from vivace.tasks.grade import grade as grade_task
from vivace.tasks.layers import build_layers
from vivace.tasks.sources import load_manifest

HEADER = ["suite", "real items", "source", "licence", "gate", "needs", "repeats", "grader", "gold", "wrong", "real set"]
_SHIPPED = Path(__file__).parents[3] / "recipes" / "tasks" / "eval.jsonl"

_SHARED = {"ifbench-mended": "ifbench", "terminal-bench-2.0": "terminal-bench", "terminal-bench-2.1": "terminal-bench"}
"""Suites whose authored items are another's."""


@dataclass(frozen=True)
class Check:
    """Mean score of the gold and of the wrong answers to the authored items; `problem` where it could not be had."""

    gold: float | None = None
    wrong: float | None = None
    items: int = 0
    problem: str = ""


def shipped(name: str) -> Path:
    """The data that come with Vivace: of vivace-bench all, of the others a few authored items in the exact format."""
    if name == "vivace-bench":
        if not _SHIPPED.exists():
            raise BadInput("its tasks are in recipes/tasks of a checkout; give --data vivace-bench=PATH")
        return _SHIPPED
    folder = Path(__file__).parent / "suites" / "samples" / _SHARED.get(name, name)
    return next(path for path in sorted(folder.iterdir()) if path.stem == "data")


def answers(name: str) -> dict[str, dict[str, str]]:
    """Gold and wrong answer of every authored item."""
    held: dict[str, dict[str, str]] = json.loads((shipped(name).parent / "answers.json").read_text())
    return held


def check(suite: Suite) -> Check:
    """Grade the authored answers as those of a model are graded."""
    try:
        if suite.check is not None:
            gold, wrong = suite.check(shipped(suite.info.name))
        elif suite.grade is not None:
            gold, wrong = _graded(suite, suite.grade)
        else:
            gold, wrong = _check_tasks(suite)
        return Check(sum(gold) / len(gold), sum(wrong) / len(wrong), len(gold))
    except (BadInput, InfraError) as error:
        return Check(problem=str(error))


def _graded(suite: Suite, grade: Callable[[Case, str, Bench], Grade]) -> tuple[list[float], list[float]]:
    written, judge = answers(suite.info.name), rule_judge()
    cases = suite.load(shipped(suite.info.name))
    gold, wrong = ([float(grade(case, written[case.id][kind], Bench({"judge": judge})).solved) for case in cases]
                   for kind in ("gold", "wrong"))
    return gold, wrong


def page(runs: Path | None = None) -> str:
    """The status page as Markdown; `runs` is a folder in which evaluations on real data are looked for."""
    real = _real(runs) if runs and runs.exists() else {}
    lines, notes = [], []
    for name in MODULES:
        suite = get_suite(name)
        info, found = suite.info, check(suite)
        needs = ", ".join([*info.roles, *([info.engine] if info.engine else [])]) or "–"
        lines.append([f"`{name}`", info.items, info.source, info.licence, info.gate or "–", needs, str(info.repeats),
                      str(info.grader["version"]), _score(found.gold, found), _score(found.wrong, found),
                      real.get(name, "not run on the real set")])
        notes.append(f"- **{info.title}**: {info.metric}. Grader: "
                     + ", ".join(f"{key} {value}" for key, value in info.grader.items() if key != "version")
                     + (f". {info.notes}" if info.notes else ".")
                     + (f" Not checked: {found.problem}" if found.problem else ""))
    return "\n".join([
        "# Benchmarks", "", "Made by `vivace eval --status`: every suite there is, with the score of authored gold and "
        "wrong answers (by the same grader that models meet; judges are replaced by rules here).", "",
        markdown_table(HEADER, lines), "", *notes, ""])


def _score(score: float | None, found: Check) -> str:
    return "not checked here" if score is None else f"{score:g} (n={found.items})"


def _check_tasks(suite: Suite) -> tuple[list[float], list[float]]:
    """The reference fix of one task, and no fix, through `tasks.grade`."""
    task = suite.load(shipped(suite.info.name))[0]
    manifest, sandbox = load_manifest(task.manifest), open_sandbox()
    layer = build_layers(manifest, [manifest.by_env(task.env)])[task.env]
    gold, wrong = (grade_task(task, layer, patch, sandbox) for patch in (task.gold_patch, ""))
    for verdict in (gold, wrong):
        if not verdict.verdict:
            raise InfraError(verdict.detail)
    return [float(gold.solved)], [float(wrong.solved)]


def _real(runs: Path) -> dict[str, str]:
    try:
        found = read_run(runs)
    except BadInput:
        return {}
    return {run.suite: f"{len({a.task_id for a in run.attempts})} items by {run.model}" for run in found
            if run.identity.get("data", {}).get("source") != "sample"}
