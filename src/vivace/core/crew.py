"""Attempts in threads, and what Ctrl-C does to them: the first lets those under way finish, the second drops them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from vivace.core.interrupt import Interrupt

TICK_S = 0.2  # how soon Ctrl-C is answered
T = TypeVar("T")


def cores() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Crew(Generic[T]):
    """At most `workers` calls at a time; use it in a `with` block, which ends in KeyboardInterrupt after a signal.

    The threads are daemons: a call that was dropped must not keep the process from ending.
    """

    def __init__(self, workers: int, name: str) -> None:
        self._workers, self._name = workers, name
        self._jobs: SimpleQueue[tuple[Future[T], Callable[[], T]] | None] = SimpleQueue()
        self._ended: SimpleQueue[Future[T]] = SimpleQueue()
        self._open: set[Future[T]] = set()
        self._threads: list[Thread] = []
        self._interrupt, self._stack = Interrupt(), ExitStack()
        self._stopped = False

    def submit(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
        """Queue a call; once Ctrl-C has come the future is a cancelled one."""
        future: Future[T] = Future()
        if self._stopped:
            future.cancel()
            return future
        self._open.add(future)
        future.add_done_callback(self._ended.put)
        self._jobs.put((future, partial(call, *args, **kwargs)))
        if len(self._threads) < self._workers:
            thread = Thread(target=self._work, daemon=True, name=f"{self._name}-{len(self._threads)}")
            self._threads.append(thread)
            thread.start()
        return future

    def finished(self) -> Iterator[Future[T]]:
        """Futures as they finish, until none is left; more may be submitted meanwhile."""
        while self._open:
            if self._interrupt.received and not self._stopped:
                self._stop()
            try:
                future = self._ended.get(timeout=TICK_S)
            except Empty:
                continue
            self._open.discard(future)
            if not future.cancelled():
                yield future

    def __enter__(self) -> Self:
        self._stack.enter_context(self._interrupt.installed())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()
        self._cancel()
        for _ in self._threads:
            self._jobs.put(None)
        if kind is None or not issubclass(kind, KeyboardInterrupt):
            wait(self._open)  # the caller closes next what they use
        if kind is None and self._interrupt.received:
            raise KeyboardInterrupt

    def _stop(self) -> None:
        self._stopped = True
        if under_way := self._cancel():
            print(f"\nfinishing {under_way} attempts that are under way; press Ctrl-C again to drop them",
                  file=sys.stderr, flush=True)

    def _cancel(self) -> int:
        """Take back what nobody has begun; returns how many calls are under way."""
        return sum(not future.cancel() and future.running() for future in list(self._open))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
                future.set_exception(error)
            else:
                future.set_result(result)
