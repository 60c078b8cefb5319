"""Copying a base tree and finding out later what changed in the copy."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from vivace.core.errors import BadInput, InfraError

# Never copied: history would hand out answers, environments and caches cost time.
NOT_COPIED = frozenset(
    {".git", ".hg", ".svn", ".venv", "node_modules", ".tox", ".nox", ".mypy_cache", ".ruff_cache", ".vivace-output"}
)
OUTPUT_DIR = ".vivace-output"
"""Folder for output that is too long to be shown; no part of the work."""
_BYPRODUCT_DIRS = frozenset({"__pycache__", ".pytest_cache", ".hypothesis", ".git", OUTPUT_DIR})
MOST_BYTES = 4 << 30

Stamp = tuple[int, int, int]
"""(inode, size, change time in ns): the last cannot be set back by the code under test, unlike mtime."""


def is_byproduct(name: str) -> bool:
    """Whether a file or folder name is left behind by running tests and is no part of anybody's work."""
    return (
        name in _BYPRODUCT_DIRS or name.endswith((".pyc", ".pyo")) or name.split(".")[:2] == ["", "coverage"]
    )


@dataclass
class Snapshot:
    """What a copy looked like when it was made."""

    files: dict[str, Stamp] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    nbytes: int = 0
    entries: int = 0

    def settle(self, rel: str, base: Path, root: Path) -> None:
        """Take the present state of a file for what it looked like at the start.

        It gets the times of the one it replaces, so as not to stand out, and loses its bytecode, which that would fool.
        """
        with suppress(FileNotFoundError):
            info = os.stat(base / rel)
            os.utime(root / rel, ns=(info.st_atime_ns, info.st_mtime_ns))
        for bytecode in (root / rel).parent.glob(f"__pycache__/{Path(rel).stem}.*.pyc"):
            bytecode.unlink()
        self.files[rel] = _stamp(os.lstat(root / rel))


def copy_tree(base: Path, target: Path, owner: int | None = None) -> Snapshot:
    """Copy `base` into the new folder `target` with modes and modification times; symlinks stay symlinks.

    Modification times matter: Python trusts a .pyc of the base only if its source looks unchanged.
    Args:
        owner: uid and gid of everything in the copy; None: the caller's.
    Raises:
        BadInput: `base` is no folder, cannot be read, or holds more than `MOST_BYTES`.
        InfraError: the copy could not be written.
    """
    if not base.is_dir():
        raise BadInput(f"{base} is not a folder; give the root of a source tree")
    snapshot = Snapshot()
    try:
        _copy_folder(str(base), str(target), "", owner, snapshot)
    except PermissionError as error:
        raise BadInput(f"cannot read {error.filename}: permission denied; make the tree readable") from error
    except OSError as error:
        raise InfraError(f"cannot copy {base}: {error.strerror}; free some disk space") from error
    return snapshot


def _copy_folder(source: str, target: str, prefix: str, owner: int | None, snapshot: Snapshot) -> None:
    os.mkdir(target, 0o755)
    with os.scandir(source) as listing:
        entries = list(listing)
    for entry in entries:
        rel, new = prefix + entry.name, f"{target}/{entry.name}"
        if entry.name in NOT_COPIED:
            continue
        snapshot.entries += 1
        if entry.is_symlink():
            snapshot.links[rel] = os.readlink(entry.path)
            os.symlink(snapshot.links[rel], new)
            if owner is not None:
                os.chown(new, owner, owner, follow_symlinks=False)
        elif entry.is_dir():
            _copy_folder(entry.path, new, rel + "/", owner, snapshot)
        elif entry.is_file():
            snapshot.files[rel] = stamp = _copy_file(entry.path, new, owner)
            snapshot.nbytes += max(4096, stamp[1])
            if snapshot.nbytes > MOST_BYTES:
                raise BadInput(
                    f"{source}: the tree is larger than {MOST_BYTES >> 30} GiB; leave data out of it"
                )
    if owner is not None:
        os.chown(target, owner, owner)


def _copy_file(source: str, target: str, owner: int | None) -> Stamp:
    with open(source, "rb", buffering=0) as reader:
        info = os.fstat(reader.fileno())
        mode = 0o755 if info.st_mode & stat.S_IXUSR else 0o644
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            if info.st_size <= 1 << 20:
                os.write(fd, reader.read())
            else:
                with os.fdopen(os.dup(fd), "wb") as writer:
                    shutil.copyfileobj(reader, writer, 1 << 20)
            os.fchmod(fd, mode)
            if owner is not None:
                os.fchown(fd, owner, owner)
            os.utime(fd, ns=(info.st_atime_ns, info.st_mtime_ns))
            return _stamp(os.fstat(fd))
        finally:
            os.close(fd)


def _stamp(info: os.stat_result) -> Stamp:
    return info.st_ino, info.st_size, info.st_ctime_ns


@dataclass
class Changes:
    """Paths that may differ from the snapshot. `touched` files have a new stamp; their content decides."""

    touched: list[str]
    deleted: list[str]
    links: dict[str, str]
    """New or changed symlinks with their targets."""


def changes_since(snapshot: Snapshot, root: Path) -> Changes:
    """Compare a copy with its snapshot by stamps alone; byproducts of running tests are left out."""
    touched, links, present = [], {}, set()
    for rel, entry in walk(root):
        present.add(rel)
        if entry.is_symlink():
            with suppress(OSError):
                target = os.readlink(entry.path)
                if snapshot.links.get(rel) != target:
                    links[rel] = target
        elif entry.is_file(follow_symlinks=False) and snapshot.files.get(rel) != _stamp(
            entry.stat(follow_symlinks=False)
        ):
            touched.append(rel)
    known = [*snapshot.files, *snapshot.links]
    gone = [rel for rel in known if rel not in present and not any(map(is_byproduct, rel.split("/")))]
    return Changes(sorted(touched), sorted(gone), dict(sorted(links.items())))


def walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """(relative path, entry) of every file and symlink below `root` that is no byproduct, unordered."""
    stack = [("", str(root))]
    while stack:
        prefix, folder = stack.pop()
        try:
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError:
            continue  # removed or closed meanwhile
        for entry in entries:
            if is_byproduct(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                stack.append((f"{prefix}{entry.name}/", entry.path))
            else:
                yield prefix + entry.name, entry
