"""Files that are either whole or absent: write to a neighbour, fsync, rename."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from vivace.core.errors import BadInput, InfraError


@contextmanager
def atomic_file(path: Path, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """A file to write in the block; it takes `path`'s place, with `mode`, when the block ends well, and vanishes
    otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise InfraError(f"cannot write {path}: {error.strerror}; free some space or choose another folder") from error
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def atomic_write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` so that a reader sees the old file or the new one, never a part of it."""
    with atomic_file(path, mode) as file:
        file.write(data)


def atomic_write_text(path: Path, text: str) -> None:
    """UTF-8 form of `atomic_write_bytes`."""
    atomic_write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Pretty JSON, keys in the order given."""
    atomic_write_text(path, json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any, length: int = 16) -> str:
    """First `length` hex digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def read_json(path: Path, remedy: str) -> Any:
    """The value in a JSON file. BadInput when it is damaged; `remedy` says what to do then."""
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is damaged: it is not JSON ({error}); {remedy}") from error


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON-lines file. A last line cut short by a crash is skipped; any other bad line is an error."""
    lines = path.read_text().split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):  # no newline after it: the writer died in the middle
                return
            raise BadInput(f"{path}:{number} is not JSON ({error.msg}); restore it or delete that line") from error


def append_jsonl(path: Path, row: dict[str, Any], *, durable: bool = False) -> None:
    """Append one row and flush it, so that progress survives a crash; `durable`: one of the machine, too (fsync).

    A partial last line (a crash while writing) is cut off first: rows never run together.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell() and not _ends_with_newline(file):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write((json.dumps(row, ensure_ascii=False, default=str) + "\n").encode())
        if durable:
            file.flush()
            os.fsync(file.fileno())


def _ends_with_newline(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")


def require_space(path: Path, nbytes: int) -> None:
    """Refuse early when the disk that holds `path` has less than `nbytes` free."""
    existing = path
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < nbytes:
        raise BadInput(
            f"no disk space: {path} needs {nbytes / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; "
            "free some, or choose another folder with --out"
        )


def cache_dir(*parts: str) -> Path:
    """A folder under VIVACE_CACHE (default ~/.cache/vivace), made if absent."""
    root = Path(os.environ.get("VIVACE_CACHE") or Path.home() / ".cache" / "vivace")
    path = root.joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


def state_dir(*parts: str) -> Path:
    """A folder for what a user would miss: under VIVACE_STATE, else $XDG_STATE_HOME/vivace (~/.local/state/vivace).
    Made if absent, closed to others."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    path = Path(os.environ.get("VIVACE_STATE") or Path(home) / "vivace").joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def place_folder(folder: Path, target: Path) -> None:
    """Rename a finished folder to `target`; dropped if another process was first."""
    try:
        os.rename(folder, target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(folder)
