"""Where safety filters sit: on what comes in, on tool results, on what goes out. None is installed here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Protocol

from vivace.core.types import Message
from vivace.serve.ask import Ask, CallArguments, CallStart, Count, End, Event, Text
from vivace.serve.errors import ApiError


class Filter(Protocol):
    def refuse(self, messages: Sequence[Message]) -> str | None:
        """Why this conversation is not to be answered, or None."""

    def tool_result(self, message: Message) -> Message:
        """What the model shall read instead of this tool result."""

    def stop(self, said: str) -> str | None:
        """Why this answer (its text and arguments so far) is not to go on, or None."""


def screened(ask: Ask, filters: Sequence[Filter]) -> Ask:
    """The request as the model may see it. ApiError when a filter refuses it."""
    for one in filters:
        messages = [one.tool_result(m) if m.role == "tool" else m for m in ask.messages]
        words = messages or [Message(role="user", content=(ask.text or "") + (ask.suffix or ""))]
        if (reason := one.refuse(words)) is not None:
            raise ApiError(400, reason, code="content_filter")
        ask = replace(ask, messages=messages)
    return ask


async def watched(events: AsyncIterator[Event], filters: Sequence[Filter]) -> AsyncIterator[Event]:
    """The events until a filter objects; what it objects to is not sent."""
    said = ""
    async for event in events:
        if isinstance(event, Text | CallArguments | CallStart):
            said += event.text if isinstance(event, Text) else event.json if isinstance(
                event, CallArguments) else event.name  # fmt: skip
            if any(one.stop(said) is not None for one in filters):
                yield End("content_filter", Count())
                return
        yield event
