"""The file under a session: rows that are only ever appended, each with the row it follows, and contents by digest.

A row is on the disk before anything that depends on it happens. `leaf` rows move the end of the conversation, so that
what is undone or taken back stays in the file. One process writes at a time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from vivace.core.errors import BadInput
from vivace.core.files import append_jsonl, atomic_write_bytes, read_jsonl, state_dir

Row = dict[str, Any]
FORMAT = 1
LOG = "log.jsonl"
_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4}")


class SessionLog:
    """The rows of one session in the folder `folder`, open for writing. Use as a context, or `close` it.

    Raises:
        BadInput: no session there, of another format, or open in another process.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / LOG
        if not self.path.exists():
            raise BadInput(f"no session {folder.name}; `vivace sessions` lists them")
        self._lock = _lock(folder)
        self.rows = list(read_jsonl(self.path))
        if not self.rows or self.rows[0].get("format") != FORMAT:
            self.close()
            raise BadInput(f"{self.path} is not a session of format {FORMAT}; use the version of vivace that wrote it")
        self.leaf = self._last_leaf()

    @classmethod
    def create(cls, repo: Path, **more: Any) -> SessionLog:
        """A new session on the checkout `repo`."""
        name = time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(2)
        folder = state_dir("sessions", name)
        head = {"id": 0, "parent": None, "type": "session", "format": FORMAT, "repo": str(repo), "time": now(), **more}
        append_jsonl(folder / LOG, head, durable=True)
        _sync_folder(folder)
        return cls(folder)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def repo(self) -> Path:
        return Path(self.rows[0]["repo"])

    def append(self, kind: str, **values: Any) -> int:
        """One more row after the leaf, which it becomes; returns its id once it is on the disk."""
        row = {"id": len(self.rows), "parent": self.leaf, "type": kind, "time": now(), **values}
        append_jsonl(self.path, row, durable=True)
        self.rows.append(row)
        self.leaf = int(row["id"])
        return self.leaf

    def move(self, leaf: int, why: str) -> None:
        """Go on from an earlier row; nothing is lost."""
        if leaf == self.leaf:
            return
        self.append("leaf", to=leaf, why=why)
        self.leaf = leaf

    def branch(self, leaf: int | None = None) -> list[Row]:
        """The rows from the first to `leaf` (default: the present one)."""
        found: list[Row] = []
        at: int | None = self.leaf if leaf is None else leaf
        while at is not None:
            found.append(self.rows[at])
            at = self.rows[at]["parent"]
        return found[::-1]

    def keep(self, data: bytes | None) -> str | None:
        """Store contents; returns their name. None (no file) is None."""
        if data is None:
            return None
        name = hashlib.sha256(data).hexdigest()
        path = self.folder / "blobs" / name
        if not path.exists():
            atomic_write_bytes(path, data)
        return name

    def contents(self, name: str | None) -> bytes | None:
        """What `keep` stored."""
        return None if name is None else (self.folder / "blobs" / name).read_bytes()

    def close(self) -> None:
        self._lock.close()

    def __enter__(self) -> SessionLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _last_leaf(self) -> int:
        last = self.rows[-1]
        return int(last["to"] if last["type"] == "leaf" else last["id"])


def sessions(repo: Path | None = None) -> Iterator[tuple[str, Row]]:
    """(name, first row) of each session, newest first; with `repo` only those on that checkout."""
    for folder in sorted(state_dir("sessions").iterdir(), reverse=True):
        if _ID.fullmatch(folder.name) and (folder / LOG).exists():
            head = next(read_jsonl(folder / LOG), None)
            if head and (repo is None or head.get("repo") == str(repo)):
                yield folder.name, head


def first_request(name: str) -> str:
    """What a session began with; "" if nothing was asked."""
    rows = read_jsonl(state_dir("sessions", name) / LOG)
    return next((str(row["text"]) for row in rows if row["type"] == "prompt"), "")


def open_log(name: str) -> SessionLog:
    """A session by name, or by the beginning of its name if only one has it. BadInput otherwise."""
    matching = [found for found, _ in sessions() if found.startswith(name)]
    if len(matching) != 1:
        what = f"{len(matching)} sessions begin with" if matching else "no session"
        raise BadInput(f"{what} {name!r}; `vivace sessions` lists them")
    return SessionLog(state_dir("sessions", matching[0]))


def now() -> str:
    """The time in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _lock(folder: Path) -> IO[bytes]:
    file = (folder / "lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise BadInput(f"session {folder.name} is open in another process; close it there, or fork it") from None
    return file


def _sync_folder(folder: Path) -> None:
    for path in (folder, folder.parent):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
