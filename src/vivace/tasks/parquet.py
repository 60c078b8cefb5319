"""Task rows as Parquet: what all tasks of a layer share is written once, tests are numbers, PASS_TO_PASS is a bitset.

A registry is a folder with `layers.parquet` (a row a layer) and `tasks-*.parquet` (a row a task); `SCHEMAS` is the
exact form, told in docs/tasks.md. Bit n of a bitset is bit n % 8 of byte n // 8, test n of the layer; zero bytes at the
end are left out. Rows come back as they were, but for the order of PASS_TO_PASS, which is that of the layer's tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.files import atomic_file
from vivace.core.types import Task, TestSpec

LAYERS, TASKS = "layers.parquet", "tasks-{:05d}.parquet"
FORMAT = "vivace-tasks/1"
ROWS_PER_FILE = 20_000
_JSON = ("difficulty", "provenance", "check")
_TEXTS = ("id", "family", "stage", "env", "repo", "split", "licence", "problem_statement", "bug_patch", "gold_patch")


def schemas() -> tuple[Any, Any]:
    """(of the layers, of the tasks), as pyarrow has them.

    Raises:
        BadInput: pyarrow is not installed.
    """
    pa = _pyarrow("pyarrow")
    text, texts = pa.string(), pa.list_(pa.string())
    layers = pa.schema([("env", text), ("repo", text), ("runner", text), ("args", texts), ("timeout_s", pa.float64()),
                        ("tests", texts)], metadata={"format": FORMAT})  # fmt: skip
    tasks = pa.schema([
        *((name, text) for name in _TEXTS), ("FAIL_TO_PASS", pa.list_(pa.int32())), ("PASS_TO_PASS", pa.binary()),
        ("test", text), *((name, text) for name in _JSON),
    ], metadata={"format": FORMAT})  # fmt: skip
    return layers, tasks


def write_registry(folder: Path, tasks: Iterable[Task], tests: Mapping[str, Sequence[str]] | None = None) -> int:
    """Write tasks into a folder; returns the bytes on disk.

    Args:
        tests: by layer, the tests to number first, in this order; those of its tasks that are missing come after them.
    """
    pa, parquet = _pyarrow("pyarrow"), _pyarrow("pyarrow.parquet")
    rows = list(tasks)
    layers = _layers(rows, tests or {})
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("tasks-*.parquet"):
        old.unlink()
    shapes = schemas()
    numbers = {env: {test: n for n, test in enumerate(layer["tests"])} for env, layer in layers.items()}
    size = 0
    parts = [rows[n : n + ROWS_PER_FILE] for n in range(0, len(rows), ROWS_PER_FILE)]
    files = [(LAYERS, shapes[0], list(layers.values()))]
    files += [(TASKS.format(n), shapes[1], [_packed(task, layers[task.env], numbers[task.env]) for task in part])
              for n, part in enumerate(parts)]  # fmt: skip
    for name, schema, records in files:
        with atomic_file(folder / name) as file:
            parquet.write_table(pa.Table.from_pylist(records, schema=schema), file, compression="zstd",
                                compression_level=9, use_dictionary=["env", "repo", "family", "stage", "split",
                                                                     "licence"] if schema is shapes[1] else False)
        size += (folder / name).stat().st_size
    return size


def read_registry(folder: Path) -> Iterator[Task]:
    """The tasks of a folder, in order.

    Raises:
        BadInput: no registry, damaged, or of another format.
    """
    parquet = _pyarrow("pyarrow.parquet")
    if not (folder / LAYERS).exists():
        raise BadInput(f"{folder} has no {LAYERS}; give a folder that `vivace tasks pack` wrote")
    try:
        layers = {row["env"]: row for row in _read(parquet, folder / LAYERS)}
        for path in sorted(folder.glob("tasks-*.parquet")):
            for row in _read(parquet, path):
                yield _unpacked(row, layers[row["env"]])
    except (KeyError, IndexError, ValueError, OSError) as error:
        raise BadInput(f"{folder} is damaged ({error}); pack it again") from error


def _read(parquet: Any, path: Path) -> Iterator[dict[str, Any]]:
    file = parquet.ParquetFile(path)
    if (file.schema_arrow.metadata or {}).get(b"format") != FORMAT.encode():
        raise BadInput(f"{path} is not of the format {FORMAT}; pack it again")
    for batch in file.iter_batches(batch_size=1000):
        yield from batch.to_pylist()


def _layers(tasks: Sequence[Task], tests: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
    layers: dict[str, dict[str, Any]] = {}
    known: dict[str, dict[str, None]] = {env: dict.fromkeys(names) for env, names in tests.items()}
    for task in tasks:
        layers.setdefault(task.env, {"env": task.env, "repo": task.repo, **task.test.model_dump()})
        known.setdefault(task.env, {}).update(dict.fromkeys([*task.FAIL_TO_PASS, *task.PASS_TO_PASS]))
    return {env: {**layer, "tests": list(known[env])} for env, layer in layers.items()}


def _packed(task: Task, layer: Mapping[str, Any], numbers: Mapping[str, int]) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(task, name) for name in _TEXTS}
    row["FAIL_TO_PASS"] = [numbers[test] for test in task.FAIL_TO_PASS]
    row["PASS_TO_PASS"] = bitset([numbers[test] for test in task.PASS_TO_PASS])
    own = task.test.model_dump()
    row["test"] = None if all(layer[name] == value for name, value in own.items()) else json.dumps(own)
    for name in _JSON:
        value = getattr(task, name)
        row[name] = json.dumps(value, separators=(",", ":"), ensure_ascii=False) if value else None
    return row


def _unpacked(row: Mapping[str, Any], layer: Mapping[str, Any]) -> Task:
    tests = layer["tests"]
    spec = json.loads(row["test"]) if row["test"] else {name: layer[name] for name in TestSpec.model_fields}
    return Task(
        **{name: row[name] for name in _TEXTS}, FAIL_TO_PASS=[tests[n] for n in row["FAIL_TO_PASS"]],
        PASS_TO_PASS=[tests[n] for n in members(row["PASS_TO_PASS"])], test=TestSpec(**spec),
        **{name: json.loads(row[name]) for name in _JSON if row[name]},
    )  # fmt: skip


def bitset(numbers: Iterable[int]) -> bytes:
    """A set of numbers as bytes, the lowest first."""
    whole = 0
    for number in numbers:
        whole |= 1 << number
    return whole.to_bytes((whole.bit_length() + 7) // 8, "little")


def members(packed: bytes) -> list[int]:
    """The numbers of a bitset, ascending."""
    return [8 * place + bit for place, byte in enumerate(packed) for bit in range(8) if byte >> bit & 1]


def _pyarrow(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise BadInput("Parquet needs pyarrow: pip install 'vivace[parquet]'") from None
