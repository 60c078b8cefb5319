"""One request of a session: played by the one loop, and on the disk row by row while it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.protocols import Client
from vivace.core.types import Delta, Effort, Message, Sampling, Segment, ToolCall, Trajectory
from vivace.harness.agent import open_checkout, work_in
from vivace.harness.apply import Checkout
from vivace.harness.hooks import Event, Hooks, Past
from vivace.harness.limits import Limits
from vivace.harness.policy.gate import Gate
from vivace.harness.prompts import system_message
from vivace.harness.sessions.session import Session
from vivace.harness.tools.base import Tool
from vivace.harness.tools.registry import get_profile
from vivace.sandbox import Sandbox, Workspace


class Recording(Hooks):
    """Writes the session down; all else is the front end's."""

    def __init__(self, session: Session, checkout: Checkout, past: Past | None, front: Hooks) -> None:
        self._session, self._checkout, self._past, self._front = session, checkout, past, front
        self.listens = front.listens

    def history(self) -> Past | None:
        return self._past

    def recorded(self, message: Message, workspace: Workspace, piece: Segment) -> None:
        self._session.record(message, piece, workspace, self._checkout)
        self._front.recorded(message, workspace, piece)

    def rendered(self, segment: Segment) -> None:
        self._session.rendered(segment)

    def compacted(self, messages: Sequence[Message], segment: Segment) -> None:
        self._session.compacted(messages, segment)

    def forgotten(self, kept: int) -> None:
        self._session.forget(kept)
        self._front.forgotten(kept)

    def event(self, event: Event) -> None:
        self._front.event(event)

    def delta(self, delta: Delta) -> None:
        self._front.delta(delta)

    def refusal(self, call: ToolCall, workspace: Workspace) -> str | None:
        return self._front.refusal(call, workspace)

    def steering(self) -> Sequence[str]:
        return self._front.steering()

    def stopped(self) -> bool:
        return self._front.stopped()


def play_turn(
    session: Session, request: str, client: Client, limits: Limits, *, profile: str, sampling: Sampling,
    effort: Effort | None, front: Hooks, interrupt: int | None = None, gate: Gate | None = None,
    sandbox: Sandbox | None = None, more_tools: Sequence[Tool] = (),
) -> Trajectory:
    """Have `client` do what `request` says, with everything said and done so far behind it. The checkout stays as it
    is: what was changed is `session.pending()`.

    Args:
        effort: what the client was told, for the record.
        interrupt: a descriptor that, once readable, has a running command killed.
        gate, sandbox, more_tools: as `run_agent`.
    Raises:
        BadInput: the request cannot be worked on; the session is as it was.
    """
    settings = {"model": client.name, "native": client.codec is not None, "profile": profile, "effort": effort}
    with open_checkout(session.repo, sandbox) as (workspace, checkout):
        workspace.interrupt = interrupt
        past = _past(session, request, settings)
        before = session.log.leaf
        session.begin(request, settings)
        if past and (past.messages[0], past.segment) != (session.state.messages[0], session.state.segment):
            session.system(past.messages[0].content)
        for path in session.restore(workspace):
            session.notices.append(f"{path} was changed by somebody else; the agent's changes of it are dropped")
        try:
            done = work_in(workspace, request, client, limits, profile=profile, sampling=sampling,
                           hooks=Recording(session, checkout, past, front), gate=gate, more_tools=more_tools)
        except BadInput:
            session.abandon(before)
            raise
        session.end(done)
    return done


def _past(session: Session, request: str, settings: dict[str, Any]) -> Past | None:
    """The conversation as this model is to see it; None for a new one."""
    state = session.state
    if not state.messages:
        return None
    first, *rest = state.messages
    segment = state.segment
    if settings != state.settings:
        first, segment = system_message(get_profile(settings["profile"]), settings["native"]), Segment()
    text = "\n\n".join([*state.remarks, request])
    answers = sum(message.role == "assistant" for said, _ in state.past for message in said)
    return Past([first, *rest], segment, [*session.unanswered(), Message(role="user", content=text)], answers)
