"""Reading an answer while it is written gives what reading it whole gives; the grammar lets through what it should."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_server import TOOLS, tiny_tokenizer

from vivace.serve.ask import CallArguments, CallStart, Text
from vivace.serve.writing import AnswerWriter, StopStrings
from vivace.text.chat import Renderer
from vivace.text.grammar import CallGrammar, ToolSpec

TOKENIZER = tiny_tokenizer()
RENDERER = Renderer(TOKENIZER)
SPECS = [ToolSpec(t["function"]["name"], "", t["function"].get("parameters", {"properties": {}})) for t in TOOLS]
MARKS = [TOKENIZER.special[name] for name in ("<|call|>", "<|arg|>", "<|value|>")]
ids = st.lists(st.one_of(st.integers(0, TOKENIZER.vocab_size - 1), st.sampled_from(MARKS)), max_size=30)


def written(tokens: list[int], tools: list[ToolSpec]) -> tuple[str, list[tuple[str, str]], AnswerWriter]:
    writer = AnswerWriter(TOKENIZER, tools)
    text, calls = "", []
    for event in [event for token in tokens for event in writer.feed(token)] + writer.finish():
        if isinstance(event, Text):
            assert not calls, "text after a call"
            text += event.text
        elif isinstance(event, CallStart):
            calls.append((event.name, ""))
        elif isinstance(event, CallArguments):
            calls[-1] = (calls[-1][0], calls[-1][1] + event.json)
    return text, calls, writer


@given(ids)
@settings(max_examples=150, deadline=None)
def test_any_ids_read_as_the_renderer_reads_them(tokens: list[int]) -> None:
    body = [token for token in tokens if token != RENDERER.end]
    whole = RENDERER.parse([*body, RENDERER.end])
    text, calls, writer = written([*body, RENDERER.end], [])
    assert text == whole.content
    assert [name for name, _ in calls] == [call.name for call in whole.tool_calls]
    assert [json.loads(arguments) for _, arguments in calls] == [call.arguments for call in whole.tool_calls]
    assert writer.message.content == whole.content


@given(ids)
@settings(max_examples=60, deadline=None)
def test_any_ids_give_json_of_declared_types(tokens: list[int]) -> None:
    _, calls, _ = written(tokens, SPECS)
    for _, arguments in calls:
        assert isinstance(json.loads(arguments), dict)


@pytest.mark.parametrize(
    ("raw", "sent"), [("5", 5), ("05", "05"), ("5.5", "5.5"), ("true", "true"), ("x", "x"), (" 7", 7), ("NaN", "NaN")]
)
def test_numbers_are_sent_as_numbers_if_they_are(raw: str, sent: Any) -> None:
    body = [MARKS[0], *TOKENIZER.encode("grep_search"), *RENDERER.argument("maxResults", raw),
            *RENDERER.argument("query", '5 "x"\n\\ 🙂')]  # fmt: skip
    _, calls, _ = written([*body, RENDERER.end], SPECS)
    assert json.loads(calls[0][1]) == {"maxResults": sent, "query": '5 "x"\n\\ 🙂'}


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.randoms())
@settings(max_examples=100, deadline=None)
def test_stop_strings_in_any_portions(text: str, stops: list[str], rng: random.Random) -> None:
    reader, said, rest = StopStrings(stops), "", text
    while rest:
        size = rng.randint(1, 3)
        said += reader.feed(rest[:size])
        rest = rest[size:]
        assert reader.found or not any(stop in said for stop in stops)
    said += reader.finish()
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    if not ends:
        assert (said, reader.found) == (text, None)
    else:
        assert reader.found in stops
        assert text.startswith(said + str(reader.found))
        assert not any(stop in said for stop in stops)


@pytest.mark.parametrize("choice", ["auto", "required", "none"])
@pytest.mark.parametrize("parallel", [True, False])
def test_random_walks_through_the_grammar_are_valid_calls(choice: Any, parallel: bool) -> None:
    by_name = {tool.name: tool for tool in SPECS}
    complete = 0
    for seed in range(60):
        rng = random.Random(seed)
        grammar = CallGrammar(TOKENIZER, SPECS, choice, parallel=parallel)
        drawn: list[int] = []
        while len(drawn) < 80 and (not drawn or drawn[-1] != RENDERER.end):
            allowed = grammar.allowed()
            open_ids = allowed.only if allowed.only is not None else set(range(TOKENIZER.vocab_size)) - allowed.never
            assert open_ids, "a dead end"
            marks = sorted(open_ids & {*MARKS, RENDERER.end})
            token = rng.choice(marks) if marks and rng.random() < 0.5 else rng.choice(sorted(open_ids))
            drawn.append(token)
            grammar.advance(token)
        if drawn[-1] != RENDERER.end:
            continue
        complete += 1
        calls = RENDERER.parse(drawn).tool_calls
        assert not (choice == "none" and calls)
        assert not (choice == "required" and not calls)
        assert parallel or len(calls) <= 1
        for call in calls:
            tool = by_name[call.name]
            assert set(tool.required) <= set(call.arguments) <= set(tool.properties)
            for key, value in call.arguments.items():
                choices = tool.choices(key)
                assert choices is None or value in choices
    assert complete > 12


def test_a_renderer_s_own_calls_are_allowed() -> None:
    grammar = CallGrammar(TOKENIZER, SPECS)
    body = [*TOKENIZER.encode("I look."), MARKS[0], *TOKENIZER.encode("grep_search"),
            *RENDERER.argument("isRegexp", "false"), *RENDERER.argument("query", "def f"), MARKS[0],
            *TOKENIZER.encode("runTests"), RENDERER.end]  # fmt: skip
    for token in body:
        allowed = grammar.allowed()
        assert token in allowed.only if allowed.only is not None else token not in allowed.never
        grammar.advance(token)
