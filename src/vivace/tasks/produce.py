"""Making tasks of all families on one bench, in parallel, with a ledger: whatever was decided is not decided again.

A folder holds `tasks.jsonl` (the rows) and `ledger.jsonl` (a line for each candidate that was tried: the task it
became, or why it became none). Both are appended to as results come, in an order that depends on the seed alone, so a
sitting that was interrupted or killed at any point is gone on with by the same call.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenError
from typing import Any

from vivace.core.errors import BadInput, InfraError
from vivace.core.files import append_jsonl, read_json, read_jsonl, write_json
from vivace.core.progress import Progress
from vivace.core.types import Task
from vivace.tasks.admission import Refused
from vivace.tasks.families import PRODUCERS, Bench, Family
from vivace.tasks.make import ordered_map
from vivace.tasks.registry import append_task, read_tasks

TASKS, LEDGER, REPORT = "tasks.jsonl", "ledger.jsonl", "report.json"
UNREADABLE = (BadInput, SyntaxError, ValueError, RecursionError, TokenError)
MOST_INFRA = 5  # failures of the machine in a row, after which a sitting ends


class Ledger:
    """What became of the candidates of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / TASKS
        self.tasks = {task.id: task for task in read_tasks(path)} if path.exists() else {}
        rows = list(read_jsonl(folder / LEDGER)) if (folder / LEDGER).exists() else []
        self.made: dict[str, list[tuple[str, str]]] = {}
        self.refused: dict[str, Counter[str]] = {}
        self.tried: set[tuple[str, str]] = set()
        for row in rows:
            if row.get("task") and row["task"] not in self.tasks:
                continue  # its row was lost: it is made again
            self._note(row["producer"], row["key"], row.get("task", ""), row.get("refused", ""))

    def add(self, producer: str, key: str, result: Task | str) -> None:
        """Keep a result: a task, or the reason why there is none."""
        if isinstance(result, Task) and result.id in self.tasks:
            result = "the same task again"
        if isinstance(result, Task):
            append_task(self.folder / TASKS, result)
            self.tasks[result.id] = result
            append_jsonl(self.folder / LEDGER, {"producer": producer, "key": key, "task": result.id})
            self._note(producer, key, result.id, "")
        else:
            append_jsonl(self.folder / LEDGER, {"producer": producer, "key": key, "refused": result})
            self._note(producer, key, "", result)

    def of(self, producer: str) -> list[tuple[str, Task]]:
        """(candidate key, task) that a producer made, in order."""
        return [(key, self.tasks[name]) for key, name in self.made.get(producer, [])]

    def _note(self, producer: str, key: str, task: str, refused: str) -> None:
        self.tried.add((producer, key))
        if task:
            self.made.setdefault(producer, []).append((key, task))
        else:
            self.refused.setdefault(producer, Counter())[refused] += 1


@dataclass
class Report:
    """What a folder holds, and what the last sittings cost."""

    package: str
    wanted: dict[str, int]
    made: dict[str, int] = field(default_factory=dict)
    tried: dict[str, int] = field(default_factory=dict)
    refused: dict[str, dict[str, int]] = field(default_factory=dict)
    exhausted: list[str] = field(default_factory=list)
    """Producers that ran out of candidates."""
    seconds: float = 0.0
    """Of all sittings, surveys left out."""

    def row(self) -> dict[str, Any]:
        total = sum(self.made.values())
        return {**vars(self), "seconds": round(self.seconds, 1), "total": total,
                "per_minute": round(60 * total / self.seconds, 2) if self.seconds else 0.0}


def wanted_counts(count: int, chosen: Mapping[str, int | None] | None = None) -> dict[str, int]:
    """{producer: tasks wanted}: `count` repair tasks and the share of the others, or only those chosen."""
    names = chosen or dict.fromkeys(PRODUCERS)
    return {name: n if (n := names[name]) is not None else max(1, count * PRODUCERS[name].share // 100)
            for name in PRODUCERS if name in names}


def produce(bench: Bench, wanted: Mapping[str, int], folder: Path, stop: Callable[[], bool] = lambda: False) -> Report:
    """Make tasks until every producer has its number, or runs out of candidates, or `stop` says so.

    Raises:
        InfraError: the machine fails again and again; what was made is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(folder)
    bench.made = ledger.of
    before = read_json(folder / REPORT, "delete it; only times are lost") if (folder / REPORT).exists() else {}
    report = Report(bench.layer.name, dict(wanted), seconds=float(before.get("seconds", 0.0)))
    start = time.monotonic()
    try:
        for name, count in wanted.items():
            if not stop() and len(ledger.of(name)) < count and _fill(bench, name, count, ledger, stop):
                report.exhausted.append(name)
    finally:
        report.seconds += time.monotonic() - start
        report.made = {name: len(rows) for name, rows in ledger.made.items()}
        report.refused = {name: dict(reasons.most_common()) for name, reasons in ledger.refused.items()}
        report.tried = dict(Counter(name for name, _ in ledger.tried))
        write_json(folder / REPORT, report.row())
    return report


def _fill(bench: Bench, name: str, count: int, ledger: Ledger, stop: Callable[[], bool]) -> bool:
    """Make tasks of one producer; whether its candidates ran out."""
    family = PRODUCERS[name]
    made, infra = len(ledger.of(name)), 0
    results = ordered_map(lambda one: (one.key, _one(family, one, bench)), _fresh(family, name, bench, ledger),
                          bench.workers)
    with Progress(f"{name} tasks of {bench.layer.name}", count, done=made) as bar:
        try:
            for key, result in results:
                if isinstance(result, InfraError):
                    infra += 1
                    if infra >= MOST_INFRA:
                        raise result
                    continue
                infra = 0
                ledger.add(name, key, result)
                if len(ledger.of(name)) > made:
                    made += 1
                    bar.advance(1, f"{sum(one == name for one, _ in ledger.tried)} tried")
                if made >= count or stop():
                    return False
        finally:
            results.close()
    return True


def _fresh(family: Family[Any], name: str, bench: Bench, ledger: Ledger) -> Iterator[Any]:
    seen: set[str] = set()
    for candidate in family.candidates(bench):
        if candidate.key not in seen and (name, candidate.key) not in ledger.tried:
            seen.add(candidate.key)
            yield candidate


def _one(family: Family[Any], candidate: Any, bench: Bench) -> Task | str | InfraError:
    try:
        task = family.make(candidate, bench)
        problem = family.rejection(task, bench.layer, bench.sandbox, bench)
    except Refused as refused:
        return str(refused)
    except InfraError as error:
        return error
    except UNREADABLE:  # one odd file must not bar the way to all others
        return "its source cannot be worked on"
    return InfraError(f"{bench.layer.name}: the sandbox failed") if problem == "infra" else problem or task
