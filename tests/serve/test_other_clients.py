"""Ollama's own client, Anthropic's messages, and the requests that VS Code's providers send, in their order."""

from __future__ import annotations

import json
from typing import Any

import httpx
import ollama
import pytest
from tiny_server import CONTEXT, TOOLS


@pytest.fixture(scope="module")
def client(url: str) -> ollama.Client:
    return ollama.Client(host=url, timeout=60)


def test_ollama_chat(client: ollama.Client) -> None:
    talk: Any = [{"role": "user", "content": "def f(x):"}]
    options = {"temperature": 0, "num_predict": 16, "num_ctx": 4096, "seed": 1}
    whole = client.chat("tiny", talk, options=options)
    assert whole.done
    assert whole.done_reason in ("stop", "length")
    assert whole.prompt_eval_count
    assert whole.eval_count
    parts = list(client.chat("tiny:latest", talk, options=options, stream=True))
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]


def test_ollama_calls_are_objects_and_whole(http: httpx.Client) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "tools": TOOLS, "think": "low",
            "options": {"num_predict": 40, "seed": 3}}  # fmt: skip
    for seed in range(4):
        body["options"] = {"num_predict": 40, "seed": seed}
        lines = [json.loads(line) for line in http.post("/api/chat", json=body).text.splitlines()]
        calls = [call for line in lines for call in line["message"].get("tool_calls", [])]
        assert all(isinstance(call["function"]["arguments"], dict) for call in calls)
        whole = http.post("/api/chat", json={**body, "stream": False}).json()
        made = whole["message"].get("tool_calls", [])
        assert [call["function"] for call in made] == [call["function"] for call in calls]


def test_ollama_generate_and_fill(client: ollama.Client) -> None:
    filled = client.generate("tiny", "def f(x):\n    return ", suffix="\n\n", options={"num_predict": 5})
    assert filled.done
    assert client.generate("tiny", "").done_reason == "load"
    raw = client.generate("tiny", "return", raw=True, options={"num_predict": 3, "temperature": 0}, stream=True)
    assert [part.done for part in raw][-1]


def test_ollama_refusals(client: ollama.Client, http: httpx.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="does not exist") as caught:
        client.show("other")
    assert caught.value.status_code == 404
    told = http.post("/api/chat", json={"model": "tiny", "messages": [{"role": "user", "content": "x"}], "format": 5})
    assert (told.status_code, told.json()["error"]) == (400, 'format must be "json" or a JSON schema')
    assert http.post("/api/chat", content=b"{").json() == {
        "error": "the body is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"}


def test_vs_code_ollama_provider(http: httpx.Client) -> None:
    """version, tags, show of each model, then chat completions with what its agent mode adds."""
    version = http.get("/api/version").json()["version"]
    assert tuple(map(int, version.split("."))) >= (0, 6, 4)
    for model in http.get("/api/tags").json()["models"]:
        shown = http.post("/api/show", json={"model": model["model"]}).json()
        assert "tools" in shown["capabilities"]
        architecture = shown["model_info"]["general.architecture"]
        assert shown["model_info"][f"{architecture}.context_length"] == CONTEXT
        assert shown["model_info"]["general.basename"] == "tiny"
    body = {"model": "tiny", "messages": [{"role": "system", "content": "You are an expert."},
                                          {"role": "user", "content": [{"type": "text", "text": "fix it"}]}],
            "stream": True, "stream_options": {"include_usage": True}, "tools": TOOLS, "temperature": 0.1, "top_p": 1,
            "n": 1, "intent": True, "snippy": {"enabled": False}, "prediction": None, "max_tokens": 20}  # fmt: skip
    chunks = vs_code_chunks(http.post("/v1/chat/completions", json=body).text)
    assert all(chunk["choices"] or chunk["usage"] for chunk in chunks)
    assert all(isinstance(chunks[-1]["usage"][name], int)
               for name in ("prompt_tokens", "completion_tokens", "total_tokens"))  # fmt: skip
    assert chunks[-2]["choices"][0]["finish_reason"]


def vs_code_chunks(text: str) -> list[dict[str, Any]]:
    """As its parser does: every line that is no comment is JSON after `data:`."""
    lines = [line for line in text.split("\n") if line and not line.startswith(":")]
    assert all(line.startswith("data:") for line in lines)
    return [json.loads(line[5:]) for line in lines if line[5:].strip() != "[DONE]"]


def test_vs_code_custom_endpoint(http: httpx.Client) -> None:
    """The second turn of an agent: calls by id, their results, content null."""
    assert http.get("/v1/models").json()["data"][0]["id"] == "tiny"
    history = [{"role": "user", "content": "fix it"},
               {"role": "assistant", "content": None, "refusal": None, "tool_calls": [
                   {"id": "call_1", "type": "function",
                    "function": {"name": "grep_search", "arguments": "{\"query\": \"def f\", \"maxResults\": 5}"}}]},
               {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "a.py:1"}]}]
    body = {"model": "tiny", "messages": history, "stream": True, "max_completion_tokens": 10, "tools": TOOLS}
    chunks = vs_code_chunks(http.post("/v1/chat/completions", json=body).text)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"


def test_anthropic(http: httpx.Client) -> None:
    tools = [{"name": t["function"]["name"], "input_schema": t["function"].get("parameters", {"type": "object"})}
             for t in TOOLS[:2]]  # fmt: skip
    body: dict[str, Any] = {
        "model": "tiny", "max_tokens": 40, "system": [{"type": "text", "text": "Be brief."}], "tools": tools,
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True}, "stop_sequences": ["zzz"],
        "messages": [{"role": "user", "content": "look"},
                     {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "grep", "input": {}}]},
                     {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "none"},
                                                  {"type": "text", "text": "again"}]}],
    }  # fmt: skip
    answer = http.post("/v1/messages", json=body, headers={"anthropic-version": "2023-06-01"}).json()
    assert answer["content"][0]["type"] == "tool_use"
    usage = answer["usage"]
    counted = http.post("/v1/messages/count_tokens", json=body).json()["input_tokens"]
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == counted
    text = http.post("/v1/messages", json={**body, "stream": True}).text
    events = [(part.split("\n")[0][7:], json.loads(part.split("\n")[1][6:])) for part in text.split("\n\n") if part]
    assert all(name == data["type"] for name, data in events)
    assert [name for name, _ in events if name != "content_block_delta"] == [
        "message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"]
    pieces = [data["delta"]["partial_json"] for name, data in events if name == "content_block_delta"]
    assert isinstance(json.loads("".join(pieces)), dict)
    refused = http.post("/v1/messages", json={"model": "tiny", "messages": []})
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"


def test_tokenize(http: httpx.Client, target: Any) -> None:
    answer = http.post("/tokenize", json={"content": "def f <|end|>"}).json()
    assert answer["tokens"] == target.tokenizer.encode("def f <|end|>")
    assert target.renderer.end not in answer["tokens"]
