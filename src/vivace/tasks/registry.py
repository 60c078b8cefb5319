"""Task rows on disk: JSON lines, one task each, or Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from vivace.core.errors import BadInput
from vivace.core.files import append_jsonl, atomic_write_text, read_jsonl
from vivace.core.types import Task
from vivace.tasks.parquet import read_registry
from vivace.tasks.sources import HELD_OUT


def read_tasks(path: Path, split: Literal["train", "eval"] | None = None) -> list[Task]:
    """The tasks of a file, or of a folder with Parquet files (`vivace.tasks.parquet`), in order.

    Raises:
        BadInput: missing, malformed, an id twice, or a row of another split than asked for. A held-out package in a
            training file is always an error.
    """
    if not path.exists():
        raise BadInput(f"no task rows at {path}; the shipped ones are in recipes/tasks")
    tasks: list[Task] = []
    seen: set[str] = set()
    for number, task in enumerate(read_registry(path) if path.is_dir() else _rows(path), 1):
        if task.id in seen:
            raise BadInput(f"{path}:{number}: task {task.id} is there twice; delete one")
        if split is not None and task.split != split:
            raise BadInput(f"{path}:{number}: {task.id} is of split {task.split!r}, this must be a {split!r} file")
        if task.split == "train" and task.repo.lower() in HELD_OUT:
            raise BadInput(f"{path}:{number}: {task.repo} is held out for evaluation; it cannot be trained on")
        seen.add(task.id)
        tasks.append(task)
    return tasks


def _rows(path: Path) -> Iterator[Task]:
    for number, row in enumerate(read_jsonl(path), 1):
        try:
            yield Task.model_validate(row)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(f"{path}:{number}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def write_tasks(path: Path, tasks: Iterable[Task]) -> None:
    """Write all rows, or none."""
    atomic_write_text(path, "".join(task.model_dump_json() + "\n" for task in tasks))


def append_task(path: Path, task: Task) -> None:
    """Add one row and flush it."""
    append_jsonl(path, task.model_dump(mode="json"))
