"""The link between the terminal and the loop: what the user types and stops, in another thread than the work."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, Queue

from vivace.commands.interactive.screen import Screen
from vivace.core.types import Delta
from vivace.harness.hooks import Event, Hooks
from vivace.harness.policy.gate import Answer, Request


class Front(Hooks):
    """`steer` and `stop` may be called at any time. `interrupt` is a descriptor that becomes readable by a stop."""

    listens = True

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._lines: list[str] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._question: tuple[Request, Queue[Answer]] | None = None
        self.wake_user: Callable[[], None] = lambda: None
        """Called when there is a question for `question`."""
        self.interrupt, self._wake = os.pipe()
        os.set_blocking(self.interrupt, False)

    def begin(self) -> None:
        """Forget an earlier stop."""
        self._stop.clear()
        with suppress(BlockingIOError):
            os.read(self.interrupt, 4096)

    def steer(self, line: str) -> None:
        with self._lock:
            self._lines.append(line)

    def stop(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
            os.write(self._wake, b"x")

    def ask(self, request: Request) -> Answer:
        """Called by the work: waits for what the user says, or a stop."""
        reply: Queue[Answer] = Queue()
        self._question = (request, reply)
        self.wake_user()
        while True:
            try:
                return reply.get(timeout=0.1)
            except Empty:
                if self._stop.is_set():
                    self._question = None
                    return "no"

    def question(self) -> Request | None:
        """What the work waits to be told."""
        held = self._question
        return held[0] if held else None

    def reply(self, answer: Answer) -> None:
        """What the user says to `question`."""
        held, self._question = self._question, None
        if held:
            held[1].put(answer)

    def close(self) -> None:
        os.close(self.interrupt)
        os.close(self._wake)

    def event(self, event: Event) -> None:
        self.screen.event(event)

    def delta(self, delta: Delta) -> None:
        self.screen.delta(delta)

    def forgotten(self, kept: int) -> None:
        self.screen.taken_back()

    def steering(self) -> Sequence[str]:
        """What was typed since the last time; also called to fetch what came too late for a turn."""
        with self._lock:
            taken, self._lines = self._lines, []
        return taken

    def stopped(self) -> bool:
        return self._stop.is_set()
