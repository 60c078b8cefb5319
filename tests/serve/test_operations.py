"""Keys, limits, disconnects, draining, filters, routing and what is logged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_server import running, tiny_target

from vivace.core.errors import BadInput
from vivace.core.types import Message
from vivace.serve import engines
from vivace.serve.ask import Ask, Event, Text
from vivace.serve.errors import ApiError
from vivace.serve.gateway import Gateway
from vivace.serve.http import decode_json
from vivace.serve.limits import Keys
from vivace.serve.native import NativeTarget
from vivace.serve.parse_openai import parse_chat, parse_completion, parse_response
from vivace.serve.parse_others import parse_anthropic, parse_ollama_chat, parse_ollama_generate
from vivace.serve.remote import RemoteTarget
from vivace.serve.router import FEATURES, Router

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "my secret words"}], "max_tokens": 4}


class NoSecrets:
    """A filter that knows three words."""

    def refuse(self, messages: Sequence[Message]) -> str | None:
        return "forbidden" if any("forbidden" in m.content for m in messages) else None

    def tool_result(self, message: Message) -> Message:
        return message.model_copy(update={"content": message.content.replace("poison", "")})

    def stop(self, said: str) -> str | None:
        return "too long" if len(said) > 5 else None


def test_keys_and_rates() -> None:
    now = [0.0]
    keys = Keys(["a", "b"], per_minute=2, clock=lambda: now[0])
    with pytest.raises(ApiError, match="no valid API key"):
        keys.admit("c")
    assert keys.admit("a") == keys.admit("a") != keys.admit("b")
    with pytest.raises(ApiError) as caught:
        keys.admit("a")
    assert (caught.value.status, caught.value.retry_after) == (429, pytest.approx(30))
    now[0] = 30
    keys.admit("a")


def test_a_quota_is_spent_and_comes_back_at_midnight(target: NativeTarget) -> None:
    now = [86_400.0 * 20_000 + 3600]
    keys = Keys(["a", "b"], per_day=30, today=lambda: now[0])
    gate = Gateway({"tiny": _Shared(target)}, prices={"tiny": (10.0, 1.0, 100.0)})
    spent = 0
    with running(gate, keys) as url:
        for _ in range(4):
            answer = httpx.post(url + CHAT, json=ASK, headers={"authorization": "Bearer a"}, timeout=60)
            if answer.status_code != 200:
                break
            assert spent < 30
            spent += answer.json()["usage"]["total_tokens"]
        assert spent >= 30
        assert answer.status_code == 429
        assert answer.json()["error"]["code"] == "insufficient_quota"
        assert int(answer.headers["retry-after"]) == 86_400 - 3600
        assert httpx.post(url + CHAT, json=ASK, headers={"authorization": "Bearer b"}, timeout=60).status_code == 200
        now[0] += 86_400
        assert httpx.post(url + CHAT, json=ASK, headers={"authorization": "Bearer a"}, timeout=60).status_code == 200
        shown = httpx.get(url + "/metrics", headers={"authorization": "Bearer a"}).text
    assert gate.metrics.total("key_tokens_total") >= spent
    written, read = (gate.metrics.total(f"{name}_tokens_total") for name in ("generated", "prompt"))
    cached = gate.metrics.total("cached_tokens_total")
    dollars = ((read - cached) * 10 + cached + written * 100) / 1e6
    assert gate.metrics.total("cost_dollars_total") == pytest.approx(dollars)
    assert 'vivace_cost_dollars_total{model="tiny",who="key-' in shown


def test_who_hangs_up_pays_for_what_was_computed(target: NativeTarget) -> None:
    spent: list[int] = []
    gate = Gateway({"tiny": _Shared(target)})
    with running(gate) as url:
        gate.spend = lambda who, tokens: spent.append(tokens)
        with httpx.stream("POST", url + CHAT, json={**ASK, "max_tokens": 400, "stream": True}, timeout=60) as answer:
            next(answer.iter_lines())
        deadline = time.monotonic() + 20
        while not spent and time.monotonic() < deadline:
            time.sleep(0.05)
    assert len(spent) == 1
    assert spent[0] > 5


def test_the_door(caplog: pytest.LogCaptureFixture, target: NativeTarget) -> None:
    with caplog.at_level(logging.INFO, "vivace.serve"), running(
        Gateway({"tiny": _Shared(target)}, filters=[NoSecrets()]), Keys(["k"], per_minute=6), max_body=2000
    ) as url, httpx.Client(base_url=url, timeout=60) as http:  # fmt: skip
        assert http.post(CHAT, json=ASK).status_code == 401
        assert http.get("/v1/models").status_code == 401
        assert http.get("/health").json() == {"status": "ok"}
        assert http.get("/").text == "Ollama is running"
        http.headers["authorization"] = "Bearer k"
        answer = http.post(CHAT, json={**ASK, "max_tokens": 40, "seed": 1})
        assert answer.json()["choices"][0]["finish_reason"] == "content_filter"
        assert len(answer.json()["choices"][0]["message"]["content"]) <= 5
        assert http.post(CHAT, json={"messages": [{"role": "user", "content": "forbidden"}]}).json()["error"][
            "code"] == "content_filter"  # fmt: skip
        assert http.post(CHAT, json={"messages": [{"role": "user", "content": "x" * 3000}]}).status_code == 413
        assert http.post(CHAT, content=b"[1").status_code == 400
        assert "access-control-allow-origin" not in http.post(CHAT, json=ASK, headers={"origin": "http://x"}).headers
        http.post(CHAT, json=ASK)
        limited = http.post(CHAT, json=ASK)
        assert (limited.status_code, limited.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert int(limited.headers["retry-after"]) >= 1
        text = http.get("/metrics").text
        assert 'vivace_requests_total{path="/v1/chat/completions",status="429"} 1' in text
        assert "vivace_time_to_first_token_seconds_count" in text
        assert http.get("/status.json").json()["answers"] > 0
    lines = [json.loads(record.message) for record in caplog.records if record.name == "vivace.serve"]
    assert any(line["status"] == 401 for line in lines)
    assert "secret" not in caplog.text
    assert '"k"' not in caplog.text


def test_the_memory_of_keys_and_values_is_told(http: httpx.Client) -> None:
    assert http.post(CHAT, json=ASK).status_code == 200
    text = http.get("/metrics").text
    touched = next(line for line in text.splitlines() if line.startswith('vivace_cache_bytes{model="tiny"}'))
    assert float(touched.split()[-1]) > 0
    assert 'vivace_preempted_sequences_total{model="tiny"} 0' in text
    assert http.get("/status.json").json()["engines"]["tiny"]["cache_bytes"] > 0


class _Shared:
    """A target that is not closed with the server."""

    def __init__(self, target: NativeTarget) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    async def aclose(self) -> None:
        pass


def test_hanging_up_frees_the_engine(url: str, target: NativeTarget) -> None:
    body = {**ASK, "max_tokens": 480, "temperature": 1, "logit_bias": {str(target.renderer.end): -100}}
    for streamed in (True, False):
        with httpx.Client(base_url=url, timeout=60) as http:
            if streamed:
                with http.stream("POST", CHAT, json={**body, "stream": True}) as answer:
                    next(answer.iter_lines())
            else:
                with pytest.raises(httpx.ReadTimeout):
                    http.post(CHAT, json=body, timeout=0.15)
        deadline = time.monotonic() + 20
        while target.engine.load != (0, 0) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert target.engine.load == (0, 0)


def test_draining_and_a_full_house(target: NativeTarget) -> None:
    gate = Gateway({"tiny": _Shared(target)}, max_queue=0)
    with running(gate) as url:
        full = httpx.post(url + CHAT, json=ASK)
        assert (full.status_code, full.headers["retry-after"]) == (429, "2")
        gate.draining = True
        assert httpx.get(url + "/ready").status_code == 503
        assert httpx.post(url + CHAT, json=ASK).status_code == 503


def test_auto_routes_and_falls_back(url: str, target: NativeTarget) -> None:
    far = RemoteTarget("far", f"{url}/v1", "tiny", context_length=100_000)
    broken = RemoteTarget("broken", "http://127.0.0.1:9/v1", "tiny", context_length=100_000)
    gate = Gateway({"near": _Shared(target), "far": far, "broken": broken})
    with running(gate) as front, httpx.Client(base_url=front, timeout=60) as http:
        easy = http.post(CHAT, json={**ASK, "model": "auto"})
        assert easy.headers["x-vivace-route"].startswith("near; difficulty=0.")
        assert "uncalibrated" in easy.headers["x-vivace-route"]
        hard = {"messages": [{"role": "user", "content": "why is there a race? redesign the concurrency " * 3}]}
        fell = http.post(CHAT, json={**ASK, **hard, "model": "auto"}, headers={"x-vivace-budget": "high"})
        assert fell.headers["x-vivace-route"].startswith("far; ")
        assert "broken failed" in fell.headers["x-vivace-route"]
        assert fell.json()["usage"]["completion_tokens"] == 4
        long = http.post(CHAT, json={"model": "auto", "messages": [{"role": "user", "content": "x " * 600}]})
        assert (long.status_code, long.json()["error"]["code"]) == (400, "context_length_exceeded")
        assert http.post(CHAT, json={**ASK, "model": "broken"}).status_code == 502
        assert [m["id"] for m in http.get("/v1/models").json()["data"]] == ["near", "far", "broken", "auto"]


def test_a_remote_answer_is_the_answer_there(url: str, target: NativeTarget) -> None:
    """Calls, text and usage come through a second server unchanged (but for the ids of calls)."""
    from tiny_server import TOOLS

    with running(Gateway({"far": RemoteTarget("far", f"{url}/v1", "tiny")})) as front:
        for seed in range(3):
            body = {**ASK, "tools": TOOLS, "max_tokens": 40, "seed": seed}
            there, here = (httpx.post(base + CHAT, json=body, timeout=60).json() for base in (url, front))
            a, b = (one["choices"][0] for one in (there, here))
            assert a["message"]["content"] == b["message"]["content"]
            assert a["finish_reason"] == b["finish_reason"]
            assert ([call["function"] for call in a["message"].get("tool_calls", [])]
                    == [call["function"] for call in b["message"].get("tool_calls", [])])  # fmt: skip
            assert there["usage"]["total_tokens"] == here["usage"]["total_tokens"]


def test_a_router_learns_what_was_hard(tmp_path: Path) -> None:
    asks = [Ask("auto", [Message(role="user", content="why " * (n % 5) + "fix")]) for n in range(60)]
    router = Router.fit(asks, [n % 5 < 2 for n in range(60)])
    assert router.difficulty(asks[4]) > 0.8 > 0.2 > router.difficulty(asks[0])
    router.save(tmp_path / "router.json")
    again = Router.load(tmp_path / "router.json")
    assert again.calibrated
    assert again.weights == pytest.approx(router.weights)
    assert len(again.weights) == len(FEATURES)
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(BadInput, match="not a router"):
        Router.load(tmp_path / "bad.json")
    with pytest.raises(BadInput, match="at least 20"):
        Router.fit(asks[:5], [True] * 5)


def test_commands_of_other_engines(tmp_path: Path) -> None:
    line = engines.command("vllm", tmp_path, 9001, name="m", max_len=4096, tensor_parallel=2)
    assert line[1:] == ["-m", "vllm.entrypoints.openai.api_server", "--model", str(tmp_path), "--served-model-name",
                        "m", "--host", "127.0.0.1", "--port", "9001", "--tensor-parallel-size", "2",
                        "--enable-prefix-caching", "--max-model-len", "4096"]  # fmt: skip
    line = engines.command("sglang", tmp_path, 9001, name="m", extra=["--x"])
    assert line[-3:] == ["--tp", "1", "--x"]
    with pytest.raises(BadInput, match="vllm is not installed"):
        engines.require_installed("vllm")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["role", "content", "type", "text", "function", "name", "arguments", "tool_calls", "parameters", "id"]),
        inner, max_size=3), max_leaves=8)  # fmt: skip
bodies = st.dictionaries(st.sampled_from(
    ["model", "messages", "tools", "tool_choice", "stop", "n", "seed", "temperature", "logit_bias", "prompt", "suffix",
     "input", "instructions", "system", "max_tokens", "options", "reasoning", "thinking", "stream_options"]),
    json_values, max_size=6)  # fmt: skip


@given(bodies)
@settings(max_examples=80, deadline=None)
def test_no_body_breaks_the_parsers(data: dict[str, Any]) -> None:
    for parse in (parse_chat, parse_completion, parse_response, parse_anthropic, parse_ollama_chat,
                  parse_ollama_generate):  # fmt: skip
        with contextlib.suppress(ApiError):
            parse(data, "m")


@given(st.binary(max_size=40))
@settings(max_examples=100, deadline=None)
def test_no_bytes_break_the_reading(raw: bytes) -> None:
    with contextlib.suppress(ApiError):
        decode_json(raw)


@pytest.mark.parametrize("raw", [b"[" * 5000, b'"\\ud800"', b"\xff", b"{} {}", b"1" * 5000], ids=range(5))
def test_hostile_bytes(raw: bytes) -> None:
    with pytest.raises(ApiError, match=r"JSON|nested"):
        decode_json(raw)


def test_a_fault_of_the_engine_is_told_in_the_stream(tmp_path: Path) -> None:
    own = tiny_target("own")
    with running(Gateway({"own": own})) as url, httpx.stream(
        "POST", url + CHAT, json={**ASK, "max_tokens": 400, "stream": True, "logit_bias": {"2": -100}}, timeout=60
    ) as answer:  # fmt: skip
        lines = answer.iter_lines()
        next(lines)
        asyncio.run(own.aclose())
        last = [line for line in lines if line][-1]
    assert "closed before the answer was done" in json.loads(last[6:])["error"]["message"]


class Faulty:
    """A target with a mistake in it."""

    name, context_length, can_fill = "faulty", 100, False

    def count_tokens(self, ask: Any) -> int:
        return 1

    async def answer(self, ask: Any) -> AsyncIterator[Event]:
        yield Text("a")
        raise KeyError("a mistake")

    async def aclose(self) -> None:
        pass


def test_a_target_s_mistake_is_told_and_nobody_waits() -> None:
    with running(Gateway({"faulty": Faulty()})) as url:
        whole = httpx.post(url + CHAT, json={**ASK, "model": "faulty"}, timeout=20)
        assert (whole.status_code, whole.json()["error"]["type"]) == (500, "api_error")
        streamed = httpx.post(url + CHAT, json={**ASK, "model": "faulty", "stream": True}, timeout=20)
        last = [line for line in streamed.text.splitlines() if line][-1]
        assert "has a fault" in json.loads(last[6:])["error"]["message"]
