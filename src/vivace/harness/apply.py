"""Bringing the changes of a workspace into the real checkout: all of them or none, and never over newer work."""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from vivace.core.errors import BadInput, InfraError
from vivace.core.files import atomic_write_bytes
from vivace.harness.policy import protected
from vivace.sandbox import Workspace
from vivace.sandbox.snapshot import walk

_Stamp = tuple[int, int, int]


class Checkout:
    """The user's files as they were when `workspace` was opened on them; make it right after that."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.root = workspace.base
        self._stamps = {path: _stamp(self.root / path) for path, _ in walk(workspace.root)}

    def check(self, without: Container[str] = ()) -> None:
        """Refuse changes that could not be applied, those of the files `without` left aside.

        Raises:
            BadInput: a symlink is involved, a file is never written by an agent, or was changed in the checkout since
                the workspace was opened.
        """
        changed = [path for path in self.workspace.changed_files() if path not in without]
        files = self.workspace.tree_changes()
        protected.refuse(changed, agreed=files)
        refuse_symlinks(self.root, changed)
        for path in changed:
            if path not in files:
                raise BadInput(f"the agent made {path} a symlink; nothing was applied: make it by hand if it is wanted")
        for path in changed:
            if not self.unchanged(path):
                raise BadInput(f"{path} changed while the agent worked; nothing was applied: run it again")

    def unchanged(self, path: str) -> bool:
        """Whether a file of the checkout is what it was when the workspace was opened."""
        return _stamp(self.root / path) == self._stamps.get(path)

    def apply(self, agreed: Container[str] = (), without: Container[str] = (), more: Sequence[str] = ()) -> list[str]:
        """Write, create and delete files as the workspace has them, but for those `without`; returns their paths.

        Args:
            agreed: files run later by the host (`policy.protected`) that the user has agreed to, each by itself.
            more: patterns of files that count as such.
        Raises:
            BadInput: as `check`; nothing was applied.
            InfraError: writing failed; nothing was applied.
        """
        self.check(without)
        wanted = {path: data for path, data in self.workspace.tree_changes().items() if path not in without}
        protected.refuse(wanted, agreed, more)
        write_all(self.root, wanted)
        return sorted(wanted)


def refuse_symlinks(root: Path, paths: Iterable[str]) -> None:
    """Raise BadInput if one of these files is a symlink or lies behind one."""
    for path in paths:
        if not (root / path).parent.resolve().is_relative_to(root.resolve()) or (root / path).is_symlink():
            raise BadInput(f"{path} goes through a symlink; nothing was applied: edit the real file")


def write_all(root: Path, wanted: Mapping[str, bytes | None]) -> None:
    """Give all these files their contents (None: delete), or none of them. Modes are kept.

    Raises:
        InfraError: one could not be written; those that were are put back.
    """
    done: list[tuple[Path, bytes | None, int]] = []
    try:
        for path, data in sorted(wanted.items(), key=lambda item: item[1] is not None):  # deletions first
            target = root / path
            before = target.read_bytes() if target.is_file() else None
            mode = stat.S_IMODE(target.stat().st_mode) if before is not None else 0o644
            done.append((target, before, mode))
            _put(target, data, mode)
    except (OSError, InfraError) as error:
        for target, before, mode in reversed(done):
            with suppress(OSError, InfraError):
                _put(target, before, mode)
        raise InfraError(f"could not apply the changes ({error}); the files are as they were") from error


def _stamp(path: Path) -> _Stamp | None:
    try:
        info = os.lstat(path)
    except OSError:
        return None
    return info.st_mtime_ns, info.st_size, info.st_ino


def _put(target: Path, data: bytes | None, mode: int) -> None:
    if data is None:
        target.unlink(missing_ok=True)
        return
    atomic_write_bytes(target, data)
    target.chmod(mode)
