"""One session's line to the editor: the loop runs in a thread, messages leave in order from the event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from acp import update_agent_message_text, update_agent_thought_text
from acp.helpers import ToolCallContentVariant, start_tool_call, update_tool_call
from acp.schema import AllowedOutcome, PermissionOption, RequestPermissionResponse, ToolCallUpdate, UsageUpdate

from vivace.commands.acp.updates import diffs, kind_of, locations, plan_of, shown
from vivace.commands.live import describe
from vivace.core.types import Delta, Message, Segment, ToolCall
from vivace.harness.hooks import Event, Hooks
from vivace.harness.policy.gate import Answer, Request
from vivace.harness.stopping import StopSwitch
from vivace.harness.tools.base import ERROR_KINDS
from vivace.sandbox import Workspace

OPTIONS: dict[Answer, PermissionOption] = {
    "once": PermissionOption(option_id="once", name="Allow", kind="allow_once"),
    "always": PermissionOption(option_id="always", name="Always allow in this session", kind="allow_always"),
    "no": PermissionOption(option_id="no", name="Reject", kind="reject_once"),
}


class Editor(Protocol):
    """The part of `acp.Client` that is used here."""

    async def session_update(self, session_id: str, update: Any, **more: Any) -> None: ...

    async def request_permission(
        self, session_id: str, tool_call: ToolCallUpdate, options: list[PermissionOption], **more: Any
    ) -> RequestPermissionResponse: ...


@dataclass
class _Call:
    call: ToolCall
    id: str
    kind: str = "ok"
    failed: bool = False


class AcpFront(StopSwitch, Hooks):
    """Hooks of the loop for one session; made in the event loop's thread, called from the loop's."""

    listens = True

    def __init__(self, editor: Editor, session_id: str, repo: Path, window: int) -> None:
        super().__init__()
        self.editor, self.session_id, self.repo, self.window = editor, session_id, repo, window
        self.loop = asyncio.get_running_loop()
        self._last: concurrent.futures.Future[Any] | None = None
        self._order = asyncio.Lock()
        self._calls: list[_Call] = []
        self._number = 0
        self._files: dict[str, bytes | None] = {}
        self._told = False  # the answer at hand was told piece by piece

    def send(self, update: Any) -> None:
        """From any thread; updates arrive in the order of the calls."""
        self._last = self._submit(self.editor.session_update(self.session_id, update))

    async def flush(self) -> None:
        """Wait until everything is sent."""
        if self._last is not None:
            await asyncio.wrap_future(self._last)

    def note(self, text: str) -> None:
        """Words of the harness, not the model's."""
        self.send(update_agent_thought_text(text + "\n"))

    def permit(
        self, title: str, kind: str, answers: Sequence[Answer], content: Sequence[ToolCallContentVariant] = (),
        call_id: str | None = None,
    ) -> Answer | None:
        """Ask the user, from the loop's thread; None: the question was withdrawn, or the turn stopped."""
        self._number += 1
        asked = ToolCallUpdate.model_validate({
            "tool_call_id": call_id or f"ask-{self.session_id}-{self._number}", "title": title, "kind": kind,
            "status": "pending", "content": list(content) or None})  # fmt: skip
        reply = self._submit(self.editor.request_permission(self.session_id, asked, [OPTIONS[a] for a in answers]),
                             wait=False)
        while not self.stopped():
            try:
                outcome = reply.result(timeout=0.1).outcome
            except concurrent.futures.TimeoutError:
                continue
            if not isinstance(outcome, AllowedOutcome):
                return None
            return next((answer for answer in answers if answer == outcome.option_id), "no")
        reply.cancel()
        return None

    def approve(self, request: Request) -> Answer:
        """See `policy.gate.Approve`."""
        running = next((one for one in self._calls if one.call.name == request.tool), None)
        answers: list[Answer] = ["once", "always", "no"] if request.repeatable else ["once", "no"]
        text = shown(f"{request.what}\n\n{request.why}")
        return self.permit(f"{request.tool}: {request.what}", kind_of(request.tool), answers, [text],
                           running.id if running else None) or "no"

    # Hooks of the loop.

    def delta(self, delta: Delta) -> None:
        if delta.again:
            self.note("(the answer broke off; asked again)")
        if delta.text:
            self._told = True
            self.send(update_agent_message_text(delta.text))

    def event(self, event: Event) -> None:
        if event.type == "message":
            if event.text and not self._told:
                self.send(update_agent_message_text(event.text))
            self._told = False
        elif event.type == "usage" and event.usage:
            used = event.usage.input_tokens + event.usage.output_tokens
            self.send(UsageUpdate(session_update="usage_update", used=min(used, self.window), size=self.window))
        elif event.type == "compacted":
            self.note("(the conversation was summed up to fit the window)")
        elif event.type == "tool_call" and (one := self._find(event.call)):
            self.send(update_tool_call(one.id, status="in_progress"))
            if event.call and (plan := plan_of(event.call)):
                self.send(plan)
        elif event.type == "tool_result" and (one := self._find(event.call)):
            one.kind, one.failed = event.kind, event.kind in ERROR_KINDS or event.kind == "nonzero_exit"

    def recorded(self, message: Message, workspace: Workspace, piece: Segment) -> None:
        if message.role == "assistant":
            self._calls = []
            for call in message.tool_calls:
                self._number += 1
                one = _Call(call, f"call-{self.session_id}-{self._number}")
                self._calls.append(one)
                self.send(start_tool_call(one.id, describe(call), kind=kind_of(call.name), status="pending",
                                          locations=locations(call, self.repo), raw_input=call.arguments))
        elif message.role == "tool" and self._calls:
            one, now = self._calls.pop(0), workspace.tree_changes()
            content = [*diffs(self._files, now, self.repo), shown(message.content)]
            self._files = now
            self.send(update_tool_call(one.id, status="failed" if one.failed else "completed", content=content,
                                       raw_output={"kind": one.kind}))
        else:
            self._files = workspace.tree_changes()

    def forgotten(self, kept: int) -> None:
        self.note("(taken back: it had no effect, or did not help)")
        self._calls = []

    def _find(self, call: ToolCall | None) -> _Call | None:
        return next((one for one in self._calls if one.call is call), None)

    def _submit(self, message: Coroutine[Any, Any, Any], wait: bool = True) -> concurrent.futures.Future[Any]:
        async def in_order() -> Any:
            if wait:
                async with self._order:  # a fair lock: first come, first sent
                    return await message
            async with self._order:
                pass
            return await message

        return asyncio.run_coroutine_threadsafe(in_order(), self.loop)
