"""Changes of files as (contents before, contents after), and how they get into a checkout whatever happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vivace.core.errors import BadInput
from vivace.harness.apply import refuse_symlinks, write_all
from vivace.sandbox.patch import apply_patch, make_patch

UNKNOWN = "?"
"""In place of a digest: the user changed the file while the agent worked, so nobody has what the agent saw."""


@dataclass(frozen=True)
class Change:
    """One file; None is no file. `known`: `before` is what the agent began with."""

    before: bytes | None
    after: bytes | None
    known: bool = True


Changes = dict[str, Change]


def current(root: Path, path: str) -> bytes | None:
    """The contents of a file of the checkout; None if it is none."""
    target = root / path
    return target.read_bytes() if target.is_file() and not target.is_symlink() else None


def apply_changes(root: Path, changes: Mapping[str, Change]) -> None:
    """Write all of them or none.

    Raises:
        BadInput: a file is no longer what the agent began with, or lies behind a symlink; nothing was written.
        InfraError: writing failed; nothing was written.
    """
    refuse_symlinks(root, changes)
    for path, change in changes.items():
        if not change.known or current(root, path) != change.before:
            raise BadInput(f"{path} changed while the agent worked; nothing was applied: drop its changes, or save "
                           "yours elsewhere and put it back")
    write_all(root, {path: change.after for path, change in changes.items()})


def finish(root: Path, changes: Mapping[str, Change]) -> list[str]:
    """Bring an interrupted `apply_changes` to its end; returns the files that have become something else meanwhile
    and were left alone."""
    refuse_symlinks(root, changes)
    now = {path: current(root, path) for path in changes}
    left = [path for path, change in changes.items() if now[path] not in (change.before, change.after)]
    if not left or any(now[path] == change.after for path, change in changes.items()):  # it was begun, then
        write_all(root, {path: change.after for path, change in changes.items() if path not in left})
    return left


def rebase(root: Path, changes: Mapping[str, Change]) -> tuple[Changes, list[str]]:
    """The same changes on the checkout as it is now, and the files where they no longer fit."""
    fitting: Changes = {}
    lost: list[str] = []
    for path, change in changes.items():
        now = current(root, path)
        if now == change.after:
            continue  # done already
        if change.known and now == change.before:
            fitting[path] = change
        elif change.known and (merged := _merge(path, change, now)) is not None:
            fitting[path] = Change(now, merged)
        else:
            lost.append(path)
    return fitting, lost


def _merge(path: str, change: Change, now: bytes | None) -> bytes | None:
    if change.before is None or change.after is None or now is None:
        return None
    try:
        patch = make_patch({path: change.before.decode()}, {path: change.after.decode()})
        text = apply_patch({path: now.decode()}, patch)[path]
    except (UnicodeDecodeError, BadInput):
        return None
    return None if text is None else text.encode()
