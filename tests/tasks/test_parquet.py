"""The registry: rows come back as they were, small, and damage is told."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet
import pytest

from vivace.core.errors import BadInput
from vivace.core.types import Task, TestSpec
from vivace.tasks.parquet import LAYERS, bitset, members, read_registry, schemas, write_registry
from vivace.tasks.registry import read_tasks

SHIPPED = Path("recipes/tasks/train.jsonl")


def _sorted(task: Task) -> Task:
    return task.model_copy(update={"PASS_TO_PASS": sorted(task.PASS_TO_PASS)})


def test_shipped_rows_come_back_and_are_small(tmp_path: Path) -> None:
    rows = read_tasks(SHIPPED)
    size = write_registry(tmp_path, rows)
    assert [_sorted(task) for task in read_tasks(tmp_path, "train")] == [_sorted(task) for task in rows]
    assert size == sum(file.stat().st_size for file in tmp_path.iterdir())
    assert size / len(rows) < 500


def test_odd_rows_come_back(tmp_path: Path, task: Task) -> None:
    own = task.model_copy(update={"id": "own", "test": TestSpec(runner="unittest", args=["x"], timeout_s=7)})
    bare = task.model_copy(update={"id": "bare", "FAIL_TO_PASS": [], "PASS_TO_PASS": [], "check": {"answer": ["ä\n"]}})
    numbered = {task.env: [f"t{n}" for n in range(700)]}
    write_registry(tmp_path, [task, own, bare], numbered)
    assert [_sorted(one) for one in read_registry(tmp_path)] == [_sorted(one) for one in (task, own, bare)]
    [layer] = pyarrow.parquet.read_table(tmp_path / LAYERS).to_pylist()
    assert layer["tests"][:700] == numbered[task.env]
    assert len(layer["tests"]) == 704
    table = pyarrow.parquet.read_table(tmp_path / "tasks-00000.parquet")
    assert table.schema.equals(schemas()[1], check_metadata=False)
    write_registry(tmp_path, [task])  # what was there before is gone
    assert [one.id for one in read_registry(tmp_path)] == [task.id]


@pytest.mark.parametrize("numbers", [[], [0], [7, 8], [3, 900], list(range(20))])
def test_bitsets(numbers: list[int]) -> None:
    packed = bitset(numbers)
    assert members(packed) == numbers
    assert len(packed) == (max(numbers) // 8 + 1 if numbers else 0)


def test_damage_is_told(tmp_path: Path, task: Task) -> None:
    with pytest.raises(BadInput, match="has no layers"):
        list(read_registry(tmp_path))
    write_registry(tmp_path, [task])
    (tmp_path / "tasks-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadInput, match="damaged"):
        list(read_registry(tmp_path))
