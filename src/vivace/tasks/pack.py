"""`vivace tasks pack`: folders of made tasks in, a registry out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.files import digest, sha256_file, write_json
from vivace.core.types import Task
from vivace.tasks.cover import known_survey
from vivace.tasks.curate import Caps, Grams, borrowed_from, curate, statistics
from vivace.tasks.layers import build_layers
from vivace.tasks.parquet import write_registry
from vivace.tasks.produce import TASKS
from vivace.tasks.registry import read_tasks
from vivace.tasks.sources import Manifest

REPORT = "registry.json"


def pack(given: Sequence[Path], out: Path, manifest: Manifest, *, against: Sequence[Path] = (),
         valid: Sequence[str] = (), caps: Caps | None = None,
         say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Curate the tasks of files and folders and write `train`, `valid` and `registry.json`, which it returns.

    Args:
        against: benchmark rows that nothing may be shared with.
    Raises:
        BadInput: no tasks there, or of packages that the manifest does not have.
    """
    files = [file for place in given for file in _files(place)]
    if not files:
        raise BadInput(f"no task rows in {', '.join(map(str, given))}; give what `make` or `farm` wrote")
    tasks: dict[str, Task] = {task.id: task for file in files for task in read_tasks(file)}
    envs = sorted({task.env for task in tasks.values()})
    layers = build_layers(manifest, [manifest.by_env(env) for env in envs])
    held_out = list(build_layers(manifest, manifest.role("eval")).values())
    found = curate(tasks.values(), caps, valid=valid, grams=Grams.of_files(against),
                   borrowed=borrowed_from(layers, held_out))
    surveys = {env: known for env, layer in layers.items() if (known := known_survey(layer)) is not None}
    tests = {env: sorted(known.green) for env, known in surveys.items()}  # others as tasks name them
    report: dict[str, Any] = {"given": len(tasks), **statistics(found), "bytes_per_task": {}, "digest": {}}
    for part, rows in found.parts.items():
        size = write_registry(out / part, rows, tests)
        report["bytes_per_task"][part] = round(size / max(len(rows), 1))
        report["digest"][part] = digest({file.name: sha256_file(file) for file in sorted((out / part).iterdir())}, 64)
        say(f"{part}: {len(rows)} tasks, {size / 1e6:.2f} MB, {size / max(len(rows), 1):.0f} bytes a task")
    write_json(out / REPORT, report)
    return report


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    return sorted(path for path in (place / TASKS, *place.glob(f"*/{TASKS}")) if path.exists())
