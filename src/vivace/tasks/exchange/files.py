"""Files of tasks, out and in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from vivace.core.errors import BadInput
from vivace.core.files import atomic_write_text, read_jsonl
from vivace.core.types import Task
from vivace.sandbox import Sandbox
from vivace.tasks.exchange import harbor, swebench, swesmith
from vivace.tasks.families import family_of
from vivace.tasks.layers import Layer, build_layers
from vivace.tasks.registry import write_tasks
from vivace.tasks.sources import Manifest

Form = Literal["swebench", "swebench-tree", "swesmith", "harbor"]


def export_tasks(tasks: Sequence[Task], manifest: Manifest, form: Form, out: Path) -> tuple[int, dict[str, str]]:
    """Write tasks into `out`; how many, and {task: why it was left out}."""
    layers = layers_of(tasks, manifest)
    if form == "swebench":
        return swebench.write_rows(tasks, layers, out)
    made, refused, rows = 0, {}, []
    for task in tasks:
        layer = layers[task.env]
        try:
            if form == "harbor":
                harbor.write(task, layer, manifest.requirements, out)
            elif form == "swesmith":
                rows.append(swesmith.row_of(task, layer))
            else:
                swebench.write_task_tree(swebench.row_of(task, layer), out)
            made += 1
        except BadInput as error:
            refused[task.id] = str(error).removeprefix(f"{task.id}: ")
    if form == "swesmith":
        atomic_write_text(out / "data.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return made, refused


def import_tasks(place: Path, manifest: Manifest, sandbox: Sandbox, out: Path,
                 say: Callable[[str], None] = lambda line: None) -> tuple[int, dict[str, str]]:
    """The tasks of a file of rows (SWE-bench's or SWE-smith's), of `tasks/ID` folders or of Harbor directories, if they
    hold here: no patch fails, the reference passes. How many, and {task: why it was left out}.

    Raises:
        BadInput: nothing of that kind is there.
    """
    layers = build_layers(manifest)
    kept: dict[str, Task] = {}
    refused: dict[str, str] = {}
    for name, read in _found(place, manifest, layers).items():
        try:
            task = read()
            problem = family_of(task).rejection(task, layers[task.env], sandbox)
        except (BadInput, KeyError) as error:
            problem = str(error)
        if problem:
            refused[name] = problem
            say(f"{name}: {problem}")
        else:
            kept[task.id] = task
    write_tasks(out, kept.values())
    return len(kept), refused


def layers_of(tasks: Sequence[Task], manifest: Manifest) -> dict[str, Layer]:
    """The layers of tasks, built or found."""
    return build_layers(manifest, [manifest.by_env(env) for env in sorted({task.env for task in tasks})])


def _found(place: Path, manifest: Manifest, layers: Mapping[str, Layer]) -> dict[str, Callable[[], Task]]:
    """{name: what reads the task}"""
    if place.is_file():
        rows = {str(row.get("instance_id", number)): row for number, row in enumerate(read_jsonl(place), 1)}
    else:
        if directories := sorted(path.parent for path in place.glob("*/task.toml")):
            return {one.name: lambda one=one: harbor.read(one) for one in directories}  # type: ignore[misc]
        folders = sorted(path.parent for path in place.glob("**/task.yaml"))
        rows = {one.name: swebench.read_task_tree(one) for one in folders}
    if not rows:
        raise BadInput(f"no rows, no tasks/ID and no Harbor directories at {place}; give a file or folder of them")
    return {name: lambda row=row: (swebench if "test_patch" in row else swesmith).task_of(  # type: ignore[misc]
        row, manifest, layers) for name, row in rows.items()}  # fmt: skip
