"""Putting an entry into an editor's file: shown first if wanted, with a backup, and back out again."""

from __future__ import annotations

import difflib
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vivace.connect.targets import Target
from vivace.core.errors import BadInput
from vivace.core.files import atomic_write_bytes, digest, read_json, state_dir, write_json


@dataclass(frozen=True)
class Plan:
    """What writing would change. `before` is None where there is no file; None in `after` deletes it."""

    file: Path
    before: str | None
    after: str | None

    @property
    def changes(self) -> bool:
        return self.before != self.after

    def diff(self) -> str:
        """For people; "" if nothing changes."""
        old, new = ((text or "").splitlines(keepends=True) for text in (self.before, self.after))
        lines = difflib.unified_diff(old, new, str(self.file), str(self.file), n=2)
        return "".join(line if line.endswith("\n") else line + "\n" for line in lines)


def plan_entry(target: Target) -> Plan:
    """Putting the entry in. BadInput when the file is not what the editor could read."""
    before = _read(target.file)
    return Plan(target.file, before, _named(target.file, lambda: target.change(before or "")))


def plan_undo(target: Target) -> Plan:
    """Taking it out: the file as it was before, if nobody has changed it since; else without the entry.

    Raises:
        BadInput: there is nothing of ours.
    """
    before = _read(target.file)
    note = _note(target)
    if before is None or (note is None and target.remove(before) == before):
        raise BadInput(f"{target.file} has no entry of vivace")
    if note and note["file"] == str(target.file) and note["after"] == digest(before):
        backup = note["backup"]
        return Plan(target.file, before, Path(backup).read_bytes().decode() if backup else None)
    after = _named(target.file, lambda: target.remove(before))
    return Plan(target.file, before, after or None)


def write(target: Target, plan: Plan, *, undo: bool = False) -> Path | None:
    """Carry it out; returns where the file's old contents are kept.

    Raises:
        BadInput: the file has become something else since the plan was made.
        InfraError: it cannot be written; it is as it was.
    """
    path = plan.file.resolve()  # settings are often links into a folder under version control
    if _read(path) != plan.before:
        raise BadInput(f"{plan.file} was changed meanwhile; run it again")
    backup = None
    if plan.before is not None:
        backup = path.with_name(f"{path.name}.before-vivace-{time.strftime('%Y%m%d-%H%M%S')}")
        shutil.copy2(path, backup)
    mode = stat.S_IMODE(path.stat().st_mode) if plan.before is not None else 0o600
    if plan.after is None:
        path.unlink()
    else:
        atomic_write_bytes(path, plan.after.encode(), mode)
    if undo:
        _note_path(target).unlink(missing_ok=True)
    else:
        first = _note(target) or {}
        ours = first.get("file") == str(plan.file) and plan.before is not None and first["after"] == digest(plan.before)
        write_json(_note_path(target), {  # connecting twice and undoing once leads back to the beginning
            "file": str(plan.file), "after": digest(plan.after),
            "backup": first["backup"] if ours else str(backup) if backup else None})
    return backup


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8 text; mend the file first") from None


def _named(path: Path, change: Any) -> str:
    try:
        text: str = change()
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    return text


def _note(target: Target) -> dict[str, Any] | None:
    path = _note_path(target)
    return read_json(path, "delete it") if path.exists() else None


def _note_path(target: Target) -> Path:
    return state_dir("connect") / f"{target.name}.json"
