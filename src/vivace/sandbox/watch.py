"""What a process tree and a directory use at this moment, read from the host's side."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


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


def tree_usage(root: Path, most_entries: int = 1 << 62) -> tuple[int, int]:
    """(bytes on disk, entries) below `root`, 4 KiB an entry at least; stops counting after `most_entries`."""
    total = entries = 0
    stack = [os.fspath(root)]
    while stack and entries <= most_entries:
        try:
            with os.scandir(stack.pop()) as listing:
                for entry in listing:
                    entries += 1
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                        total += 4096
                    else:
                        total += max(4096, entry.stat(follow_symlinks=False).st_blocks * 512)
        except OSError:
            continue  # removed or closed to us meanwhile
    return total, entries


def unlinked_bytes(pids: list[int]) -> int:
    """Bytes in files that `pids` hold open but no directory names any more: a listing cannot see them."""
    sizes: dict[tuple[int, int], int] = {}
    for pid in pids:
        try:
            for number in os.listdir(f"/proc/{pid}/fd"):
                info = os.stat(f"/proc/{pid}/fd/{number}")
                if info.st_nlink == 0 and stat.S_ISREG(info.st_mode):
                    sizes[info.st_dev, info.st_ino] = info.st_blocks * 512
        except OSError:
            continue
    return sum(sizes.values())
