"""Host-side access to a tree that untrusted code may be changing: no path ever leads out of it.

Resolution is left to the kernel (`openat2` with RESOLVE_BENEATH, Linux 5.6), so a symlink swapped in at the
wrong moment cannot win a race. Pipes, sockets and devices are refused rather than opened and waited on.
"""

from __future__ import annotations

import ctypes
import errno
import os
import posixpath
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vivace.core.errors import BadInput, SandboxError

_OPENAT2 = 437  # the same number on every architecture
_BENEATH = 0x08 | 0x02  # RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def clean(rel: str) -> str:
    """`rel` in its shortest form.

    Raises:
        BadInput: it is absolute, empty, or leads out of the workspace.
    """
    text = os.fspath(rel)
    if not text or "\0" in text:
        raise BadInput("a path in the workspace may not be empty or hold NUL; give one relative to its root")
    path = posixpath.normpath(text)
    if path == ".." or path.startswith(("/", "../")):
        raise BadInput(f"{text}: outside the workspace; give a path relative to its root")
    return path


def _explain(error: OSError, rel: str) -> BadInput:
    if error.errno in (errno.EXDEV, errno.ELOOP):
        return BadInput(f"{rel}: a symlink on the way leads out of the workspace; use the real file")
    if error.errno == errno.ENOENT:
        return BadInput(f"{rel}: no such file in the workspace; list the files to see their names")
    return BadInput(f"{rel}: {os.strerror(error.errno or 0).lower()}; name a regular file")


class Tree:
    """A directory held open; every method takes a path relative to it.

    `owner` is the uid and gid that new files get (None: the caller's own).
    """

    def __init__(self, root: Path, owner: int | None = None) -> None:
        self.root, self.owner = root, owner
        self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let go of the directory; the files stay."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._fd < 0

    def read(self, rel: str, most: int = 64 << 20) -> bytes:
        """Contents of a regular file.

        Raises:
            BadInput: missing, not a regular file, outside the tree, or more than `most` bytes.
        """
        rel = clean(rel)
        try:
            with self._opened(rel, os.O_RDONLY) as fd:
                info = os.fstat(fd)
                if not stat.S_ISREG(info.st_mode):
                    raise BadInput(f"{rel}: not a regular file; name a file")
                if info.st_size > most:
                    raise BadInput(
                        f"{rel}: {info.st_size} bytes are more than the {most} that can be read; read a part"
                    )
                with os.fdopen(os.dup(fd), "rb") as file:
                    return file.read(most)
        except OSError as error:
            raise _explain(error, rel) from error

    def write(self, rel: str, data: bytes) -> None:
        """Replace or create a regular file as a whole, with the folders above it; an existing mode is kept."""
        rel = clean(rel)
        folder, name = posixpath.split(rel)
        try:
            self._make_folders(folder)
            with self._opened(folder or ".", os.O_RDONLY | os.O_DIRECTORY) as parent:
                mode = self._existing_mode(parent, name)
                if mode is not None and stat.S_ISLNK(mode):
                    self._overwrite(rel, data)
                elif mode is not None and not stat.S_ISREG(mode):
                    raise BadInput(f"{rel}: not a regular file; name a file")
                else:
                    self._replace(parent, name, data, 0o644 if mode is None else stat.S_IMODE(mode))
        except OSError as error:
            raise _explain(error, rel) from error

    def delete(self, rel: str) -> None:
        """Remove a file or a symlink (the link itself)."""
        rel = clean(rel)
        folder, name = posixpath.split(rel)
        try:
            with self._opened(folder or ".", os.O_RDONLY | os.O_DIRECTORY) as parent:
                os.unlink(name, dir_fd=parent)
        except OSError as error:
            raise _explain(error, rel) from error

    def mode(self, rel: str) -> int:
        """Permission bits of a file. BadInput: as `read`."""
        rel = clean(rel)
        try:
            with self._opened(rel, os.O_RDONLY) as fd:
                return stat.S_IMODE(os.fstat(fd).st_mode)
        except OSError as error:
            raise _explain(error, rel) from error

    def set_mode(self, rel: str, mode: int) -> None:
        """Give a file these permission bits. BadInput: as `read`."""
        rel = clean(rel)
        try:
            with self._opened(rel, os.O_RDONLY) as fd:
                os.fchmod(fd, mode)
        except OSError as error:
            raise _explain(error, rel) from error

    def link(self, rel: str, target: str) -> None:
        """Make a symlink, in place of a file or link of that name. BadInput: as `write`."""
        rel = clean(rel)
        folder, name = posixpath.split(rel)
        try:
            self._make_folders(folder)
            with self._opened(folder or ".", os.O_RDONLY | os.O_DIRECTORY) as parent:
                if self._existing_mode(parent, name) is not None:
                    os.unlink(name, dir_fd=parent)
                os.symlink(target, name, dir_fd=parent)
                if self.owner is not None:
                    os.chown(name, self.owner, self.owner, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            raise _explain(error, rel) from error

    def exists(self, rel: str) -> bool:
        """Whether a file or folder is there and within the tree."""
        try:
            with self._opened(clean(rel), os.O_PATH):
                return True
        except OSError:
            return False

    @contextmanager
    def _opened(self, rel: str, flags: int) -> Iterator[int]:
        flags |= os.O_CLOEXEC
        if not flags & os.O_PATH:
            flags |= os.O_NONBLOCK | os.O_NOCTTY
        how = _OpenHow(flags, 0, _BENEATH)
        for _ in range(100):
            path = ctypes.c_char_p(os.fsencode(rel))
            fd = _libc.syscall(_OPENAT2, self._fd, path, ctypes.byref(how), ctypes.sizeof(how))
            code = ctypes.get_errno()
            if fd >= 0 or code != errno.EAGAIN:  # EAGAIN: something was renamed during resolution
                break
        if fd < 0 and code in (errno.ENOSYS, errno.EPERM):
            raise SandboxError(
                "this kernel or container refuses openat2; use Linux 5.6 or newer, or allow the call"
            )
        if fd < 0:
            raise OSError(code, os.strerror(code), rel)
        try:
            yield fd
        finally:
            os.close(fd)

    def _make_folders(self, folder: str) -> None:
        done = ""
        for part in folder.split("/") if folder else ():
            above, done = done or ".", f"{done}/{part}" if done else part
            if not self.exists(done):
                with self._opened(above, os.O_RDONLY | os.O_DIRECTORY) as parent:
                    os.mkdir(part, 0o755, dir_fd=parent)
                    if self.owner is not None:
                        os.chown(part, self.owner, self.owner, dir_fd=parent, follow_symlinks=False)

    @staticmethod
    def _existing_mode(parent: int, name: str) -> int | None:
        try:
            return os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return None

    def _overwrite(self, rel: str, data: bytes) -> None:
        """Write through a symlink that stays within the tree."""
        with self._opened(rel, os.O_WRONLY) as fd:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise BadInput(f"{rel}: not a regular file; name a file")
            os.ftruncate(fd, 0)
            with os.fdopen(os.dup(fd), "wb") as file:
                file.write(data)

    def _replace(self, parent: int, name: str, data: bytes, mode: int) -> None:
        new = f".vivace-{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(new, flags, 0o600, dir_fd=parent)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                if self.owner is not None:
                    os.fchown(fd, self.owner, self.owner)
                os.fchmod(fd, mode)
            os.rename(new, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            os.unlink(new, dir_fd=parent)
            raise
