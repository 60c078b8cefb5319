"""Answers held to a JSON schema, through every API, by clients' own libraries."""

from __future__ import annotations

import json
from typing import Any

import httpx
import ollama
import openai
import pytest
from tiny_server import TOOLS, tiny_tokenizer

from vivace.core.errors import BadInput
from vivace.text.json_grammar import JsonGrammar, json_grammar

ASK: list[Any] = [{"role": "user", "content": "def f(x):"}]
SCHEMA: dict[str, Any] = {
    "type": "object", "required": ["ok", "kind", "n", "tags"], "additionalProperties": False,
    "properties": {"ok": {"type": "boolean"}, "kind": {"enum": ["größer", "b"]},
                   "n": {"type": "integer", "minimum": 10, "maximum": 99},
                   "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "maxItems": 3}},
    "$defs": {"tag": {"type": "string", "pattern": "^[xy]{1,2}$"}},
}  # fmt: skip
FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": SCHEMA, "strict": True}}


def check(text: str | None) -> None:
    found = json.loads(text or "")
    assert list(found) == ["ok", "kind", "n", "tags"]
    assert isinstance(found["ok"], bool)
    assert found["kind"] in ("größer", "b")
    assert 10 <= found["n"] <= 99
    assert len(found["tags"]) <= 3
    assert all(tag and set(tag) <= {"x", "y"} and len(tag) <= 2 for tag in found["tags"])


def test_a_random_model_writes_what_the_schema_says(sdk: openai.OpenAI) -> None:
    texts = set()
    for seed in range(6):
        answer = sdk.chat.completions.create(model="tiny", messages=ASK, seed=seed, response_format=FORMAT)
        assert answer.choices[0].finish_reason == "stop"
        check(answer.choices[0].message.content)
        texts.add(answer.choices[0].message.content)
        stream = sdk.chat.completions.create(model="tiny", messages=ASK, seed=seed, response_format=FORMAT, stream=True)
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
        assert "".join(pieces) == answer.choices[0].message.content
        assert len(pieces) > 5
    assert len(texts) > 1


def test_any_object(sdk: openai.OpenAI) -> None:
    finished = 0
    for seed in range(8):
        answer = sdk.chat.completions.create(
            model="tiny", messages=ASK, seed=seed, max_tokens=150, response_format={"type": "json_object"})
        text = answer.choices[0].message.content or ""
        assert text.startswith("{")
        if answer.choices[0].finish_reason == "stop":
            finished += 1
            assert isinstance(json.loads(text), dict)
    assert finished


def test_calls_or_json(sdk: openai.OpenAI) -> None:
    """With tools the answer is one or the other; a required call is a call."""
    kinds = set()
    for seed in range(8):
        message = sdk.chat.completions.create(
            model="tiny", messages=ASK, tools=TOOLS, seed=seed, response_format=FORMAT, parallel_tool_calls=False,
            ).choices[0].message  # fmt: skip
        kinds.add(bool(message.tool_calls))
        if message.tool_calls:
            assert not message.content
        else:
            check(message.content)
    assert kinds == {True, False}
    must = sdk.chat.completions.create(
        model="tiny", messages=ASK, tools=TOOLS, tool_choice="required", response_format=FORMAT, max_tokens=200)
    assert must.choices[0].message.tool_calls
    never = sdk.chat.completions.create(
        model="tiny", messages=ASK, tools=TOOLS, tool_choice="none", response_format=FORMAT)
    check(never.choices[0].message.content)


def test_responses(sdk: openai.OpenAI) -> None:
    form: Any = {"format": {"type": "json_schema", "name": "verdict", "schema": SCHEMA}}
    answer = sdk.responses.create(model="tiny", input="x", text=form)
    check(answer.output_text)
    assert answer.text is not None
    assert answer.text.format is not None
    assert answer.text.format.type == "json_schema"
    with sdk.responses.stream(model="tiny", input="x", text=form) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
    check("".join(pieces))


def test_ollama(url: str) -> None:
    client = ollama.Client(host=url)
    check(client.chat(model="tiny", messages=ASK, format=SCHEMA).message.content)
    check(client.generate(model="tiny", prompt="x", format=SCHEMA).response)
    assert client.generate(model="tiny", prompt="x", format="json", options={"num_predict": 5}).response[0] == "{"


@pytest.mark.parametrize(
    ("schema", "says"),
    [({"type": "bogus"}, "bogus"), ({"not": {"type": "string"}}, "Unimplemented keys"),
     ({"type": "string", "pattern": "(?=a)b"}, "look-around"), ({"$ref": "http://x/y"}, "http://x/y"),
     ({"type": "integer", "minimum": 5, "maximum": 3}, "Unsatisfiable")],
)  # fmt: skip
def test_what_a_schema_cannot_ask_is_refused(
    sdk: openai.OpenAI, http: httpx.Client, schema: dict[str, Any], says: str
) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    for streamed in (False, True):
        with pytest.raises(openai.BadRequestError, match="Invalid schema for response_format") as caught:
            sdk.chat.completions.create(model="tiny", messages=ASK, response_format=form, stream=streamed)
        assert says in caught.value.message
        assert (caught.value.param, caught.value.code) == ("response_format", "invalid_json_schema")
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.responses.create(model="tiny", input="x", text={"format": {"type": "json_schema", "name": "x",
                                                                       "schema": schema}})  # fmt: skip
    assert caught.value.param == "text.format"
    told = http.post("/api/chat", json={"model": "tiny", "messages": ASK, "format": schema})
    assert (told.status_code, says in told.json()["error"]) == (400, True)
    with pytest.raises(BadInput):
        json_grammar(schema)


def test_tokens_are_held_one_by_one() -> None:
    """Walk the grammar by what it allows: every token it lets through keeps the text a beginning of valid JSON."""
    tokenizer = tiny_tokenizer()
    text = '{"ok": true, "kind": "b", "n": 42, "tags": ["x"]}'
    grammar = JsonGrammar(tokenizer, json_grammar(SCHEMA))
    for token in tokenizer.encode(text):
        only = grammar.allowed().only
        assert only is not None
        assert token in only
        assert tokenizer.special["<|end|>"] not in only
        grammar.advance(token)
    only = grammar.allowed().only
    assert only is not None
    assert list(only) == [tokenizer.special["<|end|>"]]
