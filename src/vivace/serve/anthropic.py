"""POST /v1/messages and /v1/messages/count_tokens, as Anthropic's clients speak them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vivace.serve.ask import CallArguments, CallStart, Count, End, Event, Text, Thought
from vivace.serve.errors import ApiError
from vivace.serve.fields import Fields
from vivace.serve.gateway import Answering, Whole
from vivace.serve.http import body, gateway, note, sse, stream, unless_gone
from vivace.serve.parse_others import parse_anthropic
from vivace.serve.writing import new_id

_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


async def messages(request: Request) -> Response:
    data = await body(request)
    gate = gateway(request)
    ask = parse_anthropic(data, gate.names[0])
    streamed = Fields(data).flag("stream")
    answering = await unless_gone(request, gate.open(ask, request.headers.get("x-vivace-budget", "")))
    headers = note(request, answering, streamed)
    if streamed:
        size = gate.targets[answering.model].count_tokens(ask)
        return stream(_lines(answering, size), answering, headers)
    whole = (await unless_gone(request, gate.whole(answering, 1)))[0]
    return JSONResponse({
        **_head(answering.model), "content": _content(whole), "usage": _usage(answering.count), **_reason(whole.end),
    }, headers=headers)  # fmt: skip


async def count_tokens(request: Request) -> Response:
    gate = gateway(request)
    ask = parse_anthropic(await body(request), gate.names[0], counting=True)
    return JSONResponse({"input_tokens": gate.find(ask.model).count_tokens(ask)})


def _head(model: str) -> dict[str, Any]:
    return {"id": new_id("msg_"), "type": "message", "role": "assistant", "model": model}


def _usage(count: Count) -> dict[str, int]:
    return {"input_tokens": count.input_tokens - count.cached_tokens, "cache_read_input_tokens": count.cached_tokens,
            "cache_creation_input_tokens": 0, "output_tokens": count.output_tokens}  # fmt: skip


def _reason(end: End) -> dict[str, Any]:
    reason = "stop_sequence" if end.stop is not None else _REASONS[end.finish]
    return {"stop_reason": reason, "stop_sequence": end.stop}


def _content(whole: Whole) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if whole.thought:
        blocks.append({"type": "thinking", "thinking": whole.thought, "signature": ""})
    if whole.text:
        blocks.append({"type": "text", "text": whole.text})
    return blocks + [{"type": "tool_use", "id": start.id, "name": start.name, "input": json.loads(text or "{}")}
                     for start, text in whole.calls]  # fmt: skip


async def _lines(answering: Answering, size: int) -> AsyncIterator[str]:
    head = {**_head(answering.model), "content": [], "stop_reason": None, "stop_sequence": None,
            "usage": {"input_tokens": size, "output_tokens": 0}}  # fmt: skip
    yield _sse("message_start", message=head)
    blocks = _Blocks()
    try:
        async for _, event in answering.events:
            if not isinstance(event, End):
                for line in blocks.take(event):
                    yield line
                continue
            if event.error:
                raise ApiError(500, event.error)
            for line in blocks.shut():
                yield line
            yield _sse("message_delta", delta=_reason(event), usage=_usage(event.count))
    except ApiError as error:
        yield sse(error.body("anthropic"), "error")
        return
    yield _sse("message_stop")


class _Blocks:
    """Content blocks: one is open at a time."""

    def __init__(self) -> None:
        self._index = -1
        self._kind = ""

    def take(self, event: Event) -> list[str]:
        if isinstance(event, Text):
            return [*self._open("text", {"type": "text", "text": ""}), self._delta("text_delta", text=event.text)]
        if isinstance(event, Thought):
            block: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": ""}
            return [*self._open("thinking", block), self._delta("thinking_delta", thinking=event.text)]
        if isinstance(event, CallStart):
            block = {"type": "tool_use", "id": event.id, "name": event.name, "input": {}}
            return [*self.shut(), *self._open("tool_use", block)]
        return [self._delta("input_json_delta", partial_json=event.json)] if isinstance(event, CallArguments) else []

    def shut(self) -> list[str]:
        if not self._kind:
            return []
        self._kind = ""
        return [_sse("content_block_stop", index=self._index)]

    def _open(self, kind: str, block: dict[str, Any]) -> list[str]:
        if kind == self._kind:
            return []
        lines = self.shut()
        self._kind = kind
        self._index += 1
        return [*lines, _sse("content_block_start", index=self._index, content_block=block)]

    def _delta(self, kind: str, **fields: Any) -> str:
        return _sse("content_block_delta", index=self._index, delta={"type": kind, **fields})


def _sse(kind: str, **fields: Any) -> str:
    return sse({"type": kind, **fields}, kind)
