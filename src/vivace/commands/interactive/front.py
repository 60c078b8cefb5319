"""The link between the terminal and the loop: what the user types and stops, in another thread than the work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, Queue

from vivace.commands.interactive.screen import Screen
from vivace.core.types import Delta
from vivace.harness.hooks import Event, Hooks
from vivace.harness.policy.gate import Answer, Request
from vivace.harness.stopping import StopSwitch


class Front(StopSwitch, Hooks):
    """`steer` and `stop` may be called at any time."""

    listens = True

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self.screen = screen
        self._lines: list[str] = []
        self._lock = threading.Lock()
        self._question: tuple[Request, Queue[Answer]] | None = None
        self.wake_user: Callable[[], None] = lambda: None
        """Called when there is a question for `question`."""

    def steer(self, line: str) -> None:
        with self._lock:
            self._lines.append(line)

    def ask(self, request: Request) -> Answer:
        """Called by the work: waits for what the user says, or a stop."""
        reply: Queue[Answer] = Queue()
        self._question = (request, reply)
        self.wake_user()
        while True:
            try:
                return reply.get(timeout=0.1)
            except Empty:
                if self.stopped():
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
