"""Our messages and answers in Inspect's types, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.tool import ToolCall as InspectCall
from inspect_ai.tool import ToolInfo
from pydantic import ValidationError

from vivace.core.types import Completion, Message, Sampling, ToolCall, Usage


def to_chat(messages: Sequence[Message]) -> list[Any]:
    """As Inspect shows them."""
    return [_to_chat(message) for message in messages]


def _to_chat(message: Message) -> Any:
    if message.role == "system":
        return ChatMessageSystem(content=message.content)
    if message.role == "tool":
        return ChatMessageTool(content=message.content, tool_call_id=message.tool_call_id or None,
                               function=message.name or None)
    if message.role == "user":
        return ChatMessageUser(content=message.content)
    calls = [InspectCall(id=call.id or f"call_{number}", function=call.name, arguments=call.arguments)
             for number, call in enumerate(message.tool_calls)]
    return ChatMessageAssistant(content=message.content, tool_calls=calls or None)


def from_chat(messages: Sequence[ChatMessage]) -> list[Message]:
    """What Inspect's own tasks and agents ask a model."""
    return [Message(role=one.role, content=one.text, name=getattr(one, "function", None) or "",
                    tool_call_id=getattr(one, "tool_call_id", None) or "",
                    tool_calls=[ToolCall(name=call.function, arguments=call.arguments, id=call.id)
                                for call in getattr(one, "tool_calls", None) or []])
            for one in messages]


def to_tools(tools: Sequence[dict[str, Any]]) -> list[Any]:
    """Tool schemas for the log; one that Inspect cannot hold is left out there, and only there."""
    found = []
    for tool in tools:
        try:
            found.append(ToolInfo.model_validate(tool["function"]))
        except ValidationError:
            continue
    return found


def from_tools(tools: Sequence[Any]) -> list[dict[str, Any]]:
    """Inspect's tools in the form of the chat completions API."""
    return [{"type": "function", "function": {"name": tool.name, "description": tool.description,
                                              "parameters": tool.parameters.model_dump(exclude_none=True)}}
            for tool in tools]


def from_config(config: Any) -> Sampling:
    """Inspect's settings of one call; what it leaves open is greedy, so that a run can be repeated."""
    return Sampling(temperature=config.temperature or 0.0, top_p=1.0 if config.top_p is None else config.top_p,
                    max_tokens=config.max_tokens or 4096, seed=config.seed or 0)


def to_output(model: str, answer: Completion) -> Any:
    """A completion with its tokens, read from the cache apart."""
    usage = answer.usage
    reason = "max_tokens" if answer.finish_reason == "length" else "tool_calls" if answer.message.tool_calls else "stop"
    choice = ChatCompletionChoice(message=_to_chat(answer.message), stop_reason=reason)
    return ModelOutput(model=model, choices=[choice],
                       usage=ModelUsage(input_tokens=usage.input_tokens - usage.cached_tokens,
                                        input_tokens_cache_read=usage.cached_tokens, output_tokens=usage.output_tokens,
                                        total_tokens=usage.input_tokens + usage.output_tokens))


def from_usage(usage: Any) -> Usage:
    """Tokens as Inspect counted them."""
    cached = usage.input_tokens_cache_read or 0
    return Usage(input_tokens=usage.input_tokens + cached, cached_tokens=cached, output_tokens=usage.output_tokens)
