"""Micro-batches on several threads.

One thread per core, each with single-threaded kernels, beats kernels that use every core: small matrices do not
split well, and on a busy machine every parallel region waits for the slowest thread. Torch releases the interpreter
lock inside its kernels. Results are consumed in order, so sums do not depend on timing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # from glibc's malloc.h


def keep_freed_memory() -> None:
    """Ask glibc not to return big blocks to the system: activations are freed and wanted again all the time.

    One arena for all threads, because the others cannot hold on to blocks this large. Saves some 200,000 page
    faults per step of the nano model.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_ARENA_MAX, 1)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    except (OSError, AttributeError):
        return  # another C library: slower, nothing else


class Workers:
    """An ordered map over a pool of threads; one worker means the calling thread."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) if count > 1 else None

    def run(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Results in the order of `items`; no more than `count` + 1 are in flight, to bound memory."""
        if self._pool is None:
            yield from map(function, items)
            return
        waiting: list[Future[Any]] = []
        for item in items:
            waiting.append(self._pool.submit(function, item))
            if len(waiting) > self.count:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


@contextmanager
def open_workers(count: int, device: torch.device) -> Iterator[Workers]:
    """`count` 0: one per core this process may use on CPU, one on an accelerator."""
    threads = torch.get_num_threads()
    count = count or (threads if device.type == "cpu" else 1)
    workers = Workers(count)
    if count > 1:
        keep_freed_memory()
        torch.set_num_threads(1)
    try:
        yield workers
    finally:
        workers.close()
        torch.set_num_threads(threads)
