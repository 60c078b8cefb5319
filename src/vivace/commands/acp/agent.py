"""The agent's side of the protocol: sessions, prompts, modes, and what becomes of the changes."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from acp import PROTOCOL_VERSION, RequestError, update_agent_message_text, update_user_message_text
from acp.helpers import start_tool_call, update_available_commands
from acp.schema import (
    AcpMcpServer,
    AgentCapabilities,
    AvailableCommand,
    ClientCapabilities,
    CloseSessionResponse,
    ForkSessionResponse,
    HttpMcpServer,
    Implementation,
    InitializeResponse,
    ListSessionsResponse,
    LoadSessionResponse,
    McpServerStdio,
    NewSessionResponse,
    PromptCapabilities,
    PromptResponse,
    ResumeSessionResponse,
    SessionCapabilities,
    SessionCloseCapabilities,
    SessionConfigOptionSelect,
    SessionConfigSelectOption,
    SessionForkCapabilities,
    SessionInfo,
    SessionListCapabilities,
    SessionMode,
    SessionModeState,
    SessionResumeCapabilities,
    SetSessionConfigOptionResponse,
    SetSessionModeResponse,
    SseMcpServer,
    Usage,
)

from vivace.commands.acp.deciding import decide
from vivace.commands.acp.front import AcpFront
from vivace.commands.acp.updates import Block, kind_of, request_of, stop_reason
from vivace.commands.choosing import as_effort
from vivace.commands.live import describe
from vivace.core.errors import BadInput, VivaceError
from vivace.core.types import Trajectory
from vivace.harness.mcp import ToolServers
from vivace.harness.policy.config import Server, Settings, settings
from vivace.harness.policy.gate import Gate
from vivace.harness.policy.policy import Approval, SandboxMode
from vivace.harness.sessions.log import first_request, sessions
from vivace.harness.sessions.session import Session
from vivace.harness.sessions.turn import play_turn
from vivace.harness.tools.base import Tool
from vivace.harness.tools.text import shorten
from vivace.recipe.agent import Choice, Mode, Opened, open_choice
from vivace.sandbox import Sandbox

REQUEST_SECONDS = 3600.0
Servers = list[HttpMcpServer | SseMcpServer | AcpMcpServer | McpServerStdio]
EditorMode = Literal["agent", "auto", "ask", "plan"]
_MODES: dict[EditorMode, tuple[str, str]] = {
    "agent": ("Agent", "Works on a private copy; asks before it writes your files."),
    "auto": ("Agent, writes by itself", "Writes your files without asking, except for those that are run later."),
    "ask": ("Ask", "Only looks, and answers."),
    "plan": ("Plan", "Only looks, and plans a change."),
}
_COMMANDS = {"undo": "take back the last request: the words and the files", "policy": "what holds the agent"}


@dataclass
class _Open:
    session: Session
    front: AcpFront
    gate: Gate
    sandbox: Sandbox
    held_by: Settings
    mode: EditorMode = "agent"
    effort: str = "off"
    take_all: bool = False
    told: bool = False
    busy: bool = False
    servers: dict[str, Server] = field(default_factory=dict)
    running: ToolServers | None = None

    def add_servers(self, given: Servers | None) -> None:
        """Those of the editor, beside the user's own; the editor's are never trusted by themselves."""
        for one in given or []:
            if isinstance(one, McpServerStdio):
                name = re.sub(r"[^A-Za-z0-9-]", "-", one.name)[:32]
                new = Server(command=one.command, args=one.args, env={pair.name: pair.value for pair in one.env})
                self.servers.setdefault(f"{name}-editor" if name in self.held_by.policy.servers else name, new)

    def tools(self) -> Sequence[Tool]:
        """Of the tool servers, which are started by the first call."""
        if self.running is None:
            self.running = ToolServers({**self.held_by.servers, **self.servers}, self.session.repo).__enter__()
            for problem in self.running.problems:
                self.front.note(problem)
        return self.running.tools


class AcpAgent:
    """Implements `acp.Agent`. `choice`: which model works; loaded with the first prompt."""

    def __init__(
        self, choice: Choice, sandbox: SandboxMode | None = None, approval: Approval | None = None
    ) -> None:
        self.choice, self._wanted = choice, (sandbox, approval)
        self._opened: Opened | None = None
        self._native = threading.Lock()  # a native model answers one conversation at a time
        self._open: dict[str, _Open] = {}
        self._reads_buffers = False
        self._editor: Any = None

    def on_connect(self, conn: Any) -> None:
        self._editor = conn

    async def initialize(
        self, protocol_version: int, client_capabilities: ClientCapabilities | None = None,
        client_info: Implementation | None = None, **more: Any,
    ) -> InitializeResponse:
        files = client_capabilities.fs if client_capabilities else None
        self._reads_buffers = bool(files and files.read_text_file)
        return InitializeResponse(
            protocol_version=min(protocol_version, PROTOCOL_VERSION),
            agent_capabilities=AgentCapabilities(
                load_session=True, prompt_capabilities=PromptCapabilities(embedded_context=True),
                session_capabilities=SessionCapabilities(
                    list=SessionListCapabilities(), close=SessionCloseCapabilities(), fork=SessionForkCapabilities(),
                    resume=SessionResumeCapabilities())),
            auth_methods=[],
            agent_info=Implementation(name="vivace", title="Vivace", version=version("vivace")),
        )

    async def authenticate(self, method_id: str, **more: Any) -> None:
        """Nothing to do: the key of an endpoint is read from the environment."""

    async def new_session(
        self, cwd: str, additional_directories: list[str] | None = None, mcp_servers: Servers | None = None, **more: Any
    ) -> NewSessionResponse:
        repo = _folder(cwd)
        opened = self._begin(await self._guarded(Session.create, repo), repo)
        opened.add_servers(mcp_servers)
        self._announce(opened)
        return NewSessionResponse(session_id=opened.session.log.name, modes=_modes(opened), config_options=[
            _effort_option(opened)])

    async def load_session(
        self, cwd: str, session_id: str, mcp_servers: Servers | None = None,
        additional_directories: list[str] | None = None, **more: Any,
    ) -> LoadSessionResponse:
        """Everything that was said is told again, before the answer."""
        opened = await self._resumed(session_id)
        opened.add_servers(mcp_servers)
        self._replay(opened)
        self._announce(opened)
        await opened.front.flush()
        return LoadSessionResponse(modes=_modes(opened), config_options=[_effort_option(opened)])

    async def resume_session(
        self, session_id: str, cwd: str, additional_directories: list[str] | None = None,
        mcp_servers: Servers | None = None, **more: Any,
    ) -> ResumeSessionResponse:
        """As `load_session`, without telling anything again."""
        opened = await self._resumed(session_id)
        self._announce(opened)
        return ResumeSessionResponse(modes=_modes(opened), config_options=[_effort_option(opened)])

    async def fork_session(
        self, session_id: str, cwd: str, additional_directories: list[str] | None = None,
        mcp_servers: Servers | None = None, **more: Any,
    ) -> ForkSessionResponse:
        """A session of its own that begins where this one is."""
        old = await self._resumed(session_id)
        new = self._begin(await self._guarded(old.session.fork), old.session.repo)
        return ForkSessionResponse(session_id=new.session.log.name, modes=_modes(new), config_options=[
            _effort_option(new)])

    async def list_sessions(
        self, cwd: str | None = None, cursor: str | None = None, **more: Any
    ) -> ListSessionsResponse:
        found = [SessionInfo(session_id=name, cwd=head["repo"], title=shorten(first_request(name), 60),
                             updated_at=head["time"])
                 for name, head in sessions(_folder(cwd) if cwd else None)]
        return ListSessionsResponse(sessions=found)

    async def set_session_mode(self, session_id: str, mode_id: str, **more: Any) -> SetSessionModeResponse:
        opened = self._get(session_id)
        for mode in _MODES:
            if mode == mode_id:
                opened.mode = mode
                return SetSessionModeResponse()
        raise RequestError(-32602, f"no mode {mode_id}; the modes are {', '.join(_MODES)}")

    async def set_config_option(
        self, config_id: str, session_id: str, value: str | bool, **more: Any
    ) -> SetSessionConfigOptionResponse:
        opened = self._get(session_id)
        if config_id != "effort":
            raise RequestError(-32602, f"no option {config_id}")
        try:
            opened.effort = "off" if value == "off" else str(as_effort(str(value)))
        except BadInput as error:
            raise RequestError(-32602, str(error)) from None
        return SetSessionConfigOptionResponse(config_options=[_effort_option(opened)])

    async def prompt(self, session_id: str, prompt: list[Block], **more: Any) -> PromptResponse:
        opened = self._get(session_id)
        if opened.busy:
            raise RequestError(-32600, "a turn is under way in this session; cancel it first")
        request = request_of(prompt, opened.session.repo)
        if not request:
            raise RequestError(-32602, "the prompt is empty")
        opened.busy = True
        opened.front.begin()
        try:
            if request.startswith("/") and request[1:] in _COMMANDS:
                await self._guarded(self._command, opened, request[1:])
                await opened.front.flush()
                return PromptResponse(stop_reason="end_turn")
            done = await self._guarded(self._turn, opened, request)
            await opened.front.flush()
        except RequestError:
            await opened.front.flush()
            if opened.front.stopped():
                return PromptResponse(stop_reason="cancelled")
            raise
        finally:
            opened.busy = False
        if opened.front.stopped():
            return PromptResponse(stop_reason="cancelled")
        if done.stop_reason == "infra":
            raise RequestError(-32603, done.error)
        used = done.usage
        return PromptResponse(stop_reason=stop_reason(done.stop_reason), usage=Usage(
            total_tokens=used.input_tokens + used.output_tokens, input_tokens=used.input_tokens,
            output_tokens=used.output_tokens, cached_read_tokens=used.cached_tokens))

    async def cancel(self, session_id: str, **more: Any) -> None:
        if session_id in self._open:
            self._open[session_id].front.stop()

    async def close_session(self, session_id: str, **more: Any) -> CloseSessionResponse:
        self._close(session_id)
        return CloseSessionResponse()

    async def ext_method(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        raise RequestError.method_not_found(method)

    async def ext_notification(self, method: str, params: dict[str, Any]) -> None:
        """None is known."""

    def close(self) -> None:
        """Stop and close every session; they are kept."""
        for name in list(self._open):
            self._close(name)

    # In a thread of its own:

    def _turn(self, opened: _Open, request: str) -> Trajectory:
        model = self._model()
        if not opened.told:
            opened.front.note(opened.held_by.policy.line(opened.sandbox))
            if opened.held_by.notice:
                opened.front.note(opened.held_by.notice)
            opened.told = True
        effort = None if opened.effort == "off" else as_effort(opened.effort)
        if hasattr(model.client, "effort"):
            model.client.effort = effort
        opened.front.window = model.limits.max_context
        limits = model.limits.model_copy(update={"max_seconds": self.choice.max_seconds or REQUEST_SECONDS})
        mode: Mode = "agent" if opened.mode == "auto" else opened.mode
        native = model.client.codec is not None
        if native:
            self._native.acquire()
        try:
            done = play_turn(
                opened.session, request, model.client, limits, profile=model.profile(mode),
                sampling=self.choice.sampling, effort=effort, front=opened.front, interrupt=opened.front.interrupt,
                gate=opened.gate, sandbox=opened.sandbox, more_tools=opened.tools())  # fmt: skip
        finally:
            if native:
                self._native.release()
        for notice in opened.session.notices:
            opened.front.note(notice)
        opened.session.notices.clear()
        if opened.session.pending() and not opened.front.stopped():
            buffers = self._editor if self._reads_buffers else None
            opened.take_all = decide(opened.session, opened.front, opened.gate.policy.protected,
                                     take_all=opened.take_all or opened.mode == "auto", buffers=buffers,
                                     telemetry=opened.held_by.telemetry)
        return done

    def _command(self, opened: _Open, name: str) -> None:
        text = opened.held_by.policy.line(opened.sandbox) if name == "policy" else f"undone: {opened.session.undo()}"
        opened.front.send(update_agent_message_text(text))

    def _model(self) -> Opened:
        with self._native:
            if self._opened is None:
                self._opened = open_choice(self.choice)
            return self._opened

    # The rest.

    def _begin(self, session: Session, repo: Path) -> _Open:
        try:
            held_by = settings(repo, *self._wanted)
            sandbox = held_by.policy.open(held_by.trusted)
        except VivaceError as error:
            session.close()
            raise RequestError(-32602, str(error)) from None
        front = AcpFront(self._editor, session.log.name, repo, 131_072)
        opened = _Open(session, front, Gate(held_by.policy, front.approve), sandbox, held_by,
                       effort=self.choice.effort or "off")
        self._open[session.log.name] = opened
        return opened

    async def _resumed(self, session_id: str) -> _Open:
        if session_id not in self._open:
            session = await self._guarded(Session.resume, session_id)
            self._begin(session, session.repo)
        return self._open[session_id]

    def _announce(self, opened: _Open) -> None:
        opened.front.send(update_available_commands(
            [AvailableCommand(name=name, description=what) for name, what in _COMMANDS.items()]))

    def _replay(self, opened: _Open) -> None:
        results = {message.tool_call_id: message.content for message in opened.session.state.messages
                   if message.role == "tool"}
        for number, message in enumerate(opened.session.state.messages[1:]):
            if message.role == "user":
                opened.front.send(update_user_message_text(message.content))
            elif message.role == "assistant":
                if message.content:
                    opened.front.send(update_agent_message_text(message.content))
                for at, call in enumerate(message.tool_calls):
                    failed = results.get(call.id, "").startswith("ERROR")
                    opened.front.send(start_tool_call(f"past-{number}-{at}", describe(call), kind=kind_of(call.name),
                                                      status="failed" if failed else "completed",
                                                      raw_input=call.arguments))

    def _get(self, session_id: str) -> _Open:
        if session_id not in self._open:
            raise RequestError(-32602, f"session {session_id} is not open; load it")
        return self._open[session_id]

    def _close(self, session_id: str) -> None:
        opened = self._open.pop(session_id, None)
        if opened:
            opened.front.stop()
            if opened.running:
                opened.running.__exit__(None, None, None)
            if not opened.busy:
                opened.session.close()
                opened.front.close()

    async def _guarded(self, function: Any, *arguments: Any) -> Any:
        try:
            return await asyncio.to_thread(function, *arguments)
        except VivaceError as error:
            code = -32602 if isinstance(error, BadInput) else -32603
            raise RequestError(code, str(error)) from None


def _folder(cwd: str) -> Path:
    path = Path(cwd)
    if not path.is_absolute() or not path.is_dir():
        raise RequestError(-32602, f"{cwd} is not the absolute path of a folder")
    return path.resolve()


def _modes(opened: _Open) -> SessionModeState:
    held = opened.held_by.policy.line(opened.sandbox)
    return SessionModeState(current_mode_id=opened.mode, available_modes=[
        SessionMode(id=mode, name=name, description=f"{what} ({held})") for mode, (name, what) in _MODES.items()])


def _effort_option(opened: _Open) -> SessionConfigOptionSelect:
    return SessionConfigOptionSelect(
        type="select", id="effort", name="Reasoning effort", category="thought_level", current_value=opened.effort,
        options=[SessionConfigSelectOption(value=value, name=value) for value in ("off", "low", "medium", "high")])
