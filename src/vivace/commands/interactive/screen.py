"""What is seen while the model works: its words as they come, its calls, diffs, and what it has cost so far."""

from __future__ import annotations

import threading
import time

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from vivace.commands.interactive.text import diff_lines, plain, short_count
from vivace.commands.live import describe
from vivace.core.types import Delta, Usage
from vivace.harness.hooks import Event
from vivace.harness.limits import Prices, add_usage, cost
from vivace.harness.tools.base import ERROR_KINDS

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FAILED = ERROR_KINDS | {"tests_failed", "nonzero_exit"}
_PREVIEW = 12
"""Lines of a diff, or of what went wrong, shown under a call."""


class Screen:
    """Finished lines go to `console`; the line being written and what goes on are in `live`, for the prompt to show.

    Safe to use from several threads.
    """

    def __init__(self, console: Console, prices: Prices | None) -> None:
        self.console, self.prices = console, prices
        self.usage = Usage()
        """Of the turns before this one."""
        self.seconds = 0.0
        self._lock = threading.RLock()
        self._turn = Usage()
        self._began: float | None = None
        self._rest = ""  # of the text, not yet a whole line
        self._told = False  # the answer at hand was told piece by piece
        self._doing, self._since = "", 0.0
        self._written = 0

    def begin(self) -> None:
        with self._lock:
            self._began, self._turn, self._told, self._rest = time.monotonic(), Usage(), False, ""
            self._do("thinking")

    def end(self, usage: Usage, seconds: float) -> None:
        """A turn is over and has cost this much."""
        with self._lock:
            self._flush()
            self.usage, self._turn = add_usage(self.usage, usage), Usage()
            self.seconds += seconds
            self._began = None

    def delta(self, delta: Delta) -> None:
        with self._lock:
            if delta.again:
                self._flush()
                self.console.print("(the answer broke off; asked again)", style="yellow")
            if delta.text:
                self._told = True
                if self._doing == "thinking":
                    self._do("answering")
                self._say(delta.text)
            if delta.call:
                self._flush()
                self._written = 0
                self._do(f"writing {plain(delta.call)}")
            self._written += len(delta.arguments)

    def taken_back(self) -> None:
        """What was said last is forgotten, and asked for again."""
        with self._lock:
            self._flush()
            self.console.print("(taken back: it had no effect, or did not help)", style="dim")
            self._do("thinking")

    def event(self, event: Event) -> None:
        with self._lock:
            if event.type == "message":
                if event.text and not self._told:
                    self._say(event.text)
                self._flush()
                self._told = False
            elif event.type == "compacted":
                self.console.print("(the conversation was summed up to fit the window)", style="dim")
            elif event.type == "usage" and event.usage:
                self._turn = event.usage
            elif event.type == "tool_call" and event.call:
                self._do(f"running {plain(describe(event.call))}")
            elif event.type == "tool_result":
                self._result(event)
                self._do("thinking")

    def live(self) -> Text:
        """The unfinished line, and what is going on; empty when nothing is."""
        with self._lock:
            if self._began is None:
                return Text()
            now = time.monotonic()
            sign = _SPINNER[int(now * 8) % len(_SPINNER)]
            written = f" {short_count(self._written)} characters" if self._doing.startswith("writing") else ""
            state = Text(f"{sign} {self._doing}{written}, {now - self._since:.0f} s", style="cyan")
            hint = "  Ctrl-C stops"
            state.truncate(max(10, self.console.width - len(hint) - 1), overflow="ellipsis")
            state.append(hint, style="dim")
            return Text("\n").join([*([Text(self._rest)] if self._rest else []), state])

    def meter(self) -> str:
        """Tokens, money and time of the session so far."""
        with self._lock:
            used = add_usage(self.usage, self._turn)
            seconds = self.seconds + (time.monotonic() - self._began if self._began else 0)
        parts = [f"{short_count(used.input_tokens)} in", f"{short_count(used.output_tokens)} out"]
        if self.prices:
            parts.append(f"{cost(used, self.prices):.3f} spent")
        minutes, rest = divmod(int(seconds), 60)
        return ", ".join([*parts, f"{minutes}:{rest:02}"])

    def _do(self, what: str) -> None:
        self._doing, self._since = what, time.monotonic()

    def _say(self, text: str) -> None:
        """Print whole lines, broken between words where they are too long; keep the rest for later."""
        *lines, self._rest = (self._rest + plain(text).expandtabs(4)).split("\n")
        for line in lines:
            self.console.print(Text(line))
        width = self.console.width - 1
        while cell_len(self._rest) > width:
            at = self._rest.rfind(" ", 0, width)
            at = at if at > 0 else max(1, width // 2)  # no blank: wide characters may take two columns
            self.console.print(Text(self._rest[:at]))
            self._rest = self._rest[at:].removeprefix(" ")

    def _flush(self) -> None:
        if self._rest.strip():
            self.console.print(Text(self._rest))
        self._rest = ""

    def _result(self, event: Event) -> None:
        if event.call is None:
            return
        failed = event.kind in _FAILED
        line = Text("● ", style="red" if failed else "green")
        line.append(plain(describe(event.call)), style="default")
        line.append(f"  {event.kind.replace('_', ' ')}, {event.seconds:.1f} s", style="dim")
        line.truncate(self.console.width - 1, overflow="ellipsis")
        self.console.print(line)
        text = event.text
        if "\n@@ " in text:
            for shown in diff_lines(text[text.index("\n@@ ") + 1 :], _PREVIEW):
                self.console.print(Text("  ").append(shown), soft_wrap=False, overflow="ellipsis", no_wrap=True)
        elif failed:
            for said in plain(text).strip().splitlines()[:3]:
                self.console.print(Text(f"  {said}", style="dim"), overflow="ellipsis", no_wrap=True)
