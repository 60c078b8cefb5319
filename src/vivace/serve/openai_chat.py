"""POST /v1/chat/completions and /v1/completions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vivace.serve.ask import Ask, CallArguments, CallStart, Count, End, Event, Text, Thought, TokenLogprob
from vivace.serve.errors import ApiError, bad
from vivace.serve.fields import Fields
from vivace.serve.gateway import Answering, Whole
from vivace.serve.http import body, gateway, note, sse, stream, unless_gone
from vivace.serve.parse_openai import parse_chat, parse_completion
from vivace.serve.writing import new_id


def usage(count: Count) -> dict[str, Any]:
    return {
        "prompt_tokens": count.input_tokens, "completion_tokens": count.output_tokens,
        "total_tokens": count.input_tokens + count.output_tokens,
        "prompt_tokens_details": {"cached_tokens": count.cached_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": count.reasoning_tokens, "accepted_prediction_tokens": count.accepted_tokens,
            "rejected_prediction_tokens": count.rejected_tokens,
        },
    }  # fmt: skip


async def chat_completions(request: Request) -> Response:
    data = await body(request)
    gate = gateway(request)
    ask = parse_chat(data, gate.names[0])
    fields = Fields(data)
    streamed, wants_usage = fields.flag("stream"), fields.object("stream_options").flag("include_usage")
    answering = await unless_gone(request, gate.open(ask, request.headers.get("x-vivace-budget", "")))
    headers = note(request, answering, streamed)
    head = {"id": new_id("chatcmpl-"), "created": int(time.time()), "model": answering.model}
    if streamed:
        head["object"] = "chat.completion.chunk"
        return stream(_chunks(answering, head, ask, wants_usage), answering, headers)
    choices = await unless_gone(request, gate.whole(answering, ask.n))
    return JSONResponse({
        **head, "object": "chat.completion", "usage": usage(answering.count),
        "choices": [_choice(number, whole, ask) for number, whole in enumerate(choices)],
    }, headers=headers)  # fmt: skip


def _choice(number: int, whole: Whole, ask: Ask) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": whole.text or (None if whole.calls else "")}
    if whole.thought:
        message["reasoning_content"] = whole.thought
    if whole.calls:
        message["tool_calls"] = [_call(start, json) for start, json in whole.calls]
    logprobs = None if ask.logprobs is None else {"content": [_logprob(one) for one in whole.logprobs]}
    return {"index": number, "message": message, "logprobs": logprobs, "finish_reason": whole.end.finish}


def _call(start: CallStart, json: str) -> dict[str, Any]:
    return {"id": start.id, "type": "function", "function": {"name": start.name, "arguments": json}}


def _logprob(one: Any) -> dict[str, Any]:
    return {"token": one.token, "logprob": one.logprob, "bytes": list(one.raw), "top_logprobs": [
        {"token": token, "bytes": list(raw), "logprob": logprob} for token, raw, logprob in one.top]}  # fmt: skip


async def _chunks(answering: Answering, head: dict[str, Any], ask: Ask, wants_usage: bool) -> AsyncIterator[str]:
    """One kind of content in a chunk; calls one after the other, id and name first. See docs/serving.md."""
    calls = [-1] * ask.n
    begun = [False] * ask.n
    try:
        async for number, event in answering.events:
            if isinstance(event, End) and event.error:
                yield sse(ApiError(500, event.error).body("openai"))
                return
            delta: dict[str, Any] = {}
            if isinstance(event, CallStart):
                calls[number] += 1
            delta = _delta(event, calls[number])
            if not begun[number]:
                delta = {"role": "assistant", **delta}
                begun[number] = True
            choice: dict[str, Any] = {"index": number, "delta": delta, "finish_reason": None}
            if isinstance(event, End):
                choice["finish_reason"] = event.finish
            if isinstance(event, Text) and ask.logprobs is not None:
                choice["logprobs"] = {"content": [_logprob(one) for one in event.logprobs]}
            yield sse({**head, "choices": [choice], **({"usage": None} if wants_usage else {})})
    except ApiError as error:
        yield sse(error.body("openai"))
        return
    if wants_usage:
        yield sse({**head, "choices": [], "usage": usage(answering.count)})
    yield "data: [DONE]\n\n"


def _delta(event: Event, call: int) -> dict[str, Any]:
    if isinstance(event, Text):
        return {"content": event.text}
    if isinstance(event, Thought):
        return {"reasoning_content": event.text}
    if isinstance(event, CallStart):
        return {"tool_calls": [{"index": call, **_call(event, "")}]}
    if isinstance(event, CallArguments):
        return {"tool_calls": [{"index": call, "function": {"arguments": event.json}}]}
    return {}


async def completions(request: Request) -> Response:
    """Text to text; with `suffix`, what belongs between."""
    data = await body(request)
    gate = gateway(request)
    asks = parse_completion(data, gate.names[0])
    fields = Fields(data)
    streamed, wants_usage = fields.flag("stream"), fields.object("stream_options").flag("include_usage")
    if streamed and len(asks) > 1:
        raise bad("one prompt at a time can be streamed", "prompt")
    answers = [await unless_gone(request, gate.open(ask, request.headers.get("x-vivace-budget", ""))) for ask in asks]
    headers = note(request, answers[0], streamed)
    head = {"id": new_id("cmpl-"), "object": "text_completion", "created": int(time.time()), "model": answers[0].model}
    if streamed:
        return stream(_texts(answers[0], head, asks[0], wants_usage), answers[0], headers)
    choices: list[dict[str, Any]] = []
    total = Count()
    for ask, answering in zip(asks, answers):
        for whole in await unless_gone(request, gate.whole(answering, ask.n)):
            logprobs = None if ask.logprobs is None else _legacy_logprobs(whole.logprobs)
            choices.append({"index": len(choices), "text": whole.text, "logprobs": logprobs,
                            "finish_reason": whole.end.finish})  # fmt: skip
        count = answering.count
        total = Count(total.input_tokens + count.input_tokens, total.cached_tokens + count.cached_tokens,
                      total.output_tokens + count.output_tokens, 0, total.accepted_tokens + count.accepted_tokens,
                      total.rejected_tokens + count.rejected_tokens)  # fmt: skip
    return JSONResponse({**head, "choices": choices, "usage": usage(total)}, headers=headers)


async def _texts(answering: Answering, head: dict[str, Any], ask: Ask, wants_usage: bool) -> AsyncIterator[str]:
    try:
        async for number, event in answering.events:
            if isinstance(event, End) and event.error:
                yield sse(ApiError(500, event.error).body("openai"))
                return
            if not isinstance(event, Text | End):
                continue
            choice: dict[str, Any] = {"index": number, "text": "", "finish_reason": None}
            if isinstance(event, End):
                choice["finish_reason"] = event.finish
            else:
                choice["text"] = event.text
                choice["logprobs"] = None if ask.logprobs is None else _legacy_logprobs(event.logprobs)
            yield sse({**head, "choices": [choice], **({"usage": None} if wants_usage else {})})
    except ApiError as error:
        yield sse(error.body("openai"))
        return
    if wants_usage:
        yield sse({**head, "choices": [], "usage": usage(answering.count)})
    yield "data: [DONE]\n\n"


def _legacy_logprobs(entries: Sequence[Any]) -> dict[str, Any]:
    tokens: list[TokenLogprob] = list(entries)
    return {
        "tokens": [one.token for one in tokens], "token_logprobs": [one.logprob for one in tokens],
        "top_logprobs": [{token: logprob for token, _, logprob in one.top} for one in tokens], "text_offset": None,
    }  # fmt: skip
