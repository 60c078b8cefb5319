"""Anthropic's and Ollama's requests."""

from __future__ import annotations

from typing import Any

from vivace.core.types import Message
from vivace.serve.ask import Ask
from vivace.serve.errors import bad, unsupported
from vivace.serve.fields import Fields, call, content_text, require_conversation, tool_spec
from vivace.serve.parse_openai import tool_choice
from vivace.text.grammar import ToolSpec

_OLLAMA_ROLES = {"system", "user", "assistant", "tool"}
_BUDGETS = ((2048, "low"), (8192, "medium"))  # thinking tokens


def parse_anthropic(data: Any, default_model: str, *, counting: bool = False) -> Ask:
    fields = Fields(data)
    system = content_text(fields.get("system"), "system")
    messages = [Message(role="system", content=system)] if system else []
    for number, one in enumerate(fields.items("messages")):
        messages += _anthropic_message(Fields(one, f"messages[{number}]"))
    if not any(message.role != "system" for message in messages):
        raise bad("messages is empty", "messages")
    specs = []
    for number, one in enumerate(fields.items("tools")):
        tool = Fields(one, f"tools[{number}]")
        if tool.text("type", "custom") != "custom":
            raise unsupported("tools", f"tools of type {tool.text('type')[:40]!r}")
        specs.append(tool_spec(tool, "name", "input_schema"))
    tools, choice = tool_choice(fields, specs)
    limit = fields.integer("max_tokens", 1)
    if limit is None and not counting:
        raise bad("max_tokens is required", "max_tokens")
    return Ask(
        model=fields.text("model", default_model), messages=messages, tools=tools, tool_choice=choice,
        parallel_tool_calls=not fields.object("tool_choice").flag("disable_parallel_tool_use")
        if isinstance(fields.get("tool_choice"), dict) else True,
        sampling=fields.sampling(most=1.0), max_tokens=limit, shaping=fields.shaping(),
        stop=fields.stops("stop_sequences"), effort=fields.effort(_thinking(fields), "thinking"),
    )  # fmt: skip


def _thinking(fields: Fields) -> str | None:
    """An effort for a thinking budget in tokens."""
    thinking = fields.object("thinking")
    if thinking.get("type") != "enabled":
        return None
    budget = thinking.integer("budget_tokens", 1) or 1
    return next((effort for most, effort in _BUDGETS if budget <= most), "high")


def _anthropic_message(fields: Fields) -> list[Message]:
    """Tool results come first in a user's message, and are messages of their own here."""
    role = fields.text("role")
    if role not in ("user", "assistant"):
        raise fields.wrong("role", "user or assistant")
    content = fields.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts, calls, results = [], [], []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "tool_use" and role == "assistant":
            calls.append(call(part.get("name"), part.get("input"), part.get("id"), "messages"))
        elif kind == "tool_result" and role == "user":
            said = content_text(part.get("content"), "messages")
            results.append(Message(role="tool", content=said, tool_call_id=str(part.get("tool_use_id") or "")))
        else:
            texts.append(content_text([part], "messages"))
    text = "".join(texts)
    if role == "assistant":
        return [Message(role="assistant", content=text, tool_calls=calls)]
    return [*results, *([Message(role="user", content=text)] if text or not results else [])]


def parse_ollama_chat(data: Any, default_model: str) -> Ask:
    fields = Fields(data)
    messages = []
    for number, one in enumerate(fields.items("messages")):
        wire = Fields(one, f"messages[{number}]")
        role = wire.text("role")
        if role not in _OLLAMA_ROLES:
            raise wire.wrong("role", "system, user, assistant or tool")
        if wire.items("images"):
            raise unsupported("images", "these models read text")
        calls = []
        for wanted in wire.items("tool_calls") if role == "assistant" else []:
            function = Fields(wanted, "tool_calls").object("function")
            calls.append(call(function.get("name"), function.get("arguments"), "", "messages"))
        content = content_text(wire.get("content"), "messages")
        messages.append(Message.model_validate({"role": role, "content": content, "tool_calls": calls}))
    require_conversation(messages, "messages")
    return _ollama(fields, default_model, messages=messages, tools=[
        tool_spec(Fields(one, f"tools[{n}]").object("function"), "name", "parameters")
        for n, one in enumerate(fields.items("tools"))])  # fmt: skip


def parse_ollama_generate(data: Any, default_model: str) -> Ask:
    fields = Fields(data)
    if fields.items("images"):
        raise unsupported("images", "these models read text")
    if fields.items("context"):
        raise unsupported("context", "send the whole prompt; its beginning is cached")
    prompt, suffix = fields.text("prompt", ""), fields.text("suffix", "")
    if suffix or fields.flag("raw"):
        return _ollama(fields, default_model, text=prompt, suffix=suffix or None)
    system = fields.text("system", "")
    messages = [Message(role="system", content=system)] if system else []
    return _ollama(fields, default_model, messages=[*messages, Message(role="user", content=prompt)])


def _ollama(
    fields: Fields, default_model: str, *, messages: list[Message] | None = None, text: str | None = None,
    suffix: str | None = None, tools: list[ToolSpec] | None = None,
) -> Ask:
    form = fields.get("format") or None
    if form == "json":
        form = {"type": "object"}
    if form is not None and not isinstance(form, dict):
        raise fields.wrong("format", '"json" or a JSON schema')
    options = fields.object("options")
    shaping = Fields({**options.data, "repetition_penalty": options.get("repeat_penalty")}).shaping()
    think = fields.get("think")
    effort = None if think is None or isinstance(think, bool) else think
    limit = options.integer("num_predict", -2)
    return Ask(
        model=fields.text("model", default_model), messages=messages or [], text=text, suffix=suffix,
        tools=tools or [], sampling=options.sampling(most=100.0), max_tokens=limit if limit and limit > 0 else None,
        shaping=shaping, stop=options.stops(), effort=fields.effort(effort, "think"), schema=form,
        schema_field="format",
    )  # fmt: skip
