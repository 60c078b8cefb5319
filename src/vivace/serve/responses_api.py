"""POST /v1/responses, stateless: events in OpenAI's order, each with its type and sequence number."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vivace.serve.ask import Ask, CallArguments, CallStart, Count, End, Event, Text, Thought
from vivace.serve.errors import ApiError
from vivace.serve.fields import Fields
from vivace.serve.gateway import Answering
from vivace.serve.http import body, gateway, note, sse, stream, unless_gone
from vivace.serve.parse_openai import parse_response
from vivace.serve.writing import new_id


async def responses(request: Request) -> Response:
    data = await body(request)
    gate = gateway(request)
    ask = parse_response(data, gate.names[0])
    streamed = Fields(data).flag("stream")
    answering = await unless_gone(request, gate.open(ask, request.headers.get("x-vivace-budget", "")))
    headers = note(request, answering, streamed)
    made = _Made(answering, ask, data)
    if streamed:
        return stream(_lines(made, answering), answering, headers)

    async def collect() -> dict[str, Any]:
        async for _ in _lines(made, answering):
            pass
        return made.response

    response = await unless_gone(request, collect())
    if made.error:
        raise ApiError(500, made.error)
    return JSONResponse(response, headers=headers)


async def _lines(made: _Made, answering: Answering) -> AsyncIterator[str]:
    for data in [made.event("response.created", response=made.response),
                 made.event("response.in_progress", response=made.response)]:  # fmt: skip
        yield sse(data, str(data["type"]))
    try:
        async for _, event in answering.events:
            for data in made.take(event):
                yield sse(data, str(data["type"]))
    except ApiError as error:
        made.error = error.message
    for data in made.close():
        yield sse(data, str(data["type"]))


class _Made:
    """The response as it grows, and the events that tell of it."""

    def __init__(self, answering: Answering, ask: Ask, data: dict[str, Any]) -> None:
        self.error = ""
        self._number = -1
        self._open: dict[str, Any] | None = None
        self._output: list[dict[str, Any]] = []
        self._end: End | None = None
        self.response: dict[str, Any] = {
            "id": new_id("resp_"), "object": "response", "created_at": int(time.time()), "status": "in_progress",
            "model": answering.model, "output": self._output, "error": None, "incomplete_details": None,
            "instructions": data.get("instructions"), "metadata": data.get("metadata") or {},
            "parallel_tool_calls": ask.parallel_tool_calls, "temperature": ask.sampling.temperature,
            "top_p": ask.sampling.top_p, "tool_choice": data.get("tool_choice") or "auto",
            "tools": data.get("tools") or [], "max_output_tokens": ask.max_tokens, "store": False,
            "previous_response_id": None, "reasoning": {"effort": ask.effort, "summary": None},
            "text": {"format": (data.get("text") or {}).get("format") or {"type": "text"}}, "truncation": "disabled",
            "usage": None,
        }  # fmt: skip

    def event(self, kind: str, **fields: Any) -> dict[str, Any]:
        self._number += 1
        return {"type": kind, "sequence_number": self._number, **fields}

    def take(self, event: Event) -> list[dict[str, Any]]:
        if isinstance(event, Text):
            return self._text(event.text)
        if isinstance(event, CallStart):
            item = {"type": "function_call", "id": new_id("fc_"), "call_id": event.id, "name": event.name,
                    "arguments": "", "status": "in_progress"}  # fmt: skip
            return [*self._shut(), self._add(item)]
        if isinstance(event, CallArguments) and self._open:
            self._open["arguments"] += event.json
            return [self.event("response.function_call_arguments.delta", delta=event.json, **self._where())]
        if isinstance(event, Thought):
            return self._think(event.text)
        if isinstance(event, End):
            self._end, self.error = event, event.error
        return []

    def close(self) -> list[dict[str, Any]]:
        events = self._shut()
        count = self._end.count if self._end else Count()
        self.response["usage"] = {
            "input_tokens": count.input_tokens, "output_tokens": count.output_tokens,
            "total_tokens": count.input_tokens + count.output_tokens,
            "input_tokens_details": {"cached_tokens": count.cached_tokens},
            "output_tokens_details": {"reasoning_tokens": count.reasoning_tokens},
        }  # fmt: skip
        status, finish = "completed", self._end.finish if self._end else "stop"
        if self.error:
            status = "failed"
            self.response["error"] = {"code": "server_error", "message": self.error}
        elif finish in ("length", "content_filter"):
            status = "incomplete"
            reason = "max_output_tokens" if finish == "length" else "content_filter"
            self.response["incomplete_details"] = {"reason": reason}
        self.response["status"] = status
        return [*events, self.event(f"response.{status}", response=self.response)]

    def _text(self, text: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        if not self._open or self._open["type"] != "message":
            events += self._shut()
            item: dict[str, Any] = {"type": "message", "id": new_id("msg_"), "role": "assistant",
                                    "status": "in_progress", "content": []}  # fmt: skip
            events.append(self._add(item))
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            item["content"] = [part]
            events.append(self.event("response.content_part.added", part=dict(part), content_index=0, **self._where()))
        assert self._open
        self._open["content"][0]["text"] += text
        return [*events, self.event("response.output_text.delta", delta=text, content_index=0, logprobs=[],
                                    **self._where())]  # fmt: skip

    def _think(self, text: str) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        if not self._open or self._open["type"] != "reasoning":
            events += self._shut()
            item: dict[str, Any] = {"type": "reasoning", "id": new_id("rs_"), "summary": [], "content": [
                {"type": "reasoning_text", "text": ""}]}  # fmt: skip
            events.append(self._add(item))
        assert self._open
        self._open["content"][0]["text"] += text
        return [*events, self.event("response.reasoning_text.delta", delta=text, content_index=0, **self._where())]

    def _where(self) -> dict[str, Any]:
        return {"item_id": (self._open or {}).get("id"), "output_index": len(self._output) - 1}

    def _add(self, item: dict[str, Any]) -> dict[str, Any]:
        self._output.append(item)
        self._open = item
        return self.event("response.output_item.added", item=dict(item), output_index=len(self._output) - 1)

    def _shut(self) -> list[dict[str, Any]]:
        item = self._open
        if item is None:
            return []
        events: list[dict[str, Any]] = []
        if item["type"] == "message":
            part = item["content"][0]
            where = {**self._where(), "content_index": 0}
            events.append(self.event("response.output_text.done", text=part["text"], logprobs=[], **where))
            events.append(self.event("response.content_part.done", part=part, **where))
        elif item["type"] == "function_call":
            events.append(self.event("response.function_call_arguments.done", arguments=item["arguments"],
                                     name=item["name"], **self._where()))  # fmt: skip
        item["status"] = "completed"
        events.append(self.event("response.output_item.done", item=item, output_index=len(self._output) - 1))
        self._open = None
        return events
