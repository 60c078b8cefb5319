"""vLLM and SGLang by their wire formats, spoken by a stand-in that computes with our engine: ids in, ids out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Literal

import httpx
import pytest
from tiny_server import TOOLS

from vivace.core.types import Message, Sampling
from vivace.serve.ask import Ask, CallArguments, CallStart, End, Event, Text
from vivace.serve.engine_target import EngineTarget
from vivace.serve.errors import ApiError
from vivace.serve.native import NativeTarget
from vivace.serve.parse_openai import parse_chat
from vivace.text.chat import Renderer

Kind = Literal["vllm", "sglang"]
Handler = Callable[[httpx.Request], httpx.Response]


def lines(*chunks: Any) -> httpx.Response:
    text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})


class StandIn:
    """Answers as the two engines do; remembers what it was asked. `form`: what their versions differ in."""

    def __init__(self, target: NativeTarget, form: str) -> None:
        self.engine, self.form = target.engine, form
        self.asked: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.asked.append(body)
        how = body.get("sampling_params", body)
        ids = body["prompt"] if request.url.path == "/v1/completions" else body["input_ids"]
        wish = Sampling(temperature=how["temperature"], max_tokens=how.get("max_tokens", how.get("max_new_tokens")),
                        seed=how.get("seed", how.get("sampling_seed")))  # fmt: skip
        got = self.engine.submit(ids, wish, how["stop_token_ids"]).future.result(30)
        out = got.ids[:-1] if self.form == "without stop id" and got.finish_reason == "stop" else got.ids
        parts = [out[n : n + 3] for n in range(0, len(out), 3)] or [[]]
        return (self._vllm if request.url.path == "/v1/completions" else self._sglang)(parts, got, len(ids))

    def _vllm(self, parts: list[list[int]], got: Any, prompt: int) -> httpx.Response:
        chunks: list[Any] = [{"choices": [{"index": 0, "text": "x", "token_ids": part, "finish_reason": None}]}
                             for part in parts]  # fmt: skip
        chunks[-1]["choices"][0]["finish_reason"] = got.finish_reason
        usage = {"prompt_tokens": prompt, "completion_tokens": len(got.ids),
                 "prompt_tokens_details": {"cached_tokens": got.cached_tokens}}  # fmt: skip
        return lines(*chunks, {"choices": [], "usage": usage})

    def _sglang(self, parts: list[list[int]], got: Any, prompt: int) -> httpx.Response:
        chunks, so_far = [], []
        for number, part in enumerate(parts, 1):
            so_far = [*so_far, *part]
            reason = {"type": got.finish_reason} if number == len(parts) else None
            chunks.append({"text": "x", "output_ids": part if self.form == "increments" else so_far, "meta_info": {
                "finish_reason": reason, "completion_tokens": len(so_far), "cached_tokens": got.cached_tokens}})
        return lines(*chunks)


def engine_target(target: NativeTarget, kind: Kind, handler: Handler) -> EngineTarget:
    return EngineTarget("tiny", kind, "http://engine", Renderer(target.tokenizer), target.context_length,
                        transport=httpx.MockTransport(handler))  # fmt: skip


def said(target: Any, ask: Ask) -> tuple[str, list[str], str, End]:
    """Text, names of calls, their arguments, the end."""

    async def collect() -> list[Event]:
        return [event async for event in target.answer(ask)]

    *events, end = asyncio.run(collect())
    assert isinstance(end, End)
    names = [event.name for event in events if isinstance(event, CallStart)]
    arguments = "".join(event.json for event in events if isinstance(event, CallArguments))
    return "".join(event.text for event in events if isinstance(event, Text)), names, arguments, end


@pytest.mark.parametrize(
    ("kind", "form"),
    [("vllm", ""), ("vllm", "without stop id"), ("sglang", ""), ("sglang", "increments"),
     ("sglang", "without stop id")],
)
def test_answers_are_those_of_our_own_engine(target: NativeTarget, kind: Kind, form: str) -> None:
    free = NativeTarget("tiny", target.engine, target.renderer, constrain=False)
    stand_in = StandIn(target, form)
    other = engine_target(target, kind, stand_in)
    finishes = set()
    for seed in range(6):
        ask = parse_chat({"messages": [{"role": "user", "content": f"question {seed}"}], "tools": TOOLS,
                          "temperature": 1.5, "seed": seed, "max_tokens": 150}, "tiny")  # fmt: skip
        mine, theirs = said(free, ask), said(other, ask)
        assert mine[:2] == theirs[:2]
        assert mine[2] == theirs[2]
        assert (mine[3].finish, mine[3].count.input_tokens, mine[3].count.output_tokens) == (
            theirs[3].finish, theirs[3].count.input_tokens, theirs[3].count.output_tokens)  # fmt: skip
        assert theirs[3].count.cached_tokens > 0  # of what ours has just read
        finishes.add(theirs[3].finish)
    assert finishes > {"length"}  # some end by themselves
    ids = stand_in.asked[-1]["prompt" if kind == "vllm" else "input_ids"]
    assert ids == free.prompt(ask)  # the very ids that ours computes


def test_what_is_asked_of_vllm(target: NativeTarget) -> None:
    stand_in = StandIn(target, "")
    ask = parse_chat({"messages": [{"role": "user", "content": "x"}], "max_tokens": 5, "seed": 7, "top_k": 3,
                      "logit_bias": {"9": 2.5}, "presence_penalty": 0.5, "temperature": 0.5, "top_p": 0.9}, "tiny")
    said(engine_target(target, "vllm", stand_in), ask)
    body = stand_in.asked[0]
    assert body.pop("prompt") == target.prompt(ask)
    assert body == {
        "model": "tiny", "temperature": 0.5, "top_p": 0.9, "top_k": 3, "presence_penalty": 0.5,
        "logit_bias": {"9": 2.5}, "max_tokens": 5, "seed": 7, "stop_token_ids": [target.renderer.end],
        "return_token_ids": True, "skip_special_tokens": False, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [("response_format", {"type": "json_object"}), ("tool_choice", "required"), ("logprobs", True)],
)
def test_what_needs_our_own_engine_is_refused(target: NativeTarget, field: str, value: Any) -> None:
    other = engine_target(target, "vllm", StandIn(target, ""))
    ask = parse_chat({"messages": [{"role": "user", "content": "x"}], "tools": TOOLS, field: value}, "tiny")
    with pytest.raises(ApiError) as refused:
        said(other, ask)
    assert (refused.value.status, refused.value.param) == (400, field)


def _hang_up(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("gone")


def _break(request: httpx.Request) -> httpx.Response:
    raise RuntimeError("in the transport")


@pytest.mark.parametrize(
    ("handler", "status", "words"),
    [
        (_hang_up, 502, "cannot be reached"),
        (_break, 502, "could not be read"),
        (lambda _: httpx.Response(500, text="out of memory"), 502, "out of memory"),
        (lambda _: httpx.Response(400, json={"error": {"message": "too many"}}), 400, "too many"),
        (lambda _: lines({"choices": [{"text": "x", "finish_reason": None}]}), 502, "too old"),
        (lambda _: lines({"choices": [{"token_ids": [], "finish_reason": None}]}), 502, "broke off"),
        (lambda _: lines(["no object"]), 502, "unreadable"),
        (lambda _: lines({"error": {"message": "dead"}}), 502, "dead"),
    ],
)
def test_failures_have_a_status(target: NativeTarget, handler: Handler, status: int, words: str) -> None:
    other = engine_target(target, "vllm", handler)
    ask = Ask("tiny", [Message(role="user", content="x")], max_tokens=3)
    with pytest.raises(ApiError, match=words) as failed:
        said(other, ask)
    assert failed.value.status == status
