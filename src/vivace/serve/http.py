"""What all APIs share: the body within its limit, streams that begin only when an answer has, disconnects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from typing import Any, TypeVar, cast

from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse

from vivace.serve.errors import ApiError, bad
from vivace.serve.gateway import Answering, Gateway

T = TypeVar("T")
MAX_BODY = 16 * 2**20
_DEEPEST = 200


async def read_json(request: Request, most: int) -> Any:
    """The body as JSON. ApiError 413 when it is larger than `most` bytes, 400 when it is not JSON."""
    too_large = ApiError(413, f"the request is larger than {most:,} bytes", code="request_too_large")
    if (request.headers.get("content-length") or "0").isdecimal() and int(
            request.headers.get("content-length") or 0) > most:  # fmt: skip
        raise too_large
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise too_large
        parts.append(part)
    return decode_json(b"".join(parts))


def decode_json(body: bytes) -> Any:
    try:
        data = json.loads(body)
        body.decode("utf-8")
        if _depth(data) > _DEEPEST:
            raise bad(f"the body is nested deeper than {_DEEPEST} levels", code="invalid_json")
        json.dumps(data, ensure_ascii=False).encode()  # no half surrogates
    except (ValueError, RecursionError) as error:
        raise bad(f"the body is not JSON: {str(error)[:120]}", code="invalid_json") from None
    return data


def _depth(data: Any) -> int:
    level, deep = [data], 0
    while level and deep <= _DEEPEST:
        level = [child for item in level if isinstance(item, dict | list)
                 for child in (item.values() if isinstance(item, dict) else item)]  # fmt: skip
        deep += 1
    return deep


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """The result of `work`; it is cancelled when the client hangs up meanwhile."""

    async def hang_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task: asyncio.Future[Any] = asyncio.ensure_future(work)
    gone: asyncio.Future[Any] = asyncio.create_task(hang_up())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return cast(T, task.result())
    finally:
        gone.cancel()
        task.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


def gateway(request: Request) -> Gateway:
    return cast(Gateway, request.app.state.gateway)


async def body(request: Request) -> Any:
    return await read_json(request, request.app.state.max_body)


def note(request: Request, answering: Answering, streamed: bool) -> dict[str, str]:
    """Headers of an answer; what the log will say of it."""
    request.state.answering, request.state.streamed = answering, streamed
    headers = {"x-vivace-model": answering.model}
    if answering.decision is not None:
        headers["x-vivace-route"] = answering.decision.header
    return headers


def stream(
    lines: AsyncIterator[str], answering: Answering, headers: dict[str, str], kind: str = "text/event-stream"
) -> StreamingResponse:
    """Sends what `lines` yields; when the client goes, the answer is called off."""

    async def sent() -> AsyncIterator[str]:
        try:
            async with aclosing(lines):  # type: ignore[type-var]
                async for line in lines:
                    yield line
        finally:
            await answering.events.aclose()  # type: ignore[attr-defined]

    return StreamingResponse(sent(), media_type=kind, headers={
        **headers, "cache-control": "no-cache", "x-accel-buffering": "no"})  # fmt: skip


def sse(data: Any, event: str = "") -> str:
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"
