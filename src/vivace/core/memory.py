"""Peak memory of a stretch of work: this process and everything it started, sampled while it runs."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Self

INTERVAL_S = 1.0


class PeakMemory:
    """Context manager; `peak_mb` is the largest sum of resident sizes seen, in MB.

    Pages shared between a parent and its children count once for each of them, so the figure is an upper bound.
    Where /proc is missing it stays 0.
    """

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            self._sample()

    def _sample(self) -> None:
        self.peak_mb = max(self.peak_mb, round(tree_rss_mb(os.getpid()), 1))


def tree_rss_mb(pid: int) -> float:
    """Resident memory of a process and its descendants now, in MB."""
    parents: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry))
        sizes[int(entry)] = int(fields[21])
    total, queue = 0, [pid]
    while queue:
        current = queue.pop()
        total += sizes.get(current, 0)
        queue += parents.get(current, [])
    return total * os.sysconf("SC_PAGE_SIZE") / 1e6
