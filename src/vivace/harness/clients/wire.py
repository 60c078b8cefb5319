"""What both dialects of OpenAI's API have in common: calls, text and usage as they come over the wire."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Protocol

from vivace.core.errors import BadAnswer
from vivace.core.types import Completion, Delta, Effort, Message, Sampling, ToolCall, Usage
from vivace.harness.tools.registry import INVALID_JSON

_CHARACTERS_PER_TOKEN = 3.4
PNG = "data:image/png;base64,"


class Assembler(Protocol):
    """Puts an answer together out of the events of a stream."""

    @property
    def ended(self) -> bool:
        """Whether the endpoint has said that the answer is whole."""

    def feed(self, event: dict[str, Any]) -> Iterable[Delta]: ...
    def completion(self, sent: Any) -> Completion: ...


class Dialect(Protocol):
    """One API: how a request is written, and how its answer is read, whole or as a stream."""

    path: str
    """Of its address, after /v1."""

    def body(self, model: str, messages: Iterable[Message], tools: Iterable[dict[str, Any]], sampling: Sampling,
             effort: Effort | None, stream: bool) -> dict[str, Any]: ...  # fmt: skip
    def whole(self, data: dict[str, Any], sent: Any) -> Completion: ...
    def assembler(self) -> Assembler: ...


def unusable(detail: object) -> BadAnswer:
    """An answer whose parts are not where they belong."""
    return BadAnswer(f"the endpoint's answer has no usable message ({detail!r}); is it a chat endpoint?")


def read_call(name: Any, raw: Any, call_id: Any, number: int) -> ToolCall:
    """A call as the wire has it: `raw` is the text of a JSON object, or already the object.

    What is none is handed on as it is, for the harness to answer. BadAnswer when there is no name.
    """
    if not isinstance(name, str) or not name:
        raise unusable(f"call {number} has no name")
    arguments: Any = raw or {}
    if isinstance(raw, str) and raw:
        try:
            arguments = json.loads(raw, strict=False)
        except (ValueError, RecursionError):
            arguments = None
    if not isinstance(arguments, dict):
        arguments = {INVALID_JSON: raw if isinstance(raw, str) else json.dumps(raw)}
    return ToolCall(name=name, arguments=arguments, id=call_id if isinstance(call_id, str) and call_id else
                    f"call_{number}")


def write_arguments(call: ToolCall) -> str:
    """Arguments as JSON text."""
    if set(call.arguments) == {INVALID_JSON}:
        return "{}"  # many servers parse the arguments of earlier turns and fail on what is not JSON
    return json.dumps(call.arguments, ensure_ascii=False)


def read_text(content: Any) -> str:
    """Content as text; some servers send a list of parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def read_usage(usage: Any, message: Message, sent: Any) -> Usage:
    """The server's counts, or estimates where it gives none that can be true, so that budgets hold all the same."""
    counts = usage if isinstance(usage, dict) else {}
    prompt = _count(counts.get("prompt_tokens", counts.get("input_tokens")))
    output = _count(counts.get("completion_tokens", counts.get("output_tokens")))
    details = counts.get("prompt_tokens_details", counts.get("input_tokens_details"))
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    written = message.content + "".join(call.name + str(call.arguments) for call in message.tool_calls)
    if prompt is None:
        prompt = int(len(json.dumps(sent, default=str)) / _CHARACTERS_PER_TOKEN)
    if output is None or (output == 0 and written):
        output = max(1, int(len(written) / _CHARACTERS_PER_TOKEN))
    return Usage(input_tokens=prompt, cached_tokens=min(cached or 0, prompt), output_tokens=output)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40 else None
