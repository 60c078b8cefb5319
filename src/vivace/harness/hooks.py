"""How a front end takes part in an attempt without another loop: it watches, answers, steers and stops.

The loop calls these methods; the base class does nothing, so training and evaluation run without any of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from vivace.core.types import Delta, Message, Record, Segment, ToolCall, Usage
from vivace.sandbox import Workspace

EventType = Literal["message", "tool_call", "tool_result", "usage", "steering", "compacted", "policy", "done"]


@dataclass(frozen=True)
class Past:
    """A conversation to go on with. `segment`: its exact ids for a native model; empty: they are rendered anew. `more`
    joins it before the model is asked: what the user says now, for one. `answers`: how many were summed up before."""

    messages: Sequence[Message]
    segment: Segment = field(default_factory=Segment)
    more: Sequence[Message] = ()
    answers: int = 0


class Event(Record):
    """Something that happened, in the order it did; a line of `vivace agent --json`. Only the fields that its type
    uses are set.

    message: an answer as a whole (`text`). tool_call: a call about to be run. tool_result: what came of it (`text`,
    `kind`, `seconds`). usage: tokens so far. steering: a line of the user's that the model will read next. compacted:
    the conversation goes on with this summary of it (`text`). policy: what holds the agent (`text`), before anything
    else. done: the end (`reason`; `data` holds the patch and
    whether it was applied).
    """

    type: EventType
    turn: int = 0
    text: str = ""
    call: ToolCall | None = None
    kind: str = ""
    seconds: float = 0.0
    usage: Usage | None = None
    reason: str = ""
    data: Any = None

    def line(self) -> str:
        """One line of JSON without the fields that are not set."""
        return self.model_dump_json(exclude_defaults=True)


class Hooks:
    """Everything is optional: override what is needed."""

    listens = False
    """Whether answers are wanted piece by piece (`delta`), of clients that can tell them so."""

    def history(self) -> Past | None:
        """The conversation to go on with; None: the opening of a new one."""
        return None

    def event(self, event: Event) -> None:
        """Told of everything, in order; events of parallel calls may come from other threads than the loop's."""

    def delta(self, delta: Delta) -> None:
        """A piece of the answer that is being given."""

    def recorded(self, message: Message, workspace: Workspace, piece: Segment) -> None:
        """A message has joined the conversation, and the files are as they are after it. `piece`: what the segment has
        grown by since the message before, for a native model."""

    def rendered(self, segment: Segment) -> None:
        """The conversation to go on with had no ids for this model; these are they."""

    def compacted(self, messages: Sequence[Message], segment: Segment) -> None:
        """The conversation goes on with these messages alone, in a segment of its own."""

    def forgotten(self, kept: int) -> None:
        """Only the first `kept` messages are left of the conversation, and the files are as they were after them."""

    def refusal(self, call: ToolCall, workspace: Workspace) -> str | None:
        """Why a call must not be run, for the model; None lets it. A front end asks its user here."""
        return None

    def steering(self) -> Sequence[str]:
        """Lines that the user has typed since the last time: they join the conversation after the results."""
        return ()

    def stopped(self) -> bool:
        """Whether the user wants the attempt to end at the next safe place: an answer that is listened to is given up,
        a call that has not begun is not run."""
        return False
