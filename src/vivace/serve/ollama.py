"""Ollama's API: what VS Code's, Continue's and Cline's Ollama providers call. Lines of JSON; durations in ns."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from vivace.core.files import digest
from vivace.serve.ask import Ask, CallArguments, CallStart, Count, End, Target, Text, Thought
from vivace.serve.errors import ApiError
from vivace.serve.fields import Fields
from vivace.serve.gateway import Answering, Whole
from vivace.serve.http import body, gateway, note, stream, unless_gone
from vivace.serve.parse_others import parse_ollama_chat, parse_ollama_generate

VERSION = "0.12.0"  # of the API that is spoken here; VS Code wants 0.6.4 or later
ARCHITECTURE = "vivace"


async def home(request: Request) -> Response:
    return PlainTextResponse("Ollama is running")


async def version(request: Request) -> Response:
    return JSONResponse({"version": VERSION})


async def tags(request: Request) -> Response:
    gate = gateway(request)
    return JSONResponse({"models": [_row(name, gate.started, gate.find(name)) for name in gate.names]})


async def running(request: Request) -> Response:
    gate = gateway(request)
    rows = [{**_row(name, gate.started, target), "expires_at": "9999-12-31T00:00:00Z", "size_vram": 0,
             "context_length": target.context_length} for name, target in gate.targets.items()]  # fmt: skip
    return JSONResponse({"models": rows})


async def show(request: Request) -> Response:
    fields = Fields(await body(request))
    target = gateway(request).find(fields.text("model", "") or fields.text("name"))
    return JSONResponse({
        "modelfile": "", "parameters": f"num_ctx {target.context_length}", "details": _details(),
        "template": "{{ .Prompt }}{{ if .Suffix }}{{ .Suffix }}{{ end }}" if target.can_fill else "{{ .Prompt }}",
        "capabilities": _capabilities(target), "modified_at": _time(gateway(request).started), "model_info": {
            "general.architecture": ARCHITECTURE, "general.basename": target.name,
            f"{ARCHITECTURE}.context_length": target.context_length,
        },
    })  # fmt: skip


async def chat(request: Request) -> Response:
    data = await body(request)
    return await _answer(request, data, parse_ollama_chat(data, gateway(request).names[0]), chat=True)


async def generate(request: Request) -> Response:
    data = await body(request)
    ask = parse_ollama_generate(data, gateway(request).names[0])
    if not (data.get("prompt") or data.get("suffix")):  # how clients load a model
        gateway(request).find(ask.model)
        done = {"model": ask.model, "created_at": _now(), "response": "", "done": True, "done_reason": "load"}
        return JSONResponse(done)
    return await _answer(request, data, ask, chat=False)


async def _answer(request: Request, data: dict[str, Any], ask: Ask, *, chat: bool) -> Response:
    start = time.perf_counter_ns()
    streamed = Fields(data).flag("stream", True)
    gate = gateway(request)
    answering = await unless_gone(request, gate.open(ask, request.headers.get("x-vivace-budget", "")))
    headers = note(request, answering, streamed)
    if streamed:
        lines = _lines(answering, ask.model, start, chat)
        return stream(lines, answering, headers, "application/x-ndjson")
    whole = (await unless_gone(request, gate.whole(answering, 1)))[0]
    calls = [_call(one, text) for one, text in whole.calls]
    last = _last(whole, answering, start)
    return JSONResponse({"model": ask.model, "created_at": _now(), **_said(whole.text, whole.thought, calls, chat),
                         **last}, headers=headers)  # fmt: skip


async def _lines(answering: Answering, model: str, start: int, chat: bool) -> AsyncIterator[str]:
    """Text as it comes; a call when it is whole, because its arguments are an object here."""
    whole = Whole()

    def line(data: dict[str, Any]) -> str:
        return json.dumps({"model": model, "created_at": _now(), **data}, ensure_ascii=False) + "\n"

    def finished_call() -> list[str]:
        if not whole.calls:
            return []
        begun, text = whole.calls.pop()
        return [line({**_said("", "", [_call(begun, text)], chat), "done": False})]

    try:
        async for _, event in answering.events:
            if isinstance(event, End) and event.error:
                raise ApiError(500, event.error)
            if not isinstance(event, CallArguments):
                for one in finished_call():
                    yield one
            if isinstance(event, CallStart | CallArguments | End):
                whole.add(event)
            elif isinstance(event, Text):
                yield line({**_said(event.text, "", [], chat), "done": False})
            elif isinstance(event, Thought):
                yield line({**_said("", event.text, [], chat), "done": False})
    except ApiError as error:
        yield json.dumps(error.body("ollama")) + "\n"
        return
    yield line({**_said("", "", [], chat), **_last(whole, answering, start)})


def _said(text: str, thought: str, calls: list[dict[str, Any]], chat: bool) -> dict[str, Any]:
    thinking = {"thinking": thought} if thought else {}
    if not chat:
        return {"response": text, **thinking}
    return {"message": {"role": "assistant", "content": text, **thinking, **({"tool_calls": calls} if calls else {})}}


def _call(start: CallStart, text: str) -> dict[str, Any]:
    return {"id": start.id, "function": {"name": start.name, "arguments": json.loads(text or "{}")}}


def _last(whole: Whole, answering: Answering, start: int) -> dict[str, Any]:
    count: Count = answering.count
    total = time.perf_counter_ns() - start
    read = min(int(answering.ttft * 1e9), total)
    return {
        "done": True, "done_reason": "length" if whole.end.finish == "length" else "stop", "total_duration": total,
        "load_duration": 0, "prompt_eval_count": count.input_tokens, "prompt_eval_duration": read,
        "eval_count": count.output_tokens, "eval_duration": max(total - read, 1),
    }  # fmt: skip


def _row(name: str, started: float, target: Target) -> dict[str, Any]:
    return {"name": name, "model": name, "modified_at": _time(started), "size": 0, "digest": digest(name, 64),
            "details": _details(), "capabilities": _capabilities(target)}  # fmt: skip


def _details() -> dict[str, Any]:
    return {"format": "safetensors", "family": ARCHITECTURE, "families": [ARCHITECTURE], "parameter_size": "",
            "quantization_level": "", "parent_model": ""}  # fmt: skip


def _capabilities(target: Target) -> list[str]:
    return ["completion", "tools", *(["insert"] if target.can_fill else [])]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _now() -> str:
    return _time(time.time())

