"""What one room asks of another, as protocols: nobody inherits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from vivace.core.types import Completion, Delta, Message, Sampling


class Codec(Protocol):
    """Turns messages into token ids and back; the one renderer implements it (`text.chat.Renderer`)."""

    def message(self, message: Message) -> tuple[list[int], list[int]]: ...
    def generation_prompt(self) -> list[int]: ...
    def parse(self, ids: Sequence[int]) -> Message: ...


class Client(Protocol):
    """Something that answers: the native engine, a scripted expert, or any OpenAI-compatible endpoint.

    `codec` is None for clients that only speak text; then `prompt_ids` is empty and no ids come back.
    """

    @property
    def name(self) -> str: ...
    @property
    def codec(self) -> Codec | None: ...

    def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[dict[str, Any]],
        sampling: Sampling,
        prompt_ids: Sequence[int] = (),
    ) -> Completion: ...


class Listener(Protocol):
    """Whoever hears an answer while it is given."""

    def delta(self, delta: Delta) -> None: ...
    def stopped(self) -> bool: ...


@runtime_checkable
class StreamingClient(Client, Protocol):
    """A client that can be listened to. `stream` returns what `complete` would; it asks `stopped` several times a
    second and, once that is so, gives the answer up with `core.errors.Stopped`."""

    def stream(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[dict[str, Any]],
        sampling: Sampling,
        prompt_ids: Sequence[int] = (),
        listener: Listener,
    ) -> Completion: ...
