"""OpenAI's requests: /v1/chat/completions, /v1/completions, /v1/responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from vivace.core.types import Message
from vivace.serve.ask import Ask
from vivace.serve.errors import bad, unsupported
from vivace.serve.fields import (
    MAX_CHOICES,
    MAX_TOP_LOGPROBS,
    Fields,
    answer_schema,
    call,
    content_text,
    named_tool,
    require_conversation,
    tool_spec,
)
from vivace.text.grammar import ToolSpec

Choice = Literal["auto", "none", "required"]
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
          "function": "tool"}  # fmt: skip


def parse_chat(data: Any, default_model: str) -> Ask:
    fields = Fields(data)
    _refuse_chat(fields)
    messages = [chat_message(Fields(one, f"messages[{n}]")) for n, one in enumerate(fields.items("messages"))]
    require_conversation(messages, "messages")
    tools, choice = tool_choice(fields, [_function_tool(one, n) for n, one in enumerate(fields.items("tools"))])
    ask = Ask(
        model=fields.text("model", default_model), messages=messages, tools=tools, tool_choice=choice,
        parallel_tool_calls=fields.flag("parallel_tool_calls", True), sampling=fields.sampling(),
        max_tokens=fields.integer("max_completion_tokens", 1) or fields.integer("max_tokens", 1),
        shaping=fields.shaping(), stop=fields.stops(), n=fields.integer("n", 1, MAX_CHOICES) or 1,
        logprobs=(fields.integer("top_logprobs", 0, MAX_TOP_LOGPROBS) or 0) if fields.flag("logprobs") else None,
        effort=fields.effort(fields.get("reasoning_effort"), "reasoning_effort"),
        prediction=content_text(fields.object("prediction").get("content"), "prediction.content"),
        affinity=str(fields.get("prompt_cache_key") or ""),
        schema=answer_schema(fields.get("response_format"), "response_format"),
    )  # fmt: skip
    if fields.get("top_logprobs") and ask.logprobs is None:
        raise bad("top_logprobs needs logprobs: true", "top_logprobs")
    return ask


def parse_completion(data: Any, default_model: str) -> list[Ask]:
    """One request for each prompt."""
    fields = Fields(data)
    if fields.flag("echo"):
        raise unsupported("echo", "prompts are not repeated")
    if (fields.integer("best_of", 1) or 1) > (fields.integer("n", 1) or 1):
        raise unsupported("best_of", "ask for n and choose")
    ask = Ask(
        model=fields.text("model", default_model), text="", sampling=fields.sampling(),
        max_tokens=fields.integer("max_tokens", 1) or 16, shaping=fields.shaping(), stop=fields.stops(),
        n=fields.integer("n", 1, MAX_CHOICES) or 1, logprobs=fields.integer("logprobs", 0, MAX_TOP_LOGPROBS),
        suffix=fields.text("suffix", "") or None,
    )  # fmt: skip
    prompt = fields.get("prompt")
    if isinstance(prompt, str):
        prompts: list[Any] = [prompt]
    elif isinstance(prompt, list) and prompt and all(type(item) is int for item in prompt):
        prompts = [prompt]
    else:
        prompts = fields.items("prompt")
    if not 0 < len(prompts) <= 64 or len(prompts) * ask.n > 128:
        raise bad("prompt must be a text, a list of token ids, or a list of 1 to 64 of these", "prompt")
    return [_with_prompt(ask, one) for one in prompts]


def _with_prompt(ask: Ask, prompt: Any) -> Ask:
    if isinstance(prompt, str):
        return replace(ask, text=prompt)
    if isinstance(prompt, list) and prompt and all(type(item) is int for item in prompt):
        if ask.suffix is not None:
            raise unsupported("suffix", "with token ids; send the prompt as text")
        return replace(ask, text=None, text_ids=prompt)
    raise bad("prompt must be a text or a list of token ids", "prompt")


def parse_response(data: Any, default_model: str) -> Ask:
    fields = Fields(data)
    if fields.get("previous_response_id"):
        raise unsupported("previous_response_id", "responses are not stored; send the whole input")
    if fields.get("conversation"):
        raise unsupported("conversation", "conversations are not stored; send the whole input")
    if fields.flag("background"):
        raise unsupported("background", "answers are given at once")
    messages = [Message(role="system", content=text)] if (text := fields.text("instructions", "")) else []
    given = fields.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else fields.items("input")
    for number, item in enumerate(items):
        _add_item(messages, Fields(item, f"input[{number}]"))
    require_conversation(messages, "input")
    functions = [one for one in fields.items("tools") if isinstance(one, dict) and one.get("type") == "function"]
    specs = [tool_spec(Fields(one, f"tools[{n}]"), "name", "parameters") for n, one in enumerate(functions)]
    tools, choice = tool_choice(fields, specs)
    return Ask(
        model=fields.text("model", default_model), messages=messages, tools=tools, tool_choice=choice,
        parallel_tool_calls=fields.flag("parallel_tool_calls", True), sampling=fields.sampling(),
        max_tokens=fields.integer("max_output_tokens", 1), shaping=fields.shaping(),
        effort=fields.effort(fields.object("reasoning").get("effort"), "reasoning.effort"),
        affinity=str(fields.get("prompt_cache_key") or ""),
        schema=answer_schema(fields.object("text").get("format"), "text.format"), schema_field="text.format",
    )  # fmt: skip


def _add_item(messages: list[Message], item: Fields) -> None:
    """Calls of one turn are items of their own here; they belong to one assistant message."""
    kind = item.get("type") or "message"
    where = "input"
    if kind == "message":
        role = _ROLES.get(item.text("role"))
        if role is None or role == "tool":
            raise item.wrong("role", "user, assistant, system or developer")
        content = content_text(item.get("content"), where)
        messages.append(Message.model_validate({"role": role, "content": content}))
    elif kind == "function_call":
        made = call(item.get("name"), item.get("arguments"), item.get("call_id"), where)
        if messages and messages[-1].role == "assistant":
            messages[-1].tool_calls.append(made)
        else:
            messages.append(Message(role="assistant", tool_calls=[made]))
    elif kind == "function_call_output":
        content = content_text(item.get("output"), where)
        messages.append(Message(role="tool", content=content, tool_call_id=item.text("call_id", "")))
    elif kind != "reasoning":
        raise unsupported(where, f"items of type {str(kind)[:40]!r}")


def chat_message(fields: Fields) -> Message:
    role = _ROLES.get(fields.text("role"))
    if role is None:
        raise fields.wrong("role", "system, developer, user, assistant or tool")
    calls = []
    for number, one in enumerate(fields.items("tool_calls") if role == "assistant" else []):
        wire = Fields(one, f"tool_calls[{number}]")
        function = wire.object("function")
        calls.append(call(function.get("name"), function.get("arguments"), wire.get("id"), "messages"))
    return Message.model_validate({
        "role": role, "content": content_text(fields.get("content"), "messages"), "tool_calls": calls,
        "tool_call_id": fields.text("tool_call_id", "") if role == "tool" else "",
    })  # fmt: skip


def tool_choice(fields: Fields, tools: Sequence[ToolSpec]) -> tuple[list[ToolSpec], Choice]:
    """The tools that may be called, and whether one must."""
    choice = fields.get("tool_choice")
    if len({tool.name for tool in tools}) < len(tools):
        raise bad("two tools have the same name", "tools")
    if isinstance(choice, dict):
        kind = choice.get("type")
        if kind in ("auto", "none", "required"):
            choice = kind
        elif kind in ("any",):
            choice = "required"
        else:
            return named_tool(choice, tools), "required"
    if choice in (None, "auto"):
        return list(tools), "auto"
    if choice == "none":
        return list(tools), "none"
    if choice in ("required", "any"):
        if not tools:
            raise bad("tool_choice requires a call, and there are no tools", "tool_choice")
        return list(tools), "required"
    raise fields.wrong("tool_choice", "auto, none, required or an object that names a tool")


def _function_tool(data: Any, number: int) -> ToolSpec:
    fields = Fields(data, f"tools[{number}]")
    if fields.text("type", "function") != "function":
        raise unsupported("tools", f"tools of type {fields.text('type')[:40]!r}")
    return tool_spec(fields.object("function"), "name", "parameters")


def _refuse_chat(fields: Fields) -> None:
    for name in ("functions", "function_call"):
        if fields.get(name):
            raise unsupported(name, "use tools and tool_choice")
    if fields.get("audio") or any(kind != "text" for kind in fields.items("modalities")):
        raise unsupported("modalities", "these models write text")
