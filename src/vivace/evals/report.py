"""report.html: one self-contained page about a run, from its metrics, its summary and its attempts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from markupsafe import Markup

from vivace.core.types import Attempt, Segment, Task
from vivace.evals import table
from vivace.evals.charts import Line, Whisker, line_chart, short, whisker_chart
from vivace.evals.pages import templates

RL_CHARTS: tuple[tuple[str, str], ...] = (
    ("pass_rate", "pass rate of the rollouts"), ("reward", "mean reward"),
    ("tokens_mean", "generated tokens per rollout"), ("tokens_per_solved", "tokens per solved task"),
    ("entropy", "entropy (nats per token)"), ("kl_mismatch", "sampler–trainer mismatch (nats)"),
)
LOGPROB_STEPS = (-0.05, -0.4, -1.2, -2.5)  # probability above 95%, 67%, 30%, 8%, below
PLUMBING = frozenset({"time", "step", "tokens", "seconds", "elapsed"})


@dataclass(frozen=True)
class Example:
    """An attempt worth showing, with the stage that made it and the task it was at."""

    title: str
    stage: str
    attempt: Attempt
    task: Task | None


@dataclass
class Report:
    """What the page is made from. `show` writes one token id for people (special tokens spelt out)."""

    name: str
    summary: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    stages: Mapping[str, Sequence[Attempt]] = field(default_factory=dict)
    tasks: Mapping[str, Task] = field(default_factory=dict)
    show: Callable[[int], str] = str
    notes: Sequence[str] = ()


def render_report(report: Report) -> str:
    """The page as text; nothing in it is fetched from anywhere."""
    environment = templates(escape=True, percent=table.percent, number=table.number, short=short)
    examples = pick_examples(report)
    shown = next((e for e in examples if e.attempt.trajectory.segments), None)
    return environment.get_template("report.html.j2").render(
        report=report, summary=report.summary, tiles=_tiles(report), notes=report.notes,
        css=Markup(environment.get_template("report.css.j2").render()),
        stage_header=table.STAGE_HEADER, stage_rows=table.stage_rows(dict(report.summary)),
        pair_header=table.PAIR_HEADER, pair_rows=table.pair_rows(dict(report.summary)), tokens_note=table.TOKENS_NOTE,
        overview=_overview(report.summary), curves=curves(report.metrics),
        examples=[
            (one, diff_lines(one.attempt.trajectory.patch), diff_lines(one.task.gold_patch if one.task else ""))
            for one in examples
        ],
        solved_none=not any(one.attempt.grade.solved for one in examples),
        shown=shown, tokens=token_spans(shown.attempt.trajectory.segments, report.show) if shown else [],
    )


def curves(metrics: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Markup]]]:
    """Per stage, in order of first appearance: its charts. RL rows are those with a `reward`."""
    by_stage: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in metrics:
        by_stage[str(row.get("stage", "run"))].append(row)
    result = []
    for stage, rows in by_stage.items():
        if any("reward" in row for row in rows):
            charts = [line_chart(title, [_line(key, rows)], zero=key == "tokens_mean") for key, title in RL_CHARTS]
        else:
            charts = [line_chart("training loss (nats per token)", [_line("loss", rows)])]
            charts += [line_chart(key.replace("_", " "), [_line(key, rows)]) for key in _evaluated(rows)]
        charts = [chart for chart in charts if chart]
        if charts:
            result.append((stage, charts))
    return result


def pick_examples(report: Report) -> list[Example]:
    """Up to three solved tasks of different repositories, then up to three failed ones.

    Failed ones are of the last stage, solved ones of the last stage that solved any.
    """
    if not report.stages:
        return []
    last = list(report.stages)[-1]
    solving = [stage for stage, attempts in report.stages.items() if any(a.grade.solved for a in attempts)]
    examples = []
    for title, solved, stage in (("solved", True, [last, *solving][-1]), ("failed", False, last)):
        wanted = [a for a in report.stages[stage] if a.grade.solved == solved and a.grade.status != "infra"]
        wanted.sort(key=lambda a: (not a.trajectory.patch, abs(a.trajectory.turns - 4)))
        for attempt in _one_a_repo(wanted)[:3]:
            task = report.tasks.get(attempt.task_id)
            examples.append(Example(f"{title}: {attempt.task_id} ({stage})", stage, attempt, task))
    return examples


def diff_lines(patch: str) -> list[tuple[str, str]]:
    """(kind, line) of a unified diff; kind is add, del, hunk, file or same."""
    found = []
    for line in patch.splitlines():
        if line.startswith(("+++", "---", "diff ", "index ")):
            kind = "file"
        elif line.startswith("@@"):
            kind = "hunk"
        else:
            kind = {"+": "add", "-": "del"}.get(line[:1], "same")
        found.append((kind, line))
    return found


def token_spans(segments: Sequence[Segment], show: Callable[[int], str]) -> list[list[tuple[str, str, str]]]:
    """Per segment, (class, text, tooltip) of each token: `given`, or `p0` (sure) to `p4` (surprised)."""
    spans = []
    for segment in segments:
        row = []
        columns = zip(segment.ids, segment.mask, segment.logprobs, strict=True)
        for position, (token, mask, logprob) in enumerate(columns):
            kind, tip = "given", f"#{position} id {token}, not sampled: no loss"
            if mask:
                kind = f"p{sum(logprob < edge for edge in LOGPROB_STEPS)}"
                tip = f"#{position} id {token}, sampled with p = {math.exp(logprob):.3f} (logprob {logprob:.3f})"
            row.append((kind, show(token), tip))
        spans.append(row)
    return spans


def _tiles(report: Report) -> list[tuple[str, str, str]]:
    """(value, label, detail) of the few numbers that matter most."""
    rows: Mapping[str, Any] = report.summary["eval"]
    if not rows:
        return []
    name, last = list(rows.items())[-1]
    tiles = [
        (table.percent(last["pass_rate"]), f"pass rate after {name}",
         f"95% CI {table.interval(last['ci95'], 100)}, n = {last['n']}"),
        (table.number(last["tokens_per_solved"]), "tokens per solved task",
         f"{table.number(last['tokens_mean'])} per attempt"),
    ]
    first_name, first = next(iter(rows.items()))
    if first_name != name:
        tiles.append((table.percent(first["pass_rate"]), f"pass rate after {first_name}",
                      f"{table.number(first['tokens_mean'])} tokens per attempt"))
    if report.summary["baseline"]:
        base = report.summary["baseline"]
        tiles.append((table.percent(base["pass_rate"]), "brute-force repair",
                      f"{table.number(base['test_runs_mean'], 1)} test runs per task"))
    return tiles


def _overview(summary: Mapping[str, Any]) -> list[Markup]:
    """Pass rates by stage, and paired differences against zero."""
    rows = dict(summary["eval"])
    if summary["baseline"]:
        rows["brute force"] = summary["baseline"]
    last = list(summary["eval"])[-1:] or [""]
    rates = [
        Whisker(name, row["pass_rate"], row["ci95"][0], row["ci95"][1], strong=name == last[0],
                note="no tokens" if row["tokens_mean"] is None else f"{table.number(row['tokens_mean'])} tokens")
        for name, row in rows.items() if row["pass_rate"] is not None
    ]
    pairs = [
        Whisker(f"{p['b']} − {p['a']}", p["pass_diff"], p["ci95"][0], p["ci95"][1],
                strong=p["ci95"][0] * p["ci95"][1] > 0, note=f"tokens ×{table.number(p['tokens_ratio'], 2)}")
        for p in summary["paired"] if p["pass_diff"] is not None and None not in p["ci95"]
    ]
    charts = [whisker_chart("Pass rate on held-out packages, 95% interval", rates, unit=lambda v: f"{100 * v:.0f}%"),
              whisker_chart("Paired difference of pass rate", pairs, unit=lambda v: f"{100 * v:+.0f} pt", mark=0.0)]
    return [chart for chart in charts if chart]


def _line(key: str, rows: Sequence[Mapping[str, Any]]) -> Line:
    pairs = [(row.get("step"), row.get(key)) for row in rows]
    points = sorted((float(x), float(y)) for x, y in pairs if _number(x) and _number(y))
    return Line(key, [x for x, _ in points], [y for _, y in points])


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def _evaluated(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Numbers logged on rows without a training loss: what was measured on held-out data now and then."""
    keys = [key for row in rows if "loss" not in row and "step" in row for key, value in row.items()
            if isinstance(value, int | float) and key not in PLUMBING]
    return list(dict.fromkeys(keys))


def _one_a_repo(attempts: Sequence[Attempt]) -> list[Attempt]:
    """The same attempts, with the first of each repository moved to the front."""
    seen: set[str] = set()
    first = [a for a in attempts if not (a.repo in seen or seen.add(a.repo))]  # type: ignore[func-returns-value]
    return [*first, *(a for a in attempts if a not in first)]
