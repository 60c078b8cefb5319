"""A client whose answers come from a function: experts that write demonstrations, and deterministic tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from vivace.core.protocols import Codec
from vivace.core.types import Completion, Message, Sampling, Usage

Policy = Callable[[Sequence[Message]], Message]


class AnswerCodec(Codec, Protocol):
    """A codec that can also write answers (`text.chat.Renderer`)."""

    def answer(self, message: Message) -> list[int]: ...


class ScriptedClient:
    """Answers `policy(messages)`, as token ids when there is a codec; cut at `max_tokens` like a real model's."""

    def __init__(self, codec: AnswerCodec | None, policy: Policy, name: str = "scripted") -> None:
        self.codec: Codec | None = codec
        self._answer = codec.answer if codec else None
        self.policy = policy
        self.name = name

    def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[dict[str, Any]],
        sampling: Sampling,
        prompt_ids: Sequence[int] = (),
    ) -> Completion:
        message = self.policy(messages)
        if self.codec is None or self._answer is None:
            usage = Usage(output_tokens=len(message.content.split()) + len(message.tool_calls))
            return Completion(message=message, usage=usage)
        ids = self._answer(message)
        cut = len(ids) > sampling.max_tokens
        ids = ids[: sampling.max_tokens]
        return Completion(
            message=self.codec.parse(ids),
            ids=ids,
            logprobs=[0.0] * len(ids),
            finish_reason="length" if cut else "stop",
            usage=Usage(input_tokens=len(prompt_ids), output_tokens=len(ids)),
        )
