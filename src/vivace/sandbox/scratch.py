"""Where workspaces live: in memory when they are small and there is plenty of it, else in the temporary folder.

Copying a package's tree takes ten to twenty times as long on a disk's file system as in memory, and an attempt makes
two copies: `python benchmarks/sandbox.py`, and the same with TMPDIR=/tmp, which keeps them on disk.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from vivace.sandbox.watch import tree_usage

MEMORY = Path("/dev/shm")
MOST_BYTES = 32 << 20
"""Trees above this stay on disk, whatever there is of memory."""
SPARE_BYTES = 2 << 30
"""Free memory, and free room in its file system, below which workspaces go to disk."""

_HOME = re.compile(r"vivace-(?P<space>\d+)-(?P<pid>\d+)-")


def make_home(base: Path, *, mounted: bool) -> Path:
    """A new private folder for one workspace with a copy of `base`.

    Args:
        mounted: commands see the workspace at a mount of its own. Without that the folder's place is part of what
            confines them, and it is always the temporary folder. So it is where TMPDIR is set: somebody chose.
    """
    memory = mounted and "TMPDIR" not in os.environ and _room() and _small(base)
    return Path(tempfile.mkdtemp(prefix=f"vivace-{_space()}-{os.getpid()}-", dir=MEMORY if memory else None))


def sweep() -> int:
    """Remove homes whose process was killed before it could; the number removed."""
    gone = 0
    for folder in {MEMORY, Path(tempfile.gettempdir())}:
        for home in folder.glob("vivace-*"):
            found = _HOME.match(home.name)
            # A process of another namespace of pids cannot be seen from here, so its homes are left alone.
            if found and int(found["space"]) == _space() and not Path("/proc", found["pid"]).exists():
                shutil.rmtree(home, ignore_errors=True)
                gone += not home.exists()
    return gone


def _room() -> bool:
    """Whether files in memory may hold programs, and there is memory to spare."""
    try:
        info = os.statvfs(MEMORY)
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        available = int(fields["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return False
    usable = os.access(MEMORY, os.W_OK) and not info.f_flag & os.ST_NOEXEC
    return usable and min(info.f_bavail * info.f_frsize, available) >= SPARE_BYTES


@lru_cache(maxsize=1024)
def _small(base: Path) -> bool:
    return tree_usage(base, MOST_BYTES >> 12).nbytes <= MOST_BYTES


def _space() -> int:
    """The namespace in which our process id means something; 0 where the system has none."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0
