"""Task rows for people: counts, and one task in full."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from vivace.core.types import Task

Tables = dict[str, list[tuple[str, ...]]]
MOST_ROWS = 60


def overview(tasks: Sequence[Task]) -> Tables:
    """{title: rows, the first of them the head}: by family, package and operator."""
    kinds: dict[tuple[str, str], list[Task]] = defaultdict(list)
    for task in tasks:
        kinds[task.family, task.stage].append(task)
    head = ("family", "stage", "tasks", "fail to pass", "lines changed", "bytes a row")
    by_family = [(family, stage, str(len(rows)), f"{median(len(t.FAIL_TO_PASS) for t in rows):g}",
                  f"{median(changed_lines(t.gold_patch) for t in rows):g}",
                  f"{sum(len(t.model_dump_json()) for t in rows) // len(rows):,}")
                 for (family, stage), rows in sorted(kinds.items())]
    packages = Counter((task.repo, task.split, task.licence) for task in tasks)
    operators = Counter(name for task in tasks for name in task.provenance.get("operators", []))
    return {
        f"{len(tasks)} tasks": [head, *by_family],
        f"{len(packages)} packages": [("package", "split", "licence", "tasks"),
                                      *((*key, str(n)) for key, n in packages.most_common(MOST_ROWS))],
        f"{len(operators)} operators": [("operator", "bugs"), *((key, str(n)) for key, n in
                                                                operators.most_common(MOST_ROWS))],
    }  # fmt: skip


def described(task: Task) -> str:
    """A task with its statement, what decides, and its diffs."""
    parts = [f"{task.id}\n{task.family}/{task.stage}, {task.repo} ({task.licence}), {task.env}",
             f"## Statement\n{task.problem_statement}"]
    if task.FAIL_TO_PASS or task.PASS_TO_PASS:
        parts.append("## Tests\n" + "\n".join([*(f"must pass again: {one}" for one in task.FAIL_TO_PASS),
                                               *(f"must stay green: {one}" for one in task.PASS_TO_PASS)]))
    parts += [f"## Check\n{_mapping(task.check.items())}"] if task.check else []
    parts += [f"## Bug\n{task.bug_patch.rstrip()}"] if task.bug_patch else []
    parts += [f"## Reference\n{task.gold_patch.rstrip()}"] if task.gold_patch else []
    parts.append("## Provenance\n" + _mapping([*task.provenance.items(), *task.difficulty.items()]))
    return "\n\n".join(parts)


def changed_lines(patch: str) -> int:
    """Lines that a patch adds or takes away."""
    return sum(line[:1] in "+-" and line[:3] not in ("+++", "---") for line in patch.split("\n") if line)


def _mapping(items: Iterable[tuple[str, object]]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in items)
