"""The client for OpenAI-compatible endpoints against a real HTTP server, and every way it can fail."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from calc_repo import TASK
from chat_server import ChatServer, said, serving

from vivace.core.errors import ContextOverflow, ModelError
from vivace.core.types import Completion, Message, Sampling, ToolCall
from vivace.harness.clients.openai import OpenAIClient
from vivace.harness.environment import Environment
from vivace.harness.loop import Limits, run
from vivace.harness.tools.registry import INVALID_JSON, get_profile

HELLO = [Message(role="system", content="s"), Message(role="user", content="u")]
USAGE = {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 60}}


def client(server: ChatServer, **options: Any) -> OpenAIClient:
    return OpenAIClient(server.url, "tiny", **{"backoff_s": 0.01, "timeout_s": 5.0, **options})


def ask(server: ChatServer, messages: list[Message] = HELLO, **options: Any) -> Completion:
    tools = get_profile("copilot").schemas()
    return client(server, **options).complete(messages, tools=tools, sampling=Sampling(max_tokens=50, seed=3))


def test_an_attempt_over_http(env: Environment) -> None:
    """The whole way: schemas sent, calls run, results sent back with their ids, usage added up."""
    edit = {"filePath": "/workspace/calc/ops.py", "oldString": "return a - b", "newString": "return a + b"}
    answers = [
        said("Looking.", ("grep_search", {"query": "def add", "isRegexp": False}), usage=USAGE),
        said("", ("replace_string_in_file", edit), ("runTests", {}), usage=USAGE),
        said("Fixed: add subtracted.", usage=USAGE),
    ]
    with serving(*answers) as server:
        trajectory = run(TASK, env, client(server, api_key="secret"), Limits())
    assert trajectory.stop_reason == "complete"
    assert "+    return a + b" in trajectory.patch
    assert [o.kind for o in trajectory.outcomes] == ["ok", "ok", "ok"]
    assert trajectory.usage.model_dump() == {"input_tokens": 300, "cached_tokens": 180, "output_tokens": 21}
    assert trajectory.segments == []
    last = server.requests[-1]
    assert [m["role"] for m in last["messages"]] == ["system", "user", "assistant", "tool", "assistant", "tool", "tool"]
    assert [m.get("tool_call_id") for m in last["messages"][-2:]] == ["id0", "id1"]
    assert last["messages"][4]["content"] is None
    assert [t["function"]["name"] for t in last["tools"]] == list(get_profile("copilot").tools)
    assert server.headers[0]["Authorization"] == "Bearer secret"


def test_the_request_carries_the_sampling() -> None:
    with serving(said("hi", usage=USAGE)) as server:
        completion = ask(server)
    assert completion.message.content == "hi"
    body = server.requests[0]
    assert {key: body[key] for key in ("model", "max_tokens", "seed", "temperature", "top_p")} == {
        "model": "tiny", "max_tokens": 50, "seed": 3, "temperature": 1.0, "top_p": 1.0,
    }  # fmt: skip


def test_the_other_name_of_the_length_field_is_learnt() -> None:
    refusal = (400, {"error": {"message": "Unsupported parameter: use 'max_completion_tokens' instead."}})
    with serving(refusal, said("a"), said("b")) as server:
        chosen = client(server)
        for _ in range(2):
            chosen.complete(HELLO, tools=[], sampling=Sampling(max_tokens=9))
    assert [("max_tokens" in r, "max_completion_tokens" in r) for r in server.requests] == [
        (True, False), (False, True), (False, True),
    ]  # fmt: skip


def test_missing_usage_is_estimated_and_length_is_seen() -> None:
    with serving(said("word " * 68, finish="length")) as server:
        completion = ask(server)
    assert completion.finish_reason == "length"
    assert completion.usage.output_tokens == 100
    assert completion.usage.input_tokens > 10


@pytest.mark.parametrize("raw", ['{"filePath": "a.py"', "[1]", "null", '"text"'])
def test_arguments_that_are_no_object_become_an_error_result(env: Environment, raw: str) -> None:
    with serving(said("", ("read_file", raw)), said("done")) as server:
        trajectory = run(TASK, env, client(server), Limits())
    assert trajectory.outcomes[0].kind == "invalid_input"
    assert trajectory.messages[2].tool_calls == [ToolCall(name="read_file", arguments={INVALID_JSON: raw}, id="id0")]
    assert server.requests[1]["messages"][2]["tool_calls"][0]["function"]["arguments"] == "{}"


@pytest.mark.parametrize("fault", [(429, {"error": "slow down"}), (500, "oops"), (503, ""), (0, ""), (408, "")])
def test_passing_faults_are_retried(fault: tuple[int, Any]) -> None:
    with serving(fault, fault, said("hi")) as server:
        assert ask(server).message.content == "hi"
    assert len(server.requests) == 3


def test_timeouts_are_retried() -> None:
    with serving((-1, ""), said("hi")) as server:
        assert ask(server, timeout_s=0.3).message.content == "hi"


@pytest.mark.parametrize(
    ("answer", "options", "words"),
    [
        ((503, {"error": {"message": "overloaded"}}), {"retries": 1}, "answered 503 overloaded"),
        ((-1, ""), {"retries": 0, "timeout_s": 0.2}, "did not answer in time"),
        ((401, {"error": {"message": "bad key"}}), {}, "refused the key .*in VIVACE_API_KEY or OPENAI_API_KEY"),
        ((404, {"error": {"message": "model not found"}}), {}, "no model 'tiny'; it has big, small"),
        ((400, {"error": "unknown model tiny"}), {}, "no model 'tiny'; it has big, small"),
        ((422, {"error": {"message": "tools: not supported"}}), {}, "tools: not supported"),
        ((200, "<html>welcome</html>"), {}, "did not answer in JSON"),
        ((200, {"object": "list"}), {}, "no usable message"),
        ((200, {"choices": [{"message": {"tool_calls": [{"function": {}}]}}]}), {}, "no usable message"),
    ],
)
def test_failures_are_one_clear_line(answer: tuple[int, Any], options: dict[str, Any], words: str) -> None:
    with serving(*[answer] * 3, models=["small", "big"]) as server, pytest.raises(ModelError, match=words) as error:
        ask(server, **options)
    assert "\n" not in str(error.value)


def test_an_endpoint_without_models_is_told_apart() -> None:
    with serving((404, "not found")) as server, pytest.raises(ModelError, match="check --base-url"):
        ask(server)


def test_nobody_listening() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    unreachable = OpenAIClient(f"http://127.0.0.1:{port}", "tiny", retries=1, backoff_s=0.01)
    with pytest.raises(ModelError, match="cannot reach"):
        unreachable.complete(HELLO, tools=[], sampling=Sampling())
    with pytest.raises(ModelError, match="is not an address"):
        OpenAIClient("nonsense", "tiny").complete(HELLO, tools=[], sampling=Sampling())


@pytest.mark.parametrize(
    "text",
    ["This model's maximum context length is 4096 tokens", "request exceeds the context size", "prompt is too long"],
)
def test_an_overflow_ends_the_attempt_as_context(env: Environment, text: str) -> None:
    refusal = (400, {"error": {"message": text}})
    with serving(refusal, refusal) as server:
        with pytest.raises(ContextOverflow):
            ask(server)
        assert run(TASK, env, client(server), Limits()).stop_reason == "context"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://h:1", "http://h:1/v1/chat/completions"),
        ("http://h:1/v1/", "http://h:1/v1/chat/completions"),
        ("http://h/api/v3", "http://h/api/v3/chat/completions"),
        ("http://h/x/chat/completions", "http://h/x/chat/completions"),
    ],
)
def test_addresses(given: str, used: str) -> None:
    assert OpenAIClient(given, "m").url == used


def test_models_are_listed() -> None:
    with serving(models=["b", "a"]) as server:
        assert client(server).models() == ["a", "b"]
