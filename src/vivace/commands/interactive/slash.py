"""What can be said to the session rather than to the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from vivace.commands.choosing import as_effort
from vivace.commands.interactive.review import show_pending
from vivace.commands.interactive.text import plain
from vivace.core.errors import BadInput
from vivace.harness.clients.openai import OpenAIClient

if TYPE_CHECKING:
    from vivace.commands.interactive.app import Interactive

COMMANDS = {
    "/diff": "the changes that are not in your files yet",
    "/review": "decide on them",
    "/undo": "take back the last request: the words and the files",
    "/model": "the model; or another: its name, a folder, or NAME@URL",
    "/effort": "low, medium, high, or off",
    "/policy": "what holds the agent; or another: a sandbox and/or an approval",
    "/fork": "a copy of this session, to go on with later",
    "/help": "this list",
    "/quit": "end the session (also Ctrl-D); it can be resumed",
}


class Slash:
    """Runs the commands of one session."""

    def __init__(self, app: Interactive) -> None:
        self.app = app

    def run(self, line: str) -> None:
        """BadInput when there is no such command, or it does not make sense now."""
        name, _, rest = line.partition(" ")
        actions = {"/diff": self._diff, "/review": self._review, "/undo": self._undo, "/model": self._model,
                   "/effort": self._effort, "/policy": self._policy, "/fork": self._fork, "/help": self._help,
                   "/quit": self._quit, "/exit": self._quit}  # fmt: skip
        if name not in actions:
            raise BadInput(f"no command {name}; /help lists them")
        actions[name](rest.strip())

    def _say(self, text: str) -> None:
        self.app.console.print(Text(text, style="dim"))

    def _diff(self, rest: str) -> None:
        show_pending(self.app.session, self.app.console)

    def _review(self, rest: str) -> None:
        if not self.app.session.pending():
            raise BadInput("no changes to decide on")
        self.app.decide()

    def _undo(self, rest: str) -> None:
        text = self.app.session.undo()
        self._say(f"undone: {plain(text)}")

    def _model(self, rest: str) -> None:
        app, choice = self.app, self.app.choice
        if not rest:
            where = f" at {choice.base_url}" if choice.base_url else ""
            self._say(f"{app.opened.client.name}{where}")
            client = app.opened.client
            if isinstance(client, OpenAIClient):
                self._say(f"the endpoint has: {', '.join(client.models())}")
            return
        name, at, url = rest.partition("@")
        if at and url.startswith(("http://", "https://")):
            app.reopen(replace(choice, model=name, base_url=url, api=None))
        elif (Path(rest) / "config.json").exists():
            app.reopen(replace(choice, model=rest, base_url=None, api=None))
        elif choice.base_url:
            app.reopen(replace(choice, model=rest))
        else:
            raise BadInput(f"no checkpoint at {rest}; give a folder with config.json, or NAME@URL for an endpoint")
        self._say(f"going on with {app.opened.client.name}")

    def _effort(self, rest: str) -> None:
        app = self.app
        if not rest:
            self._say(app.choice.effort or "off")
            return
        effort = None if rest == "off" else as_effort(rest)
        client = app.opened.client
        if not hasattr(client, "effort"):
            raise BadInput(f"{client.name} knows no effort")
        client.effort = effort
        app.choice = replace(app.choice, effort=effort)
        self._say(f"effort: {effort or 'off'}")

    def _policy(self, rest: str) -> None:
        self.app.hold(rest.split())
        self._say(self.app.gate.policy.line(self.app.sandbox))

    def _fork(self, rest: str) -> None:
        with self.app.session.fork() as new:
            self._say(f"forked: vivace agent --resume {new.log.name}")

    def _help(self, rest: str) -> None:
        for name, what in COMMANDS.items():
            line = Text(f"{name:<8} ", style="bold")
            line.append(what, style="default")
            self.app.console.print(line)
        self._say("Alt-Enter begins a new line, Ctrl-C stops a turn, arrow keys bring earlier requests")

    def _quit(self, rest: str) -> None:
        self.app.quit()
