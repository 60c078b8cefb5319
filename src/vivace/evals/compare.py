"""Stages side by side: pass rate and tokens with intervals, and paired differences on the same tasks.

Tokens are generated tokens (everything the policy sampled), averaged over attempts with a verdict. Attempts
that ended in `infra` have no verdict: they are left out and counted.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.types import Attempt
from vivace.evals import stats

SAME_IN_ALL = ("tools", "prompt")  # trajectory hashes that must agree before two runs may be compared


@dataclass(frozen=True)
class Item:
    """One task's verdicts: share solved, mean generated tokens and mean value over its samples.

    The value is 1 or 0 as solved or not, or the score that a benchmark measures by."""

    task_id: str
    repo: str
    samples: int
    solved: float
    tokens: float
    value: float


def items(attempts: Sequence[Attempt], measure: str = "") -> dict[str, Item]:
    """Per task, over attempts with a verdict, in the order of first appearance.

    `measure`: the score that is the benchmark's own figure; "": whether it is solved."""
    groups: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        if attempt.grade.verdict:
            groups[attempt.task_id].append(attempt)
    return {
        task_id: Item(task_id, group[0].repo, len(group), fmean(a.grade.solved for a in group),
                      fmean(tokens_of(a) for a in group), fmean(_value(a, measure) for a in group))
        for task_id, group in groups.items()
    }


def _value(attempt: Attempt, measure: str) -> float:
    return attempt.grade.scores.get(measure, 0.0) if measure else float(attempt.grade.solved)


def tokens_of(attempt: Attempt) -> int:
    """Generated tokens of one attempt."""
    return attempt.trajectory.usage.output_tokens


def summarise(attempts: Sequence[Attempt], measure: str = "") -> dict[str, Any]:
    """One stage's row: `n` tasks, pass rate with its interval, tokens, and how attempts ended. JSON-ready."""
    found = list(items(attempts, measure).values())
    graded = [a for a in attempts if a.grade.verdict]
    used, solved = sum(tokens_of(a) for a in graded), sum(a.grade.solved for a in graded)
    rate = pass_interval(found)
    tokens = stats.mean_interval([item.tokens for item in found])
    per_solved = stats.bootstrap_ratio([i.tokens for i in found], [i.solved for i in found])
    row: dict[str, Any] = {
        "n": len(found), "pass_rate": rate.value, "ci95": rate.ci95,
        "tokens_mean": used / len(graded) if graded else None, "tokens_ci95": tokens.ci95,
        "tokens_per_solved": used / solved if solved else None, "tokens_per_solved_ci95": per_solved.ci95,
        "tokens_median": median([tokens_of(a) for a in graded]) if graded else None,
        "tokens_solved_mean": fmean(tokens_of(a) for a in graded if a.grade.solved) if solved else None,
        "turns_mean": fmean(a.trajectory.turns for a in graded) if graded else None,
        "test_runs_mean": fmean(a.trajectory.test_runs for a in graded) if graded else None,
        "attempts": len(attempts), "infra": len(attempts) - len(graded),
        "suspect": sum(a.grade.solved and bool(a.grade.scores.get("tamper")) for a in graded),
        "statuses": dict(Counter(a.grade.status for a in attempts)),
        "stops": dict(Counter(a.trajectory.stop_reason for a in graded)),
        "by_repo": by_repo(found),
    }
    return _finite(row)


def by_kind(results: Mapping[str, Sequence[Attempt]], kinds: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """{kind of task: {model: n, pass rate, its interval}}; `kinds` says what each task id is."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for kind in dict.fromkeys(kinds.values()):
        for name, attempts in results.items():
            own = list(items([a for a in attempts if kinds[a.task_id] == kind]).values())
            rate = pass_interval(own)
            found[kind][name] = _finite({"n": len(own), "pass_rate": rate.value, "ci95": rate.ci95})
    return dict(found)


def pass_interval(found: Sequence[Item]) -> stats.Interval:
    """Wilson for one verdict a task, a bootstrap over tasks otherwise (samples of a task are not independent)."""
    if all(item.samples == 1 and item.value in (0.0, 1.0) for item in found):
        return stats.wilson(round(sum(item.value for item in found)), len(found))
    return stats.bootstrap_ratio([item.value for item in found], [1.0] * len(found))


def by_repo(found: Sequence[Item]) -> dict[str, dict[str, float]]:
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in found:
        groups[item.repo].append(item)
    return {
        repo: {
            "n": len(group), "pass_rate": fmean(item.solved for item in group),
            "tokens_mean": fmean(item.tokens for item in group),
        }
        for repo, group in sorted(groups.items())
    }


def pair(a: str, b: str, attempts_a: Sequence[Attempt], attempts_b: Sequence[Attempt],
         measure: str = "") -> dict[str, Any]:
    """b minus a on the tasks both have verdicts for; `tokens_ratio` is the geometric mean of b / a.

    `ci95` treats tasks as independent; `ci95_by_repo` only repositories, so it is wider, and honest about how
    far the result carries to other packages. Runs with another prompt or tool set are refused.
    """
    require_alike(a, b, attempts_a, attempts_b)
    left, right = items(attempts_a, measure), items(attempts_b, measure)
    shared = [task_id for task_id in left if task_id in right]
    solved_a, solved_b = ([side[t].value for t in shared] for side in (left, right))
    tokens_a, tokens_b = ([side[t].tokens for t in shared] for side in (left, right))
    repos = [left[t].repo for t in shared]
    difference = stats.paired_difference(solved_a, solved_b)
    ratio = stats.token_ratio(tokens_a, tokens_b)
    both = [t for t in shared if left[t].solved > 0 and right[t].solved > 0]
    matched = stats.token_ratio([left[t].tokens for t in both], [right[t].tokens for t in both])
    only_a = sum(x > y for x, y in zip(solved_a, solved_b, strict=True))
    only_b = sum(x < y for x, y in zip(solved_a, solved_b, strict=True))
    return _finite({
        "a": a, "b": b, "n": len(shared), "pass_diff": difference.value, "ci95": difference.ci95,
        "ci95_by_repo": stats.paired_difference(solved_a, solved_b, repos).ci95,
        "p": stats.mcnemar(only_a, only_b), "better_a": only_a, "better_b": only_b,
        "tokens_ratio": ratio.value, "tokens_ratio_ci95": ratio.ci95,
        "both_solved": len(both), "tokens_ratio_both_solved": matched.value,
        "tokens_ratio_both_solved_ci95": matched.ci95,
    })


def require_alike(a: str, b: str, attempts_a: Sequence[Attempt], attempts_b: Sequence[Attempt]) -> None:
    """BadInput when the two were not run with the same prompt and tools."""
    for key in SAME_IN_ALL:
        values = [
            {attempt.trajectory.hashes[key] for attempt in side if key in attempt.trajectory.hashes}
            for side in (attempts_a, attempts_b)
        ]
        if all(values) and values[0] != values[1]:
            raise BadInput(f"{a} and {b} ran with different {key} ({', '.join(sorted(values[0] ^ values[1]))}); "
                           "evaluate both with the same version before comparing them")


def compare(stages: Mapping[str, Sequence[Attempt]], baseline: Sequence[Attempt] | None = None) -> dict[str, Any]:
    """The `eval`, `paired` and `baseline` parts of summary.json.

    Pairs are each stage with the next one, then the first with the last. The baseline is also paired with the
    last stage, under `baseline["paired"]`; it samples no tokens, so its token figures are null.
    """
    names = list(stages)
    pairs = list(pairwise(names))
    if len(names) > 2:
        pairs.append((names[0], names[-1]))
    result: dict[str, Any] = {
        "eval": {name: summarise(attempts) for name, attempts in stages.items()},
        "paired": [pair(a, b, stages[a], stages[b]) for a, b in pairs],
        "baseline": {},
    }
    if baseline:
        row = summarise(baseline)
        for key in [key for key in row if key.startswith("tokens")]:
            row[key] = None
        if names:
            against = pair("baseline", names[-1], baseline, stages[names[-1]])
            row["paired"] = {k: v for k, v in against.items() if not k.startswith("tokens")}
        result["baseline"] = row
    return result


def _finite(value: Any) -> Any:
    """Infinite and undefined numbers become null: JSON has no words for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return value
