"""A private, disposable checkout of a base tree, in which untrusted commands run."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vivace.core.errors import BadInput, InfraError
from vivace.sandbox.background import Background
from vivace.sandbox.limits import ExecLimits, ExecResult, Job, Sandbox
from vivace.sandbox.patch import apply_patch, make_patch, patched_paths
from vivace.sandbox.paths import Tree, clean
from vivace.sandbox.scratch import make_home
from vivace.sandbox.snapshot import Changes, changes_since, copy_tree, walk


class Workspace:
    """Copy-on-write view of `base` (never changed), destroyed by `close`. Safe to use from several threads.

    Args:
        base: root of the tree; must not change while the workspace lives.
        sandbox: from `open_sandbox`.
        overlay: files, by path relative to the tree, that count as part of the base in place of what it has there.
        readonly: host paths visible to commands, read-only and at the same place (virtual environments, for
            example).
        env: added to the clean environment of every command.
        names: other absolute names of places in the tree, as `Job.names`.
    """

    def __init__(
        self,
        base: Path,
        sandbox: Sandbox,
        *,
        readonly: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        overlay: Mapping[str, bytes] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.base, self.sandbox = Path(base), sandbox
        self._overlay = {clean(rel): data for rel, data in (overlay or {}).items()}
        self.readonly, self.env, self.names = tuple(readonly), dict(env or {}), dict(names or {})
        self.owner = sandbox.owner_for(self.readonly)
        self._home = make_home(self.base, mounted=sandbox.mount_point(self.base) != str(self.base))
        self._home.chmod(0o711)  # the owner must get through, but not look around
        self.root = self._home / "tree"
        """Host folder with the files. Use the methods to read it: commands may leave traps such as symlinks there."""
        self.interrupt: int | None = None
        """A descriptor that, once readable, has every command killed that brings no `cancel` of its own."""
        self._lock = threading.RLock()
        self.background: dict[str, Background] = {}
        """Commands by the number that `start` gave them, ended ones too; whoever needs one no more takes it out."""
        self._started = 0
        self._tree: Tree | None = None
        try:
            self._snapshot = copy_tree(self.base, self.root, self.owner)
            self._tree = Tree(self.root, self.owner)
            for rel, data in self._overlay.items():
                self._tree.write(rel, data)
                self._snapshot.settle(rel, self.base, self.root)
        except BaseException:
            self.close()
            raise

    @property
    def mount(self) -> str:
        """Path at which commands see the root of the workspace."""
        return self.sandbox.mount_point(self.root)

    def exec(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        limits: ExecLimits | None = None,
        stdin: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        collect: bool = False,
        readonly: Sequence[Path] = (),
        link: int | None = None,
        cancel: int | None = None,
        keyboard: int | None = None,
        listen: Callable[[bytes], None] | None = None,
    ) -> ExecResult:
        """Run one command in the sandbox and wait for its end.

        Args:
            argv: program and arguments; use ["sh", "-c", line] for a shell line.
            cwd: folder relative to the workspace.
            limits: default `ExecLimits()`.
            collect: return what the command writes to descriptor $VIVACE_RESULT_FD as `channel`.
            readonly: more host paths for this command.
            link: a descriptor handed over to the command, its number in $VIVACE_LINK_FD.
            cancel: a descriptor that, once readable, has the command killed; None: `interrupt`.
            keyboard: a descriptor that becomes the command's standard input, in place of `stdin`.
            listen: told every piece of output as it comes.
        Raises:
            BadInput: no command, or `cwd` is outside the workspace.
            SandboxError: the sandbox itself failed.
        """
        if not argv:
            raise BadInput("no command to run; give a program and its arguments")
        self._open()
        job = Job(
            argv=list(argv),
            root=self.root,
            cwd=clean(cwd),
            limits=limits or ExecLimits(),
            env={**self.env, **(env or {})},
            readonly=(*self.readonly, *readonly),
            owner=self.owner,
            stdin=stdin.encode() if isinstance(stdin, str) else stdin,
            collect=collect,
            names=self.names,
            link=link,
            cancel=self.interrupt if cancel is None else cancel,
            keyboard=keyboard,
            listen=listen,
            base_usage=(self._snapshot.nbytes, self._snapshot.entries),
        )
        return self.sandbox.run(job)

    def start(self, argv: Sequence[str], *, limits: ExecLimits | None = None) -> str:
        """Start a command that goes on until it ends, is stopped, or the workspace is closed; its name in `background`.

        Raises:
            BadInput: no command.
        """
        if not argv:
            raise BadInput("no command to run; give a program and its arguments")
        self._open()
        limits = limits or ExecLimits()

        def run(listen: Callable[[bytes], None], keyboard: int, cancel: int) -> ExecResult:
            return self.exec(argv, limits=limits, listen=listen, keyboard=keyboard, cancel=cancel)

        with self._lock:
            self._started += 1
            name = str(self._started)
            self.background[name] = Background(run, limits.output_bytes)
        return name

    def finished(self, name: str) -> None:
        """Take a command that nobody was told of out of `background`; its name may be given again."""
        with self._lock:
            self.background.pop(name).stop()
            self._started -= name == str(self._started)

    def fork(self) -> Workspace:
        """A workspace of its own with the files as they are here now, on the same base. Commands are not forked, and
        one that writes meanwhile may be seen half done."""
        with self._lock:
            made = Workspace(self.base, self.sandbox, readonly=self.readonly, env=self.env, overlay=self._overlay)
            try:
                changes = self.tree_changes()
                made.reset(changes)
                for rel, target in self._changes().links.items():
                    made._open().link(rel, target)
                for rel, data in changes.items():
                    if data is not None:
                        made._open().set_mode(rel, self._open().mode(rel))
            except BaseException:
                made.close()
                raise
            return made

    def read_bytes(self, rel: str) -> bytes:
        """Contents of a file.

        Raises:
            BadInput: missing, not a regular file, too large, or outside the workspace.
        """
        return self._open().read(rel)

    def read_text(self, rel: str) -> str:
        """Contents of a UTF-8 file, line ends as they are.

        Raises:
            BadInput: as `read_bytes`, or the file is not UTF-8 text.
        """
        try:
            return self.read_bytes(rel).decode()
        except UnicodeDecodeError as error:
            raise BadInput(f"{rel}: not UTF-8 text; open a text file") from error

    def write_text(self, rel: str, text: str) -> None:
        """Create or replace a file as a whole, with the folders above it."""
        self.write_bytes(rel, text.encode())

    def write_bytes(self, rel: str, data: bytes) -> None:
        """Create or replace a file as a whole, with the folders above it."""
        with self._lock:
            self._open().write(rel, data)

    def exists(self, rel: str) -> bool:
        """Whether a file or folder of that name is in the workspace."""
        return self._open().exists(rel)

    def delete(self, rel: str) -> None:
        """Remove a file or symlink.

        Raises:
            BadInput: it does not exist or is a folder.
        """
        with self._lock:
            self._open().delete(rel)

    def files(self) -> list[str]:
        """Relative paths of all regular files, sorted; without what running tests leaves behind."""
        self._open()
        return sorted(rel for rel, entry in walk(self.root) if entry.is_file(follow_symlinks=False))

    def diff(self) -> str:
        """Everything that changed since the base, as one git-style patch in path order; "" if nothing did.

        Text (UTF-8 without NUL) only: binary files, symlinks and permissions are not in it, `state_digest`
        sees them.
        """
        old: dict[str, str] = {}
        new: dict[str, str] = {}
        for rel, (before, after) in self._changed().items():
            texts = [_text(before), _text(after)]
            if any(text is None for data, text in zip((before, after), texts) if data is not None):
                continue
            for side, text in zip((old, new), texts):
                if text is not None:
                    side[rel] = text
        return make_patch(old, new)

    def apply(self, patch: str) -> list[str]:
        """Apply a unified diff as a whole or not at all; returns the paths it changed, sorted.

        Raises:
            BadInput: malformed, does not fit, or names paths outside the workspace.
        """
        with self._lock:
            tree = self._open()
            present = [path for path in patched_paths(patch) if tree.exists(clean(path))]
            results = apply_patch({path: self.read_text(path) for path in present}, patch)
            for path, text in results.items():
                if text is not None:
                    tree.write(path, text.encode())
                elif tree.exists(path):
                    tree.delete(path)
            return sorted(results)

    def changed_files(self) -> list[str]:
        """Paths that differ from the base, binary files and symlinks included, sorted."""
        return sorted({*self._changed(), *self._changes().links})

    def tree_changes(self) -> dict[str, bytes | None]:
        """{path: contents, or None where deleted} of all that differs from the tree in `base`, overlay included."""
        return {**self._overlay, **{rel: after for rel, (_, after) in self._changed().items()}}

    def reset(self, changes: Mapping[str, bytes | None]) -> None:
        """Make the tree that of the base, overlay included, but for `changes` as `tree_changes` gives them."""
        with self._lock:
            tree, now = self._open(), self._changes()
            for rel in now.links:
                tree.delete(rel)
            for rel, (before, _) in self._changed().items():
                if rel in changes:
                    continue
                if before is None:
                    tree.delete(rel)
                else:
                    tree.write(rel, before)
                    self._snapshot.settle(rel, self.base, self.root)
            for rel, data in changes.items():
                if data is not None:
                    tree.write(rel, data)
                elif tree.exists(rel):
                    tree.delete(rel)

    def state_digest(self) -> str:
        """Hex digest of all changes since the base; equal for equal changes, whatever their history."""
        total = hashlib.sha256()
        for rel, (_, after) in self._changed().items():
            total.update(f"{rel}\0{'-' if after is None else hashlib.sha256(after).hexdigest()}\0".encode())
        for rel, target in self._changes().links.items():
            total.update(f"{rel}\0->{target}\0".encode(errors="surrogateescape"))
        return total.hexdigest()

    def close(self) -> None:
        """Destroy the workspace. Further use raises BadInput; closing twice is fine."""
        for one in self.background.values():
            with suppress(InfraError, BadInput):
                one.stop()
        self.background = {}
        if self._tree is not None:
            self._tree.close()
        if self._home.is_dir():  # what lies above it is not ours to unlock
            shutil.rmtree(self.root, onerror=_force_remove)
            shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Tree:
        if self._tree is None or self._tree.closed:
            raise BadInput("this workspace is closed; open a new one")
        return self._tree

    def _changes(self) -> Changes:
        self._open()
        return changes_since(self._snapshot, self.root)

    def _changed(self) -> dict[str, tuple[bytes | None, bytes | None]]:
        """{path: (contents in the base, contents now)} in path order; None where there is no such file."""
        changes = self._changes()
        found: dict[str, tuple[bytes | None, bytes | None]] = {}
        for rel in changes.touched:
            before = self.base_bytes(rel)
            with suppress(BadInput):  # vanished, or became a trap, between listing and reading
                after = self._open().read(rel)
                if before != after:
                    found[rel] = (before, after)
        for rel in changes.deleted:
            found[rel] = (self.base_bytes(rel), None)
        return dict(sorted(found.items()))

    def base_bytes(self, rel: str) -> bytes | None:
        """Contents of a file in the base (overlay included); None if it has no such file."""
        if rel not in self._snapshot.files:
            return None
        return self._overlay[rel] if rel in self._overlay else (self.base / rel).read_bytes()


def _text(data: bytes | None) -> str | None:
    if data is None or b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _force_remove(function: Any, path: str, error: Any) -> None:
    """A command may have locked a folder of its own: unlock it and try once more."""
    with suppress(OSError):
        if os.path.isdir(path) and not os.path.islink(path):
            os.chmod(path, 0o700)
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.chmod(os.path.dirname(path), 0o700)
            os.unlink(path)
