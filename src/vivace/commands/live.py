"""What a user sees while the model works: one line a call in a terminal, or every event as a line of JSON."""

from __future__ import annotations

import sys
import threading

from rich.console import Console
from rich.text import Text

from vivace.core.types import ToolCall
from vivace.harness.hooks import Event, Hooks
from vivace.harness.tools.base import ERROR_KINDS, ROOT
from vivace.recipe.agent import Outcome

_SHOWN = ("filePath", "query", "path", "command", "prompt", "filePaths", "files", "testNames")
"""Arguments that say what a call is about, in order of preference."""


class Live(Hooks):
    """Lines for people go to `console` (standard error), and only if it is a terminal; JSON goes to standard output."""

    def __init__(self, console: Console, as_json: bool = False) -> None:
        self.console, self.as_json = console, as_json
        self._said = self._holds = ""
        self._lock = threading.Lock()  # calls that run in parallel report from threads of their own

    def event(self, event: Event) -> None:
        """See `Hooks.event`."""
        with self._lock:
            if self.as_json:
                print(event.line(), flush=True)
            elif event.type == "policy":  # always said, once there is anything to hold: bad input gets one line
                self._holds += f"{event.text}\n"
            else:
                if self._holds:
                    self.console.print(self._holds, style="dim", markup=False, soft_wrap=True, end="")
                self._holds = ""
                if self.console.is_terminal:
                    self._show(event)

    def done(self, outcome: Outcome) -> None:
        """The last line of JSON: why it ended, the answer, the patch, and whether the files have it."""
        trajectory = outcome.trajectory
        self.event(Event(type="done", turn=trajectory.turns, text=outcome.answer, reason=trajectory.stop_reason,
                         seconds=trajectory.seconds, usage=trajectory.usage,
                         data={"patch": trajectory.patch, "applied": outcome.applied and bool(trajectory.patch),
                               "held": list(outcome.held)}))

    def _show(self, event: Event) -> None:
        if event.type == "message":  # what is said last is printed as the answer
            self._said = event.text.strip()
        elif event.type == "tool_call" and self._said:
            self.console.print(self._said, style="dim", markup=False, highlight=False)
            self._said = ""
        elif event.type == "tool_result" and event.call:
            failed = event.kind in ERROR_KINDS or event.kind in ("tests_failed", "nonzero_exit")
            line = Text("- ", style="red" if failed else "green")
            line.append(describe(event.call), style="default")
            line.append(f" {event.kind.replace('_', ' ')} {event.seconds:.1f} s", style="dim")
            line.truncate(self.console.width, overflow="ellipsis")
            self.console.print(line)


def describe(call: ToolCall) -> str:
    """A call on one line: its name and what it is about."""
    about = next((call.arguments[name] for name in _SHOWN if call.arguments.get(name)), "")
    about = ", ".join(map(str, about)) if isinstance(about, list) else str(about)
    about = about.replace(f"{ROOT}/", "")
    lines = [call.arguments.get("startLine"), call.arguments.get("endLine")]
    span = "-".join(str(line) for line in lines if line) if call.name == "read_file" else ""
    text = " ".join(f"{call.name} {about}".split())
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return f"{text}:{span}" if span else text


def live(as_json: bool) -> Live:
    """For the standard streams of this process."""
    return Live(Console(file=sys.stderr, highlight=False), as_json)
