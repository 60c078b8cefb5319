"""What the real openai SDK gets from chat completions, completions and responses."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from tiny_server import CONTEXT, TOOLS

from vivace.core.types import Message, Sampling
from vivace.serve.native import NativeTarget
from vivace.text.fim import fim_ids

ASK: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "def f(x):"}]


def collected(stream: Any) -> tuple[str, list[dict[str, str]], str, Any, list[Any]]:
    """Text, calls, finish reason, usage and logprobs of a stream of chat chunks."""
    text, calls, finish, usage, logprobs = "", [], "", None, []
    for chunk in stream:
        assert chunk.object == "chat.completion.chunk"
        usage = chunk.usage or usage
        for choice in chunk.choices:
            delta = choice.delta
            assert len([1 for part in (delta.content, delta.tool_calls) if part]) <= 1
            text += delta.content or ""
            for call in delta.tool_calls or []:
                if call.id:
                    assert call.index == len(calls)
                    calls.append({"id": call.id, "name": call.function.name, "arguments": ""})
                calls[call.index]["arguments"] += call.function.arguments or ""
            finish = choice.finish_reason or finish
            logprobs += choice.logprobs.content if choice.logprobs else []
    return text, calls, finish, usage, logprobs


def test_answer_is_what_the_engine_says(sdk: openai.OpenAI, target: NativeTarget) -> None:
    answer = sdk.chat.completions.create(model="tiny", messages=ASK, temperature=0, max_tokens=24)
    codec = target.renderer
    talk = [Message(role="system", content="Be brief."), Message(role="user", content="def f(x):")]
    prompt = [*codec.render(talk)[0], *codec.generation_prompt()]
    # a greedy answer of this random model has no special tokens that the grammar would forbid, or this would differ
    direct = target.engine.submit(prompt, Sampling(temperature=0, max_tokens=24), [codec.end]).future.result()
    assert answer.choices[0].message.content == codec.parse(direct.ids).content
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(prompt)
    assert answer.usage.completion_tokens == len(direct.ids)
    again = sdk.chat.completions.create(model="tiny", messages=ASK, temperature=0, max_tokens=24)
    assert again.usage is not None
    assert again.usage.prompt_tokens_details is not None
    assert again.usage.prompt_tokens_details.cached_tokens == len(prompt) - 1


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("choice", ["auto", "required"])
def test_stream_equals_non_stream(sdk: openai.OpenAI, seed: int, choice: Any) -> None:
    tools: Any = TOOLS
    arguments: Any = {"model": "tiny", "messages": ASK, "tools": tools, "tool_choice": choice, "seed": seed,
                      "max_tokens": 60, "temperature": 0.9}  # fmt: skip
    whole = sdk.chat.completions.create(**arguments)
    stream = sdk.chat.completions.create(**arguments, stream=True, stream_options={"include_usage": True})
    text, calls, finish, usage, _ = collected(stream)
    message = whole.choices[0].message
    assert text == (message.content or "")
    made = message.tool_calls or []
    assert [(c["name"], c["arguments"]) for c in calls] == [(c.function.name, c.function.arguments) for c in made]
    assert finish == whole.choices[0].finish_reason
    assert usage.total_tokens == whole.usage.total_tokens
    known = {tool["function"]["name"]: tool["function"].get("parameters", {}).get("properties", {}) for tool in TOOLS}
    for call in calls:
        arguments = json.loads(call["arguments"])
        if finish != "length" or call is not calls[-1]:
            assert call["name"] in known
            assert set(arguments) <= set(known[call["name"]])
            assert call["name"] != "grep_search" or "query" in arguments
    if choice == "required":
        assert calls


def test_tool_choice(sdk: openai.OpenAI) -> None:
    tools: Any = TOOLS
    named: Any = {"type": "function", "function": {"name": "grep"}}
    for seed in range(6):
        settings: Any = {"model": "tiny", "messages": ASK, "tools": tools, "seed": seed, "max_tokens": 80}
        one = sdk.chat.completions.create(**settings, tool_choice=named, parallel_tool_calls=False)
        calls: Any = one.choices[0].message.tool_calls
        assert [call.function.name for call in calls] == ["grep"]
        if one.choices[0].finish_reason == "tool_calls":
            assert json.loads(calls[0].function.arguments).get("mode", "fast") in ("fast", "fastest", "slow")
        none = sdk.chat.completions.create(**settings, tool_choice="none")
        assert not none.choices[0].message.tool_calls


def test_choices_seeds_and_stops(sdk: openai.OpenAI) -> None:
    settings: Any = {"model": "tiny", "messages": ASK, "seed": 5, "max_tokens": 30}
    three = sdk.chat.completions.create(**settings, n=3)
    texts = [choice.message.content for choice in three.choices]
    assert len(set(texts)) == 3
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert sdk.chat.completions.create(**settings).choices[0].message.content == texts[0]
    text = texts[0] or ""
    stop = text[8:11]
    cut = sdk.chat.completions.create(**settings, stop=[stop, "never there"])
    assert cut.choices[0].message.content == text[: text.index(stop)]
    assert cut.choices[0].finish_reason == "stop"
    streamed, *_ = collected(sdk.chat.completions.create(**settings, stop=stop, stream=True))
    assert streamed == text[: text.index(stop)]


def test_logprobs(sdk: openai.OpenAI) -> None:
    settings: Any = {"model": "tiny", "messages": ASK, "temperature": 0, "max_tokens": 12, "logprobs": True,
                     "top_logprobs": 3}  # fmt: skip
    choice = sdk.chat.completions.create(**settings).choices[0]
    assert choice.logprobs is not None
    content = choice.logprobs.content or []
    assert b"".join(bytes(one.bytes or []) for one in content).decode("utf-8", "replace") == choice.message.content
    for one in content:
        assert len(one.top_logprobs) == 3
        assert one.logprob == one.top_logprobs[0].logprob  # greedy takes the likeliest
        assert one.top_logprobs[0].logprob >= one.top_logprobs[1].logprob
    *_, streamed = collected(sdk.chat.completions.create(**settings, stream=True))
    assert [one.logprob for one in streamed] == pytest.approx([one.logprob for one in content], abs=1e-4)


def test_bias_decides(sdk: openai.OpenAI, target: NativeTarget) -> None:
    token = target.tokenizer.encode("return")[0]
    answer = sdk.chat.completions.create(model="tiny", messages=ASK, max_tokens=5, logit_bias={str(token): 100})
    assert answer.choices[0].message.content == target.tokenizer.decode([token] * 5)


def test_a_conversation_goes_on_token_by_token(sdk: openai.OpenAI) -> None:
    """The answer comes back in history and is found in the cache whole, although sampled ids are not what its text
    encodes to."""
    tools: Any = TOOLS
    messages: Any = list(ASK)
    spent = 0
    for seed in range(3):
        answer = sdk.chat.completions.create(model="tiny", messages=messages, tools=tools, seed=seed, max_tokens=20)
        usage: Any = answer.usage
        if messages[2:]:
            assert usage.prompt_tokens_details.cached_tokens >= spent - 1
        spent = usage.prompt_tokens + usage.completion_tokens
        message = answer.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls or []:
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "nothing"})
        messages.append({"role": "user", "content": "go on"})


def test_fill_in_the_middle(sdk: openai.OpenAI, target: NativeTarget) -> None:
    prefix, suffix = "def f(x):\n    return ", "\n\nf(1)\n"
    answer = sdk.completions.create(model="tiny", prompt=prefix, suffix=suffix, max_tokens=8, temperature=0, logprobs=1)
    prompt = fim_ids(target.tokenizer, prefix, suffix)
    end = [target.renderer.end]
    ids = target.engine.submit(prompt, Sampling(temperature=0, max_tokens=8), end).future.result().ids
    assert answer.choices[0].text == target.tokenizer.decode(ids)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(prompt)
    assert answer.choices[0].logprobs is not None


def test_completions_of_several_prompts_and_of_ids(sdk: openai.OpenAI, target: NativeTarget) -> None:
    two = sdk.completions.create(model="tiny", prompt=["def", "return"], max_tokens=4, temperature=0)
    ids = [target.renderer.bos, *target.tokenizer.encode("return")]
    same = sdk.completions.create(model="tiny", prompt=ids, max_tokens=4, temperature=0)
    assert two.choices[1].text == same.choices[0].text
    parts = [chunk.choices[0].text for chunk in sdk.completions.create(
        model="tiny", prompt="return", max_tokens=4, temperature=0, stream=True) if chunk.choices]  # fmt: skip
    assert "".join(parts) == same.choices[0].text


def test_responses(sdk: openai.OpenAI) -> None:
    tool: Any = {"type": "function", **TOOLS[0]["function"], "strict": False}
    settings: Any = {"model": "tiny", "input": [{"role": "user", "content": "def f(x):"}], "instructions": "Be brief.",
                     "tools": [tool, {"type": "web_search"}], "tool_choice": "required", "max_output_tokens": 60,
                     "store": True}  # fmt: skip
    events = list(sdk.responses.create(**settings, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
    assert kinds[-1] in ("response.completed", "response.incomplete")
    last: Any = events[-1]
    call = last.response.output[0]
    assert call.type == "function_call"
    assert call.id != call.call_id
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"
              and event.output_index == 0]  # fmt: skip
    assert "".join(deltas) == call.arguments
    settings["input"] += [{"type": "function_call", "call_id": call.call_id, "name": call.name,
                           "arguments": call.arguments, "id": call.id},
                          {"type": "function_call_output", "call_id": call.call_id, "output": "found"}]  # fmt: skip
    answer = sdk.responses.create(**{**settings, "tool_choice": "none"})
    assert not [item for item in answer.output if item.type == "function_call"]
    assert answer.usage is not None
    assert answer.usage.input_tokens > 30
    plain = list(sdk.responses.create(model="tiny", input="hello", max_output_tokens=4, stream=True))
    assert [event.type for event in plain if "delta" not in event.type] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.done", "response.content_part.done", "response.output_item.done",
        "response.incomplete"]  # fmt: skip


def test_models(sdk: openai.OpenAI) -> None:
    assert [model.id for model in sdk.models.list()] == ["tiny"]
    assert sdk.models.retrieve("tiny").model_extra == {"max_model_len": CONTEXT, "context_length": CONTEXT}
    with pytest.raises(openai.NotFoundError, match="does not exist") as caught:
        sdk.chat.completions.create(model="other", messages=ASK)
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages[0].role"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
        ({"response_format": {"type": "grammar"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
         "response_format.json_schema.schema"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"temperature": 3}, "temperature"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"logit_bias": {"99999": 1}}, "logit_bias"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 99}, "n"),
    ],
)
def test_refusals_name_the_field(sdk: openai.OpenAI, change: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.chat.completions.create(**{"model": "tiny", "messages": ASK, **change})
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"
    assert caught.value.response.headers["x-request-id"].startswith("req_")


def test_too_long(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=f"maximum context length is {CONTEXT} tokens") as caught:
        sdk.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "x " * 600}])
    assert caught.value.code == "context_length_exceeded"


def test_effort_is_rendered(sdk: openai.OpenAI) -> None:
    plain = sdk.chat.completions.create(model="tiny", messages=ASK, max_tokens=1)
    low = sdk.chat.completions.create(model="tiny", messages=ASK, max_tokens=1, reasoning_effort="low")
    assert low.usage is not None
    assert plain.usage is not None
    assert low.usage.prompt_tokens == plain.usage.prompt_tokens + 1
