"""The application: routes, who may enter, what is logged and measured."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vivace import __version__
from vivace.serve import anthropic, ollama, openai_chat, openapi, responses_api
from vivace.serve.ask import Target
from vivace.serve.errors import ApiError, bad, shape_of, unsupported
from vivace.serve.fields import Fields
from vivace.serve.gateway import Gateway
from vivace.serve.http import MAX_BODY, body, gateway
from vivace.serve.limits import ASKER, Keys
from vivace.serve.native import NativeTarget
from vivace.serve.writing import new_id

PAGES = Path(__file__).with_name("pages")
log = logging.getLogger("vivace.serve")
_OPEN = {"/", "/health", "/ready", "/chat", "/status", "/api/version", "/openapi.json"}
"""Need no key: they say nothing of anybody's requests."""


def create_app(
    gate: Gateway, keys: Keys | None = None, *, max_body: int = MAX_BODY, origins: Sequence[str] = ()
) -> Starlette:
    """`origins`: pages of other sites whose scripts may ask (CORS); none by default."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await gate.aclose()

    keys = keys or Keys()
    gate.spend = keys.spend
    middleware = [Middleware(_Door, gate=gate, keys=keys)]
    if origins:
        middleware.insert(0, Middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["*"],
                                        allow_headers=["*"], expose_headers=["x-request-id", "x-vivace-route"]))
    app = Starlette(routes=_routes(), middleware=middleware, lifespan=lifespan, exception_handlers={
        ApiError: _api_error, ClientDisconnect: _gone, 404: _no_such_page, 405: _no_such_page, 500: _broken})
    app.state.gateway, app.state.max_body = gate, max_body
    return app


def _routes() -> list[Route]:
    table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        ("GET", "/", ollama.home), ("GET", "/health", health), ("GET", "/ready", ready), ("GET", "/metrics", metrics),
        ("GET", "/openapi.json", openapi_document),
        ("GET", "/status", _page("status.html")), ("GET", "/chat", _page("chat.html")), ("GET", "/status.json", status),
        ("GET", "/v1/models", models), ("GET", "/v1/models/{name:path}", model),
        ("POST", "/v1/chat/completions", openai_chat.chat_completions),
        ("POST", "/v1/completions", openai_chat.completions), ("POST", "/v1/responses", responses_api.responses),
        ("POST", "/v1/messages", anthropic.messages), ("POST", "/v1/messages/count_tokens", anthropic.count_tokens),
        ("POST", "/tokenize", tokenize), ("GET", "/api/version", ollama.version), ("GET", "/api/tags", ollama.tags),
        ("GET", "/api/ps", ollama.running), ("POST", "/api/show", ollama.show), ("POST", "/api/chat", ollama.chat),
        ("POST", "/api/generate", ollama.generate),
    ]  # fmt: skip
    return [Route(path, endpoint, methods=[method]) for method, path, endpoint in table]


class _Door:
    """Keys, rates, request ids, the log and the counts. Prompts are never logged."""

    def __init__(self, app: ASGIApp, gate: Gateway, keys: Keys) -> None:
        self.app, self.gate, self.keys = app, gate, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request, start, code = Request(scope), time.perf_counter(), 499
        identifier = new_id("req_")

        async def sending(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", identifier.encode())]
            await send(message)

        who = ""
        try:
            who = self._admit(request)
            ASKER.set(who)
        except ApiError as error:
            await error.response(shape_of(request.url.path))(scope, receive, sending)
        else:
            await self.app(scope, receive, sending)
        finally:
            self._note(request, identifier, who, code, time.perf_counter() - start)

    def _admit(self, request: Request) -> str:
        if request.url.path in _OPEN or request.method == "OPTIONS":
            return ""
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        key = bearer or request.headers.get("x-api-key", "")
        return self.keys.admit(key) if request.method == "POST" else self.keys.check(key)

    def _note(self, request: Request, identifier: str, who: str, code: int, seconds: float) -> None:
        known = request.scope.get("route") is not None or code in (401, 429)
        path = request.url.path if known else "other"
        self.gate.metrics.count("requests_total", path=path, status=str(code))
        line: dict[str, Any] = {"event": "request", "id": identifier, "method": request.method, "path": path,
                                "status": code, "seconds": round(seconds, 4), "who": who}  # fmt: skip
        if (answering := getattr(request.state, "answering", None)) is not None:
            line |= {"model": answering.model, "finish": answering.finish, "stream": request.state.streamed,
                     "ttft": round(answering.ttft, 4), "input_tokens": answering.count.input_tokens,
                     "cached_tokens": answering.count.cached_tokens, "output_tokens": answering.count.output_tokens,
                     "dollars": round(self.gate.cost(answering.model, answering.count), 8)}
        log.info(json.dumps(line))


async def health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def openapi_document(request: Request) -> Response:
    return JSONResponse(openapi.document(__version__, gateway(request).names))


async def ready(request: Request) -> Response:
    draining = gateway(request).draining
    return JSONResponse({"status": "draining" if draining else "ready"}, 503 if draining else 200)


async def metrics(request: Request) -> Response:
    gate = gateway(request)
    gate.metrics.set("requests_active", gate.active)
    for name, target in gate.targets.items():
        if isinstance(target, NativeTarget):
            running, waiting = target.engine.load
            gate.metrics.set("sequences_running", running, model=name)
            gate.metrics.set("sequences_waiting", waiting, model=name)
            gate.metrics.set("engine_steps_total", target.engine.stats.steps, "counter", model=name)
            gate.metrics.set("computed_tokens_total", target.engine.stats.computed_tokens, "counter", model=name)
            gate.metrics.set("preempted_sequences_total", target.engine.stats.preempted, "counter", model=name)
            gate.metrics.set("cache_bytes", target.engine.cache_bytes, model=name)
    return PlainTextResponse(gate.metrics.text(), media_type="text/plain; version=0.0.4")


async def status(request: Request) -> Response:
    """What the status page shows."""
    gate, found = gateway(request), gateway(request).metrics
    native = {name: target for name, target in gate.targets.items() if isinstance(target, NativeTarget)}
    return JSONResponse({
        "models": gate.names, "uptime_s": round(time.time() - gate.started), "draining": gate.draining,
        "active": gate.active, "answers": found.total("answers_total"),
        "generated_tokens": sum(target.engine.stats.generated_tokens for target in native.values()),
        "prompt_tokens": found.total("prompt_tokens_total"), "cached_tokens": found.total("cached_tokens_total"),
        "accepted": found.total("accepted_guesses_total"), "rejected": found.total("rejected_guesses_total"),
        "ttft_s": found.mean("time_to_first_token_seconds"), "inter_token_s": found.mean("inter_token_seconds"),
        "engines": {name: {"runner": target.engine.runner, "running": target.engine.load[0],
                           "waiting": target.engine.load[1], "cache_bytes": target.engine.cache_bytes}
                    for name, target in native.items()},
    })  # fmt: skip


def _model(gate: Gateway, name: str, target: Target) -> dict[str, Any]:
    length = target.context_length
    return {"id": name, "object": "model", "created": int(gate.started), "owned_by": "vivace", "max_model_len": length,
            "context_length": length}  # fmt: skip


async def models(request: Request) -> Response:
    gate = gateway(request)
    return JSONResponse({"object": "list", "data": [_model(gate, name, gate.find(name)) for name in gate.names]})


async def model(request: Request) -> Response:
    gate, name = gateway(request), request.path_params["name"]
    return JSONResponse(_model(gate, name, gate.find(name)))


async def tokenize(request: Request) -> Response:
    """Ids of a text: {"content" or "prompt": text, "model"?}."""
    fields = Fields(await body(request))
    gate = gateway(request)
    target = gate.find(fields.text("model", gate.names[0]))
    if not isinstance(target, NativeTarget):
        raise unsupported("model", f"{target.name} is a remote model; its tokenizer is not here")
    text = fields.get("content") if fields.get("content") is not None else fields.get("prompt")
    if not isinstance(text, str):
        raise bad("content must be a string", "content")
    ids = target.tokenizer.encode(text)
    return JSONResponse({"tokens": ids, "count": len(ids), "max_model_len": target.context_length})


def _page(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def page(request: Request) -> Response:
        policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"
        return HTMLResponse((PAGES / name).read_text(), headers={"content-security-policy": policy})

    return page


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response(shape_of(request.url.path))


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)


async def _no_such_page(request: Request, error: Exception) -> Response:
    code: int = getattr(error, "status_code", 404)
    return ApiError(code, f"no {request.method} {request.url.path} here").response(shape_of(request.url.path))


async def _broken(request: Request, error: Exception) -> Response:
    log.error(json.dumps({"event": "error", "path": request.url.path, "kind": type(error).__name__}))
    return ApiError(500, "this server has a fault; its log says more").response(shape_of(request.url.path))

