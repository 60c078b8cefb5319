"""The table of the reference card: pass rate and mean generated tokens per benchmark, models against a baseline."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean, quantiles
from typing import Any

from vivace.core.types import Attempt
from vivace.evals import stats, table
from vivace.evals.compare import Item, items, pair, summarise, tokens_of
from vivace.evals.runs import SuiteRun, require_comparable
from vivace.harness.limits import Prices, cost

DEFINITIONS = (
    "tokens (K): thousands of tokens that the model generated per attempt (reasoning, tool calls and text, all turns), "
    "in its own tokenizer, as its engine or endpoint counts them; mean over attempts with a verdict",
    "diff: mean over items of the difference of their pass rates over repeats, model minus baseline, in points, with a "
    "paired 95% t interval (over clusters where a suite's items are clustered)",
    "pass: share of items solved; where the grader names a `measure` (points, F1), the mean of that score instead",
    "p: McNemar's exact test for one repeat without clusters or measure, else a sign-flip permutation test; Holm: "
    "adjusted for all rows of the table",
    "ratio: geometric mean of the items' token ratios, with a bootstrap interval",
    "no verdict: attempts that ended in infra (the machinery failed, after retries) or invalid (the grader's word); "
    "they are left out of every other figure",
    "budget and refused count as failed; judge's and simulator's tokens are apart and in no other column",
    "cost: at the prices given with --price, without judges; – where none were given",
)
HEADER = ["benchmark", "model", "n", "k", "pass", "baseline", "diff [95%]", "p", "Holm", "tok K", "base tok K",
          "ratio [95%]", "no verdict"]
DETAIL = ["benchmark", "model", "pass [95%]", "solved tok", "median", "p90", "tok/solved", "uncached in", "cached in",
          "s/attempt", "cost", "budget", "refused", "other roles"]


def detail(attempts: Sequence[Attempt], prices: Prices | None = None, measure: str = "") -> dict[str, Any]:
    """`summarise`, with tokens read, time and cost. Means are per attempt with a verdict; JSON-ready."""
    row = summarise(attempts, measure)
    graded = [attempt for attempt in attempts if attempt.grade.verdict]
    used = [attempt.trajectory.usage for attempt in graded]
    counts = sorted(tokens_of(attempt) for attempt in graded)
    others: dict[str, int] = {}
    for attempt in attempts:
        for role, usage in attempt.others.items():
            others[role] = others.get(role, 0) + usage.input_tokens + usage.output_tokens
    row |= {
        "repeats": 1 + max((a.sample for a in attempts), default=0),
        "tokens_p90": None if not counts else counts[0] if len(counts) < 2 else quantiles(counts, n=10)[-1],
        "uncached_input_mean": fmean(u.input_tokens - u.cached_tokens for u in used) if used else None,
        "cached_input_mean": fmean(u.cached_tokens for u in used) if used else None,
        "seconds_mean": fmean(a.trajectory.seconds for a in graded) if graded else None,
        "cost": None, "others": others, "scores": _scores(graded), "solved_rate": None,
        **_several(items(attempts).values()),
    }
    if measure and graded:
        row["solved_rate"] = fmean(a.grade.solved for a in graded)
    if prices is not None:
        spent = [a.trajectory.usage for a in attempts]
        row["cost"] = sum(cost(usage, prices) for usage in spent)
    return row


def _several(found: Collection[Item]) -> dict[str, dict[str, float]]:
    """pass@k and pass^k over items with at least k attempts, for k = 2, 4, 8 and so on; empty for one repeat."""
    most = max((item.samples for item in found), default=0)
    draws = [2**power for power in range(1, most.bit_length()) if 2**power <= most]
    both: dict[str, dict[str, float]] = {"pass_at": {}, "pass_all": {}}
    for k in draws:
        counts = [(item.samples, round(item.solved * item.samples)) for item in found if item.samples >= k]
        both["pass_at"][str(k)] = fmean(stats.pass_at(k, n, solved) for n, solved in counts)
        both["pass_all"][str(k)] = fmean(stats.pass_all(k, n, solved) for n, solved in counts)
    return both


def _scores(graded: Sequence[Attempt]) -> dict[str, float]:
    """Mean of every score that graders gave besides the verdict, over the attempts that have it."""
    found: dict[str, list[float]] = {}
    for attempt in graded:
        for name, value in attempt.grade.scores.items():
            found.setdefault(name, []).append(value)
    return {name: fmean(values) for name, values in found.items()}


def difference(base: SuiteRun, run: SuiteRun, clustered: bool) -> dict[str, Any]:
    """`pair`, with the interval and the p that the suite's structure asks for under `interval` and `p`."""
    require_comparable(base, run)
    row = pair(base.model, run.model, base.attempts, run.attempts, run.measure)
    row["interval"] = row["ci95_by_repo"] if clustered else row["ci95"]
    if clustered or run.repeats > 1 or run.measure:
        left, right = (items(side.attempts, run.measure) for side in (base, run))
        shared = [name for name in left if name in right]
        clusters = [left[name].repo for name in shared] if clustered else None
        row["p"] = stats.sign_flip([right[n].value - left[n].value for n in shared], clusters)
    row["unmatched"] = len({a.task_id for a in base.attempts} ^ {a.task_id for a in run.attempts})
    return row


def build(
    columns: Mapping[str, tuple[SuiteRun, Sequence[SuiteRun]]], clustered: Mapping[str, bool],
    prices: Mapping[str, Prices] | None = None, titles: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """All figures. `columns` holds, by suite, the baseline's run and those of the models.

    Raises:
        BadInput: a run is not comparable with its baseline.
    """
    prices, titles = prices or {}, titles or {}
    suites: dict[str, Any] = {}
    compared: list[dict[str, Any]] = []
    for name, (base, runs) in columns.items():
        rows = [difference(base, run, clustered.get(name, False)) for run in runs]
        compared += rows
        suites[name] = {
            "title": titles.get(name, name), "baseline": base.model,
            "identity": {key: value for key, value in base.identity.items() if key != "model"},
            "models": {run.model: _figures(run, prices.get(run.model)) for run in (base, *runs)},
            "differences": {run.model: row for run, row in zip(runs, rows, strict=True)},
        }
    for row, adjusted in zip(compared, stats.holm([row["p"] for row in compared]), strict=True):
        row["p_holm"] = adjusted
    return {"suites": suites, "definitions": list(DEFINITIONS)}


def _figures(run: SuiteRun, prices: Prices | None) -> dict[str, Any]:
    """All of one column: `detail`, where it lies, what it is of, and the figures that only the suite can make."""
    from vivace.evals.suites import MODULES, get_suite

    row = {**detail(run.attempts, prices, run.measure), "folder": str(run.folder),
           "identity": run.identity.get("model")}
    made = get_suite(run.suite).figures if run.suite in MODULES else None
    if made is not None:
        row["scores"] = {**row["scores"], **made([a for a in run.attempts if a.grade.verdict])}
    return row


def rows(result: dict[str, Any]) -> list[list[str]]:
    """The headline, in the columns of HEADER; a baseline alone has a row of its own."""
    lines = []
    for suite in result["suites"].values():
        base = suite["models"][suite["baseline"]]
        if not suite["differences"]:
            lines.append([suite["title"], suite["baseline"], str(base["n"]), str(base["repeats"]),
                          table.percent(base["pass_rate"]), *["–"] * 4, thousands(base["tokens_mean"]), "–", "–",
                          _without(base)])
        for name, row in suite["differences"].items():
            own = suite["models"][name]
            gap = "–" if row["pass_diff"] is None else f"{100 * row['pass_diff']:+.1f}"
            lines.append([
                suite["title"], name, str(row["n"]), str(own["repeats"]), table.percent(own["pass_rate"]),
                table.percent(base["pass_rate"]), f"{gap} {table.interval(row['interval'], 100, sign=True)}",
                table.p_value(row["p"]), table.p_value(row["p_holm"]), thousands(own["tokens_mean"]),
                thousands(base["tokens_mean"]),
                f"{table.number(row['tokens_ratio'], 2)} {table.interval(row['tokens_ratio_ci95'], digits=2)}",
                f"{_without(own)}/{_without(base)}",
            ])
    return lines


def detail_rows(result: dict[str, Any]) -> list[list[str]]:
    """Every model on every suite, in the columns of DETAIL."""
    return [
        [suite["title"], name, f"{table.percent(row['pass_rate'])} {table.interval(row['ci95'], 100)}",
         table.number(row["tokens_solved_mean"]), table.number(row["tokens_median"]), table.number(row["tokens_p90"]),
         table.number(row["tokens_per_solved"]), table.number(row["uncached_input_mean"]),
         table.number(row["cached_input_mean"]), table.number(row["seconds_mean"], 1),
         "–" if row["cost"] is None else f"${row['cost']:.2f}", str(row["statuses"].get("budget", 0)),
         str(row["statuses"].get("refused", 0)), ", ".join(f"{k} {v:,}" for k, v in row["others"].items()) or "–"]
        for suite in result["suites"].values() for name, row in suite["models"].items()
    ]


def markdown(result: dict[str, Any]) -> str:
    """The whole table as a page, with what its words mean and what was run."""
    from vivace.evals.marks import markdown_table

    parts = ["# Evaluation", markdown_table(HEADER, rows(result)), "## In detail",
             markdown_table(DETAIL, detail_rows(result)), "## What the words mean",
             "\n".join(f"- {line}" for line in result["definitions"]), "## What was run"]
    if result.get("command"):
        parts.append(f"`{result['command']}`")
    for name, suite in result["suites"].items():
        facts = [f"- {key}: `{value}`" for key, value in suite["identity"].items() if key != "suite"]
        facts += [f"- model {model}: `{row['identity']}` in `{row['folder']}`" for model, row in
                  suite["models"].items()]
        for word, key in (("pass@k", "pass_at"), ("pass^k", "pass_all")):
            facts += [f"- {word} of {model}: " + ", ".join(f"k={k} {table.percent(p)}" for k, p in row[key].items())
                      for model, row in suite["models"].items() if row.get(key)]
        facts += [f"- scores of {model}: " + ", ".join(f"{key} {value:.3f}" for key, value in row["scores"].items())
                  for model, row in suite["models"].items() if row.get("scores")]
        parts.append("\n".join([f"### {name}", *facts]))
    return "\n\n".join(parts) + "\n"


def thousands(tokens: float | None) -> str:
    return "–" if tokens is None else f"{tokens / 1000:.2f}"


def _without(row: dict[str, Any]) -> str:
    return str(row["attempts"] - sum(n for status, n in row["statuses"].items() if status not in ("infra", "invalid")))
