"""A checkpoint of ours that vLLM or SGLang computes: we render and read the conversation, they turn ids into ids.

Their chat endpoints would read our calls as text; ids keep the one renderer. Requests follow vLLM's `/v1/completions`
(`prompt` as ids, `return_token_ids`, `stop_token_ids`) and SGLang's `/generate` (`input_ids`, `output_ids`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import httpx

from vivace.serve.ask import Ask
from vivace.serve.engines import EngineKind
from vivace.serve.errors import ApiError, unsupported
from vivace.serve.remote import refused
from vivace.serve.rendered import Drawn, RenderedTarget
from vivace.serve.shaping import Grammar
from vivace.text.chat import Renderer


class _Ticket:
    """Implements `rendered.Ticket`."""

    drafted = accepted = 0

    def __init__(self) -> None:
        self.future: Future[Any] = Future()
        self.cached = 0
        self.task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()  # closes the connection, which ends the computation there


class EngineTarget(RenderedTarget):
    """`base_url` without /v1. Nothing is held to a grammar there: requests that need one are refused."""

    def __init__(
        self, name: str, kind: EngineKind, base_url: str, renderer: Renderer, context_length: int, *,
        timeout_s: float = 300.0, transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(name, renderer)
        self.kind, self.context_length = kind, context_length
        self._url = base_url.rstrip("/") + ("/v1/completions" if kind == "vllm" else "/generate")
        self._http = httpx.AsyncClient(timeout=timeout_s, transport=transport)

    async def aclose(self) -> None:
        await self._http.aclose()

    def _grammar(self, ask: Ask) -> Grammar | None:
        if ask.schema is not None:
            raise unsupported(ask.schema_field, f"{self.kind} computes this model, without our grammar")
        if ask.tool_choice == "required":
            raise unsupported("tool_choice", f"{self.kind} computes this model, so no call can be required")
        if ask.logprobs is not None:
            raise unsupported("logprobs", f"{self.kind} computes this model")
        return None

    def _submit(
        self, ask: Ask, prompt: list[int], grammar: Grammar | None
    ) -> tuple[_Ticket, asyncio.Queue[Drawn | None]]:
        body = (_vllm if self.kind == "vllm" else _sglang)(ask, prompt, self._room(prompt), self.renderer.end)
        ticket, queue = _Ticket(), asyncio.Queue[Drawn | None]()
        ticket.task = asyncio.get_running_loop().create_task(self._run({**body, "model": self.name}, ticket, queue))
        return ticket, queue

    async def _run(self, body: dict[str, Any], ticket: _Ticket, queue: asyncio.Queue[Drawn | None]) -> None:
        error: ApiError | None = None
        try:
            async with self._http.stream("POST", self._url, json=body) as response:
                if response.status_code >= 300:
                    raise refused(self.name, response.status_code, await response.aread())
                reader = _Reader(self.renderer.end, ticket)
                async for line in response.aiter_lines():
                    for token in reader.read(line):
                        queue.put_nowait((token, None))
                if not reader.finished:
                    raise ApiError(502, f"{self.name} broke off its answer")
        except ApiError as found:
            error = found
        except httpx.HTTPError as found:
            error = ApiError(502, f"{self.kind} cannot be reached ({type(found).__name__}); see what it printed")
        except Exception as found:  # noqa: BLE001  another program's stream: its client must not wait for ever
            error = ApiError(502, f"the answer of {self.kind} could not be read ({type(found).__name__}: {found})")
        if error is None:
            ticket.future.set_result(None)
        else:
            ticket.future.set_exception(error)
        queue.put_nowait(None)


class _Reader:
    """Lines of either engine to new ids."""

    def __init__(self, end: int, ticket: _Ticket) -> None:
        self._end, self._ticket = end, ticket
        self._seen, self._last = 0, -1
        self.finished = False

    def read(self, line: str) -> Iterator[int]:
        if not line.startswith("data:") or line[5:].strip() == "[DONE]":
            return
        try:
            chunk = json.loads(line[5:])
            if chunk.get("error"):
                raise ApiError(502, str(chunk["error"])[:300])
            ids, reason = self._of_sglang(chunk) if "meta_info" in chunk else self._of_vllm(chunk)
        except (ValueError, AttributeError, TypeError, KeyError, IndexError) as error:
            raise ApiError(502, f"the engine sent something unreadable ({type(error).__name__})") from None
        for token in ids:
            self._seen, self._last = self._seen + 1, token
            yield token
        if reason and not self.finished:
            self.finished = True
            if reason == "stop" and self._last != self._end:  # some versions leave out the id that they stopped at
                yield self._end

    def _of_vllm(self, chunk: dict[str, Any]) -> tuple[list[int], str]:
        if usage := chunk.get("usage"):
            self._ticket.cached = int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
        if not chunk["choices"]:
            return [], ""
        choice = chunk["choices"][0]
        if choice.get("text") and choice.get("token_ids") is None:
            raise ApiError(502, "this vLLM does not return token ids; it is too old (0.10.2 is needed)")
        return choice.get("token_ids") or [], choice.get("finish_reason") or ""

    def _of_sglang(self, chunk: dict[str, Any]) -> tuple[list[int], str]:
        facts, ids = chunk["meta_info"], chunk["output_ids"]
        self._ticket.cached = int(facts.get("cached_tokens") or 0)
        whole = len(ids) == int(facts["completion_tokens"])  # all so far, or in newer versions what is new
        return ids[self._seen :] if whole else ids, (facts.get("finish_reason") or {}).get("type", "")


def _common(ask: Ask) -> dict[str, Any]:
    """What both call alike; only what changes something."""
    shaping = ask.shaping
    wanted = {"top_k": (shaping.top_k, 0), "min_p": (shaping.min_p, 0.0),
              "frequency_penalty": (shaping.frequency_penalty, 0.0),
              "presence_penalty": (shaping.presence_penalty, 0.0),
              "repetition_penalty": (shaping.repeat_penalty, 1.0)}  # fmt: skip
    return {"temperature": ask.sampling.temperature, "top_p": ask.sampling.top_p,
            **{name: value for name, (value, default) in wanted.items() if value != default}}  # fmt: skip


def _vllm(ask: Ask, prompt: list[int], room: int, end: int) -> dict[str, Any]:
    bias = {"logit_bias": {str(token): value for token, value in ask.shaping.bias.items()}} if ask.shaping.bias else {}
    return {**_common(ask), **bias, "prompt": prompt, "max_tokens": min(ask.max_tokens or room, room),
            "seed": ask.sampling.seed, "stop_token_ids": [end], "return_token_ids": True, "skip_special_tokens": False,
            "stream": True, "stream_options": {"include_usage": True}}  # fmt: skip


def _sglang(ask: Ask, prompt: list[int], room: int, end: int) -> dict[str, Any]:
    if ask.shaping.bias:
        raise unsupported("logit_bias", "sglang computes this model")
    return {"input_ids": prompt, "stream": True, "sampling_params": {
        **_common(ask), "max_new_tokens": min(ask.max_tokens or room, room), "stop_token_ids": [end],
        "sampling_seed": ask.sampling.seed, "skip_special_tokens": False}}  # fmt: skip
