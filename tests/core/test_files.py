"""Files are whole or absent; a crash in the middle of a line loses that line only."""

from pathlib import Path

import pytest

from vivace.core.errors import BadInput
from vivace.core.files import append_jsonl, atomic_write_text, digest, read_jsonl, require_space


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    atomic_write_text(path, "old")

    def fail(fd: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(KeyboardInterrupt):
        atomic_write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_torn_last_row_is_cut_off_and_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_jsonl(path, {"n": 1})
    with path.open("a") as file:
        file.write('{"n": 2, "te')
    assert [row["n"] for row in read_jsonl(path)] == [1]
    append_jsonl(path, {"n": 3})
    assert [row["n"] for row in read_jsonl(path)] == [1, 3]


def test_a_bad_row_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"n": 1}\nnot json\n{"n": 2}\n')
    with pytest.raises(BadInput, match=r"rows\.jsonl:2 is not JSON"):
        list(read_jsonl(path))


def test_no_disk_space_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no disk space"):
        require_space(tmp_path / "new" / "run", 10**18)
    require_space(tmp_path, 1)


def test_digest_does_not_depend_on_key_order() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})
