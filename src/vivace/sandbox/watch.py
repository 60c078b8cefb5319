"""What a process tree and a directory use at this moment, read from the host's side."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_LONG_PATH, _MOST_HELD = 3500, 64
_SOCKET_BUFFER = 212_992  # what a socket may hold at most unless the host's administrator allows more (wmem_default)


def descendants(pid: int) -> list[int]:
    """Pids of `pid` and of every process below it, in the caller's numbering."""
    found, queue = [], [pid]
    while queue:
        current = queue.pop()
        found.append(current)
        try:
            for thread in os.listdir(f"/proc/{current}/task"):
                with open(f"/proc/{current}/task/{thread}/children") as file:
                    queue += map(int, file.read().split())
        except (OSError, ValueError):
            continue  # it ended meanwhile
    return found


def tasks(pids: list[int]) -> int:
    """Processes and threads among `pids`."""
    count = 0
    for pid in pids:
        try:
            count += len(os.listdir(f"/proc/{pid}/task"))
        except OSError:
            continue
    return count


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    """Bytes of `pid` with shared pages divided among their users; resident bytes where that is closed to us."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return _resident(pid)


def memory_bytes(pids: list[int], limit: int) -> int:
    """Memory in use by `pids`. The exact (slow) count is taken only when the cheap one is above `limit`."""
    total = sum(map(_resident, pids))
    return total if total <= limit else sum(map(_proportional, pids))


@dataclass(frozen=True)
class Usage:
    """What is in a folder: `nbytes` on disk (4 KiB an entry at least), `entries`, and whether some of it is `hidden`
    in a place that cannot be looked into."""

    nbytes: int
    entries: int
    hidden: bool = False


def tree_usage(root: Path, most_entries: int = 1 << 62) -> Usage:
    """What is in use below `root`; stops counting after `most_entries`."""
    total = entries = 0
    hidden = False
    stack = [os.fspath(root)]
    held: list[int] = []
    try:
        while stack and entries <= most_entries:
            try:
                path = stack.pop()
                if len(path) > _LONG_PATH and len(held) < _MOST_HELD:  # a path of any length is looked into in steps
                    held.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
                    path = f"/proc/self/fd/{held[-1]}"
                with os.scandir(path) as listing:
                    for entry in listing:
                        entries += 1
                        if entry.is_dir(follow_symlinks=False):
                            stack.append(entry.path)
                            total += 4096
                        else:
                            total += max(4096, entry.stat(follow_symlinks=False).st_blocks * 512)
            except OSError as error:  # it may have been removed meanwhile
                hidden |= error.errno in (errno.EACCES, errno.ENAMETOOLONG)
    finally:
        for fd in held:
            os.close(fd)
    return Usage(total, entries, hidden)


def used_bytes(folder: Path) -> int:
    """Bytes in use, by anybody, on the file system that holds `folder`."""
    info = os.statvfs(folder)
    return (info.f_blocks - info.f_bfree) * info.f_frsize


def private_entries(pids: list[int], places: Mapping[str, int]) -> int:
    """Entries in file systems of the command's own, given as {where it sees them: their size in bytes}."""
    total = 0
    for place, size in places.items():
        for pid in reversed(pids):
            try:
                info = os.statvfs(f"/proc/{pid}/root{place}")
            except OSError:
                continue  # it ended
            if info.f_blocks * info.f_frsize == size:  # a launcher still sees the host's there
                total += info.f_files - info.f_ffree
                break
    return total


@dataclass(frozen=True)
class Held:
    """What processes keep that no listing of files and no count of their pages shows, in bytes: `disk` in files that
    have no name any more, `memory` in sockets and in shared mappings (as if all of these were in use)."""

    disk: int
    memory: int


def held_bytes(pids: list[int]) -> Held:
    """Looked up in the descriptors and the memory maps of `pids`."""
    files: dict[tuple[int, int], int] = {}
    sockets: set[int] = set()
    mappings: dict[str, int] = {}
    for pid in pids:
        try:
            for number in os.listdir(f"/proc/{pid}/fd"):
                info = os.stat(f"/proc/{pid}/fd/{number}")
                if stat.S_ISSOCK(info.st_mode):
                    sockets.add(info.st_ino)
                elif info.st_nlink == 0 and stat.S_ISREG(info.st_mode):
                    files[info.st_dev, info.st_ino] = info.st_blocks * 512
            _shared_mappings(pid, mappings)
        except OSError:
            continue
    return Held(sum(files.values()), len(sockets) * _SOCKET_BUFFER + sum(mappings.values()))


def _shared_mappings(pid: int, found: dict[str, int]) -> None:
    """Adds {inode: bytes} of memory that processes share without a file."""
    with open(f"/proc/{pid}/maps") as file:
        for line in file:
            if line.endswith("/dev/zero (deleted)\n"):
                start, end = (int(part, 16) for part in line.split(" ", 1)[0].split("-"))
                inode = line.split()[4]
                found[inode] = max(found.get(inode, 0), end - start)
