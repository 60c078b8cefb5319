"""A model behind another OpenAI-compatible endpoint as a `Target`: asked by a stream of chat completions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx

from vivace.core.types import Message
from vivace.serve.ask import Ask, CallArguments, CallStart, Count, End, Event, Finish, Shaping, Text, Thought
from vivace.serve.errors import ApiError, unsupported
from vivace.serve.writing import new_id

_CHARACTERS_PER_TOKEN = 3.4
_FINISHES: dict[str, Finish] = {"stop": "stop", "length": "length", "tool_calls": "tool_calls",
                                "function_call": "tool_calls", "content_filter": "content_filter"}  # fmt: skip


class RemoteTarget:
    """`base_url` ends in /v1; `model` is its name there. Log probabilities and gaps to fill are not passed on."""

    can_fill = False

    def __init__(
        self, name: str, base_url: str, model: str, *, api_key: str = "", context_length: int = 131_072,
        timeout_s: float = 300.0, transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name, self.model, self.context_length = name, model, context_length
        self._url = base_url.rstrip("/") + "/chat/completions"
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.AsyncClient(timeout=timeout_s, headers=headers, transport=transport)

    def count_tokens(self, ask: Ask) -> int:
        text = sum(len(m.content) + sum(len(str(c.arguments)) for c in m.tool_calls) for m in ask.messages)
        return int((text + sum(len(str(tool)) for tool in ask.tools)) / _CHARACTERS_PER_TOKEN)

    async def answer(self, ask: Ask) -> AsyncIterator[Event]:
        if ask.text is not None or ask.text_ids:
            raise unsupported("prompt", f"{self.name} is a remote model and answers conversations")
        if ask.logprobs is not None:
            raise unsupported("logprobs", f"{self.name} is a remote model")
        try:
            async with self._http.stream("POST", self._url, json=self._body(ask)) as response:
                if response.status_code >= 300:
                    raise refused(self.name, response.status_code, await response.aread())
                reader = _Reader()
                async for line in response.aiter_lines():
                    for event in reader.read(line):
                        yield event
                yield reader.end()
        except httpx.HTTPError as error:
            raise ApiError(502, f"{self.name} cannot be reached ({type(error).__name__}); check its address") from None

    async def aclose(self) -> None:
        await self._http.aclose()

    def _body(self, ask: Ask) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model, "messages": [_wire(message) for message in ask.messages], "stream": True,
            "stream_options": {"include_usage": True}, "temperature": ask.sampling.temperature,
            "top_p": ask.sampling.top_p, "seed": ask.sampling.seed,
        }  # fmt: skip
        if ask.tools:
            body["tools"] = [{"type": "function", "function": {
                "name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
            } for tool in ask.tools]  # fmt: skip
            body["tool_choice"] = ask.tool_choice
        optional: list[tuple[str, Any, Any]] = [
            ("max_tokens", ask.max_tokens, None), ("stop", list(ask.stop), []), ("reasoning_effort", ask.effort, None),
            ("frequency_penalty", ask.shaping.frequency_penalty, 0.0), ("top_k", ask.shaping.top_k, 0),
            ("presence_penalty", ask.shaping.presence_penalty, 0.0), ("min_p", ask.shaping.min_p, 0.0),
            ("repetition_penalty", ask.shaping.repeat_penalty, Shaping().repeat_penalty),
            ("parallel_tool_calls", ask.parallel_tool_calls, True),
        ]  # fmt: skip
        for name, value, default in optional:
            if value != default:
                body[name] = value
        if ask.schema is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": ask.schema}}
        if ask.shaping.bias:
            raise unsupported("logit_bias", f"{self.name} is a remote model with a tokenizer of its own")
        return body


class _Reader:
    """Chunks to events. Calls come one after the other; a piece of an earlier one cannot be placed any more."""

    def __init__(self) -> None:
        self._call: Any = None
        self._finish: Finish | None = None
        self._count = Count()

    def read(self, line: str) -> list[Event]:
        if not line.startswith("data:") or line[5:].strip() == "[DONE]":
            return []
        try:
            chunk = json.loads(line[5:])
            if chunk.get("error"):
                raise ApiError(502, str(chunk["error"])[:300])
            return self._chunk(chunk)
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            raise ApiError(502, f"the remote model sent something unreadable ({type(error).__name__})") from None

    def end(self) -> Event:
        if self._finish is None:
            raise ApiError(502, "the remote model broke off its answer")
        return End(self._finish, self._count)

    def _chunk(self, chunk: dict[str, Any]) -> list[Event]:
        if usage := chunk.get("usage"):
            details = usage.get("prompt_tokens_details") or {}
            spent = usage.get("completion_tokens_details") or {}
            self._count = Count(int(usage.get("prompt_tokens") or 0), int(details.get("cached_tokens") or 0),
                                int(usage.get("completion_tokens") or 0), int(spent.get("reasoning_tokens") or 0))
        events: list[Event] = []
        for choice in (chunk.get("choices") or [])[:1]:
            delta = choice.get("delta") or {}
            if thought := delta.get("reasoning_content") or delta.get("reasoning"):
                events.append(Thought(thought))
            if delta.get("content"):
                events.append(Text(delta["content"]))
            for call in delta.get("tool_calls") or []:
                events += self._called(call)
            if reason := choice.get("finish_reason"):
                self._finish = _FINISHES.get(reason, "stop")
        return events

    def _called(self, call: dict[str, Any]) -> list[Event]:
        function = call.get("function") or {}
        key = call.get("index") if call.get("index") is not None else call.get("id")
        events: list[Event] = []
        if self._call is None or (key is not None and key != self._call):
            self._call = key
            events.append(CallStart(call.get("id") or new_id("call_"), function["name"]))
        if function.get("arguments"):
            events.append(CallArguments(function["arguments"]))
        return events


def refused(name: str, status: int, body: bytes) -> ApiError:
    """A client's mistake stays one; what is wrong between here and there (a key, a missing model) is a 502."""
    try:
        error = json.loads(body).get("error")
        message = str(error.get("message") if isinstance(error, dict) else error)[:300]
        code = error.get("code") if isinstance(error, dict) else None
    except (ValueError, AttributeError):
        message, code = body[:200].decode("utf-8", "replace"), None
    kept = status if status in (400, 413, 422, 429) else 502
    return ApiError(kept, f"{name}: {message}", code=code if isinstance(code, str) else None)


def _wire(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.role == "tool":
        wire["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        wire["content"] = message.content or None
        wire["tool_calls"] = [{"id": call.id, "type": "function", "function": {
            "name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
        } for call in message.tool_calls]  # fmt: skip
    return wire
