"""The session on a terminal: a line to type in at all times, the work in another thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.formatted_text import ANSI, AnyFormattedText
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout
from rich.console import Console
from rich.text import Text

from vivace.commands.interactive.front import Front
from vivace.commands.interactive.review import HELP, review
from vivace.commands.interactive.screen import Screen
from vivace.commands.interactive.slash import COMMANDS, Slash
from vivace.commands.interactive.text import plain
from vivace.core.errors import InfraError, VivaceError
from vivace.core.files import state_dir
from vivace.core.types import Trajectory, Usage
from vivace.harness.limits import Limits
from vivace.harness.mcp import ToolServers
from vivace.harness.policy.config import Settings, is_trusted
from vivace.harness.policy.gate import Answer, Gate, Request
from vivace.harness.policy.policy import SandboxMode, as_approval, as_sandbox
from vivace.harness.sessions.log import sessions
from vivace.harness.sessions.session import Session
from vivace.harness.sessions.turn import play_turn
from vivace.harness.telemetry.watch import Watch
from vivace.harness.tools.base import Tool
from vivace.recipe.agent import Choice, Opened, open_choice

REQUEST_SECONDS = 3600.0
"""Of one request where nothing else was said: somebody is there to stop it."""
_FINISHED = "\0finished"
_LATER = ("/help", "/quit", "/exit")  # commands that need not wait for the end of a turn


def interact(repo: Path, choice: Choice, held_by: Settings, *, resume: str | None, last: bool, yes: bool) -> None:
    """Hold a session on the terminal until the user ends it.

    Raises:
        BadInput: no such session, folder or model.
    """
    held_by.policy.open(held_by.trusted)  # before a model is loaded
    opened = open_choice(choice)
    name = resume or (next((found for found, _ in sessions(repo.resolve())), None) if last else None)
    with (Session.resume(name) if name else Session.create(repo)) as session, patch_stdout(raw=True), \
            Watch(held_by.telemetry), ToolServers(held_by.servers, session.repo) as servers:
        session.notices += servers.problems
        Interactive(session, choice, opened, held_by, servers.tools, yes=yes).run()


class Interactive:
    """The main thread: reads lines, starts turns, shows what has to be decided."""

    def __init__(
        self, session: Session, choice: Choice, opened: Opened, held_by: Settings, more_tools: Sequence[Tool] = (), *,
        yes: bool = False,
    ) -> None:
        self.session, self.choice, self.opened, self.yes = session, choice, opened, yes
        self.console = Console(force_terminal=True, highlight=False)
        self.screen = Screen(self.console, choice.prices)
        self.screen.usage, self.screen.seconds = session.usage, session.seconds
        self.front = Front(self.screen)
        self.front.wake_user = lambda: self._ending()
        self.gate = Gate(held_by.policy, self.front.ask)
        self.sandbox = held_by.policy.open(held_by.trusted)
        if held_by.notice:
            session.notices.append(held_by.notice)
        self.telemetry, self.more_tools = held_by.telemetry, more_tools
        self.done = False
        self._worker: threading.Thread | None = None
        self._over = threading.Event()  # set by the worker before it calls `_ending`
        self._ending: Callable[[], None] = lambda: None
        self._typed = ""  # what stood in the line when a turn ended
        history = FileHistory(str(state_dir() / "history"))
        self._input: PromptSession[str] = PromptSession(
            erase_when_done=True, history=history, key_bindings=self._keys(), refresh_interval=0.125,
            completer=WordCompleter(list(COMMANDS), sentence=True), complete_while_typing=False,
            bottom_toolbar=self._toolbar,
        )  # fmt: skip
        self._slash = Slash(self)

    def run(self) -> None:
        self._greet()
        before = signal.signal(signal.SIGINT, self._interrupted)  # between two prompts it is a signal, not a key
        try:
            while not self.done:
                self._tell_notices()
                for line in self.front.steering():  # typed too late for the turn before
                    self._turn(line)
                line = self._read()
                if line.startswith("/"):
                    self._guarded(lambda line=line: self._slash.run(line))  # type: ignore[misc]
                elif line:
                    self._turn(line)
        finally:
            signal.signal(signal.SIGINT, before)
            self.front.close()
        self.console.print(f"the session is kept: vivace agent --resume {self.session.log.name}", style="dim")

    def _interrupted(self, *_: object) -> None:
        if self._worker is not None:
            self.front.stop()

    def ask_key(self, question: str, keys: str) -> str:
        """One key of `keys`; Ctrl-C and Ctrl-D are the last of them."""
        bindings = KeyBindings()
        for key in keys:
            bindings.add(key)(lambda event, key=key: event.app.exit(result=key))
        for other in ("c-c", "c-d"):
            bindings.add(other)(lambda event: event.app.exit(result=keys[-1]))
        bindings.add("?")(lambda event: self.console.print(HELP, style="dim"))
        bindings.add("<any>")(lambda event: None)
        one: PromptSession[str] = PromptSession(erase_when_done=True, key_bindings=bindings,
                                                bottom_toolbar=self._toolbar)
        return one.prompt(f"{question} [{'/'.join(keys)}, ? explains] ")

    def reopen(self, choice: Choice) -> None:
        """Go on with another model. BadInput, and nothing changes, if there is none."""
        self.opened, self.choice = open_choice(choice), choice

    def hold(self, words: Sequence[str]) -> None:
        """Change the policy from here on: names of a sandbox mode, an approval mode, or both. What was answered with
        "always" is forgotten. BadInput, and nothing changes, where that does not go together."""
        if not words:
            return
        policy = self.gate.policy
        for word in words:
            if word in get_args(SandboxMode):
                policy = replace(policy, sandbox=as_sandbox(word))
            else:
                policy = replace(policy, approval=as_approval(word))
        self.sandbox = policy.open(is_trusted(self.session.repo))
        self.gate = Gate(policy, self.front.ask)

    def _turn(self, request: str) -> None:
        self.console.print()
        self.console.print(Text(f"> {request}", style="bold"))
        self.front.begin()
        self.screen.begin()
        result: list[Trajectory | VivaceError] = []
        worker = threading.Thread(target=self._work, args=(request, result), name="agent", daemon=True)
        self._worker = worker
        self._over.clear()
        worker.start()
        while not self._over.is_set():
            line = self._read()
            if question := self.front.question():
                self._ask_user(question)
            if line.startswith("/") and line not in _LATER:
                self.console.print(f"{line.split()[0]} has to wait for the end; Ctrl-C stops", style="yellow")
            elif line.startswith("/"):
                self._slash.run(line)
            elif line:
                self.front.steer(line)
                self.console.print(Text(f"> {line}  (read next)", style="bold"))
        worker.join()
        self._worker = None
        if not result:
            raise RuntimeError("the agent's thread ended without a result")  # its traceback is on the screen
        self._conclude(result[0])

    def _ask_user(self, request: Request) -> None:
        self.console.print(Text(f"{request.tool} wants: ", style="yellow").append(plain(request.what), style="bold"))
        again = f", a always ({plain(request.same)})" if request.repeatable else ""
        self.console.print(Text(f"{request.why}; y once{again}, n no", style="dim"))
        key = self.ask_key("allow it?", "yan" if request.repeatable else "yn")
        answers: dict[str, Answer] = {"y": "once", "a": "always", "n": "no"}
        self.front.reply(answers[key])

    def _work(self, request: str, result: list[Trajectory | VivaceError]) -> None:
        try:
            profile = self.opened.profile("agent")
            done = play_turn(self.session, request, self.opened.client, self._limits(), profile=profile,
                             sampling=self.choice.sampling, effort=self.choice.effort, front=self.front,
                             interrupt=self.front.interrupt, gate=self.gate, sandbox=self.sandbox,
                             more_tools=self.more_tools)
            result.append(done)
        except VivaceError as error:
            result.append(error)
        except OSError as error:  # the disk, most likely: what was written until then is there
            result.append(InfraError(f"{error.filename or 'the session'}: {error.strerror or error}"))
        finally:
            self._over.set()
            self._ending()

    def _limits(self) -> Limits:
        seconds = self.choice.max_seconds or REQUEST_SECONDS
        return self.opened.limits.model_copy(update={"max_seconds": seconds})

    def _conclude(self, result: Trajectory | VivaceError) -> None:
        if isinstance(result, VivaceError):
            self.screen.end(Usage(), 0.0)
            self.console.print(str(result), style="red", markup=False)
            return
        self.screen.end(result.usage, result.seconds)
        summary = result.answer() if result.messages and result.messages[-1].role == "tool" else ""
        if summary and result.stop_reason == "complete":
            self.console.print(Text(plain(summary)))
        if result.stop_reason == "cancelled":  # what was to be read next may not be wanted now
            self._typed = "\n".join([*self.front.steering(), *([self._typed] if self._typed else [])])
        if result.stop_reason != "complete":
            why = result.error or {"cancelled": "stopped; say how to go on"}.get(
                result.stop_reason, f"ended by its limit: {result.stop_reason}")
            self.console.print(why, style="yellow", markup=False)
        if self.session.pending() and not self.done:
            self.decide()

    def decide(self) -> None:
        """Have the pending changes reviewed."""
        review(self.session, self.console, self.ask_key, self.yes, self.gate.policy.protected,
               self.telemetry)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except VivaceError as error:
            self.console.print(str(error), style="red", markup=False)

    def _read(self) -> str:
        """A line; "" for none. Also returns when the work is done, and what was being typed stays."""
        default, self._typed = self._typed, ""

        def ready() -> None:
            app = get_app()

            def finish() -> None:
                if app.is_running and not app.is_done:
                    self._typed = app.current_buffer.text
                    app.exit(result=_FINISHED)

            loop = app.loop
            if self._worker is not None and loop is not None:
                self._ending = lambda: _call(loop, finish)
                if self._over.is_set() or self.front.question():
                    loop.call_soon(finish)

        try:
            line = self._input.prompt(self._message, default=default, pre_run=ready)
        except EOFError:
            self.quit()
            return ""
        except KeyboardInterrupt:
            return ""
        finally:
            self._ending = lambda: None
        return "" if line == _FINISHED else line.strip()

    def quit(self) -> None:
        """End the session, and a turn that is under way."""
        self.done = True
        self.front.stop()

    def _keys(self) -> KeyBindings:
        bindings = KeyBindings()

        @bindings.add("c-c")
        def _(event: KeyPressEvent) -> None:
            if self._worker is not None:
                self.front.stop()
            elif event.current_buffer.text:
                event.current_buffer.reset()
            else:
                self.console.print("Ctrl-D or /quit ends the session", style="dim")

        @bindings.add("escape", "enter")
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        return bindings

    def _message(self) -> AnyFormattedText:
        with self.console.capture() as captured:
            live = self.screen.live()
            if live:
                self.console.print(live)
        return ANSI(captured.get() + "> ")

    def _toolbar(self) -> str:
        effort = f" ({self.choice.effort})" if self.choice.effort else ""
        pending = len(self.session.state.pending)
        waiting = f" | {pending} file{'s' * (pending > 1)} to decide" if pending and self._worker is None else ""
        held = f" | {self.gate.policy.brief(self.sandbox)}"  # never cut: it has to be seen
        rest = f"{effort} | {self.screen.meter()}{waiting}"
        room = max(4, self.console.width - 2 - len(held) - len(rest))
        name = self.opened.client.name
        name = name if len(name) <= room else f"{name[: room - 1]}…"
        return f" {name}{rest}"[: max(10, self.console.width - 1 - len(held))] + held

    def _greet(self) -> None:
        line = Text("vivace", style="bold")
        line.append(f"  {self.opened.client.name} in {self.session.repo}", style="dim")
        self.console.print(line)
        self.console.print(self.gate.policy.line(self.sandbox), style="dim", markup=False)
        if self.session.state.prompts:
            self.console.print(f"going on after: {plain(self.session.state.prompts[-1]['text'])}", style="dim",
                               markup=False)
        self.console.print("/help lists the commands; what you type while it works is read next", style="dim")

    def _tell_notices(self) -> None:
        for notice in self.session.notices:
            self.console.print(notice, style="yellow", markup=False)
        self.session.notices.clear()


def _call(loop: Any, action: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(action)
    except RuntimeError:  # the prompt has ended meanwhile
        return
