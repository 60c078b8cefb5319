"""A page with some tasks of every kind, self-contained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from markupsafe import Markup

from vivace.core.types import Task
from vivace.evals.pages import templates
from vivace.evals.report import diff_lines
from vivace.tasks.overview import overview


def render_gallery(tasks: Sequence[Task], name: str, limit: int) -> str:
    """Counts and the first `limit` tasks of each family and stage, packages in turn; the page as text."""
    kinds: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        kinds[f"{task.family}/{task.stage}"].append(task)
    environment = templates(escape=True, diff_lines=diff_lines)
    return environment.get_template("gallery.html.j2").render(
        name=name, tables=overview(tasks), css=Markup(environment.get_template("report.css.j2").render()),
        groups={kind: _in_turn(rows)[:limit] for kind, rows in sorted(kinds.items())},
    )  # fmt: skip


def _in_turn(tasks: Sequence[Task]) -> list[Task]:
    """One of each package, then the second of each, and so on."""
    seen: dict[str, int] = defaultdict(int)
    ranked = []
    for number, task in enumerate(tasks):
        ranked.append((seen[task.repo], number, task))
        seen[task.repo] += 1
    return [task for _, _, task in sorted(ranked, key=lambda row: row[:2])]
