"""Whatever an endpoint does in the middle of an attempt, it ends in time with its trajectory whole: an answer, or a
typed error. The faults are data (`faults/chat.toml`); each is met as a stream, and those of the responses API below."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from calc_repo import TASK
from fault_server import chat_events, faulty, response_events

from vivace.core.errors import Stopped
from vivace.core.types import Delta, Message, Sampling, Trajectory
from vivace.harness.clients.openai import Api, OpenAIClient
from vivace.harness.environment import Environment
from vivace.harness.hooks import Hooks
from vivace.harness.loop import Limits, run

FAULTS: dict[str, dict[str, Any]] = tomllib.loads((Path(__file__).parent / "faults" / "chat.toml").read_text())
QUESTION = TASK.model_copy(update={"problem_statement": "Mend add", "FAIL_TO_PASS": [], "PASS_TO_PASS": []})
EDIT = '{"filePath": "/workspace/calc/ops.py", "oldString": "return a - b", "newString": "return a + b"}'
LOOK = '{"filePath": "/workspace/README.md", "startLine": 1, "endLine": 2}'
USED = {"prompt_tokens": 50, "completion_tokens": 10}
SECONDS = 20.0  # of the whole attempt, on a busy machine; a hang would be minutes
PARTS: dict[str, list[Any]] = {
    "@text": chat_events("some words of an answer that is cut before its end", usage=USED),
    "@text_without_end": chat_events("some words", finish=None, done=False),
    "@long_text": chat_events("words " * 200),
    "@call": chat_events("I look.", ("read_file", LOOK)),
    "@call_without_end": chat_events("I look.", ("read_file", LOOK[:30]), finish=None, done=False),
    "@half_call": chat_events("", ("read_file", LOOK[:30]), finish="tool_calls"),
    "@unknown_tool": chat_events("", ("rm_rf", "{}"), finish="tool_calls"),
    "@short": chat_events("ok", done=False),
    "@short_without_done": chat_events("ok", done=False),
    "@cut_by_length": chat_events("words without end", finish="length"),
    "@deep": [f"data: {'[' * 100_000}\n\n"],
    "@done": ["data: [DONE]\n\n"],
}


class Ears(Hooks):
    listens = True

    def __init__(self) -> None:
        self.heard: list[Delta] = []
        self.recorded_messages: list[Message] = []

    def delta(self, delta: Delta) -> None:
        self.heard.append(delta)

    def recorded(self, message: Message, workspace: Any, piece: Any) -> None:
        self.recorded_messages.append(message)

    def text(self) -> str:
        """What stands there in the end."""
        last = max((at + 1 for at, delta in enumerate(self.heard) if delta.again), default=0)
        return "".join(delta.text for delta in self.heard[last:])


def client(url: str, api: Api = "chat", **options: Any) -> OpenAIClient:
    return OpenAIClient(url, "tiny", api=api, **{"backoff_s": 0.01, "timeout_s": 1.0, "answer_s": 2.0, "retries": 2,
                                                 **options})  # fmt: skip


def expand(reply: dict[str, Any]) -> dict[str, Any]:
    if "events" not in reply:
        return reply
    return {**reply, "events": [one for event in reply["events"] for one in PARTS.get(event, [event])]}


def attempt(env: Environment, url: str, ears: Hooks, api: Api = "chat") -> Trajectory:
    start = time.monotonic()
    done = run(QUESTION, env, client(url, api), Limits(), hooks=ears)
    assert time.monotonic() - start < SECONDS
    return done


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_mid_attempt(env: Environment, name: str) -> None:
    fault, ears = FAULTS[name], Ears()
    replies = [{"events": chat_events("First.", ("replace_string_in_file", EDIT), usage=USED)},
               *map(expand, fault["fault"]), {"events": chat_events("Done.", usage=USED)}]  # fmt: skip
    with faulty(replies) as server:
        done = attempt(env, server.url, ears)
        requests = len(server.requests)
    # Nothing that was done is lost, and nothing is recorded by halves.
    assert "+    return a + b" in done.patch
    assert [m.role for m in done.messages[:4]] == ["system", "user", "assistant", "tool"]
    assert ears.recorded_messages == done.messages
    calls = [call.id for m in done.messages for call in m.tool_calls]
    assert [m.tool_call_id for m in done.messages if m.role == "tool"] == calls
    assert done.usage.output_tokens >= 10
    # And it ends as it should.
    assert (done.error_kind or done.stop_reason, requests) == (fault["ends"], fault["requests"]), done.error
    assert (done.stop_reason == "infra") == bool(done.error) == bool(done.error_kind)
    assert "\n" not in done.error
    assert any(delta.again for delta in ears.heard) == fault.get("again", any(d.again for d in ears.heard))
    if fault["ends"] == "complete":
        assert done.answer() == fault.get("said", "Done.")
        assert ears.text().endswith(done.answer())
    if "result" in fault:
        assert done.messages[5].content.startswith(fault["result"])


def test_there_are_enough_of_them() -> None:
    assert len(FAULTS) >= 30


RESPONSES: dict[str, tuple[list[dict[str, Any]], str, int]] = {
    "well": ([], "complete", 2),
    "cut": ([{"events": response_events("some words"), "cut": 200}], "complete", 3),
    "ends before its end": ([{"events": response_events("some words")[:-1]}], "complete", 3),
    "failed": ([{"events": [{"type": "response.failed", "response": {
        "status": "failed", "error": {"message": "out of memory"}}}]}] * 3, "endpoint_failed", 4),
    "an error event": ([{"events": [{"type": "error", "message": "server_error", "code": "server_error"}]}],
                       "complete", 3),
    "no response in the last event": ([{"events": [{"type": "response.completed"}]}], "bad_answer", 2),
    "an item that is none": ([{"events": [{"type": "response.output_item.done", "item": 3}]}], "bad_answer", 2),
    "a call without a name": ([{"events": response_events("", ("", "{}"))}], "bad_answer", 2),
    "filtered": ([{"events": [{"type": "response.incomplete", "response": {
        "status": "incomplete", "output": [], "incomplete_details": {"reason": "content_filter"}}}]}], "filtered", 2),
    "output only in the items": ([{"events": [*response_events("", ("read_file", LOOK))[:-1], {
        "type": "response.completed", "response": {"status": "completed", "output": []}}]}], "complete", 3),
}  # fmt: skip


@pytest.mark.parametrize("name", RESPONSES)
def test_faults_of_the_responses_api(env: Environment, name: str) -> None:
    fault, ends, requests = RESPONSES[name]
    usage = {"input_tokens": 50, "output_tokens": 10, "input_tokens_details": {"cached_tokens": 20}}
    first = response_events("First.", ("replace_string_in_file", EDIT), usage=usage)
    ears = Ears()
    with faulty([{"events": first}, *fault, {"events": response_events("Done.", usage=usage)}]) as server:
        done = attempt(env, server.url, ears, "responses")
        sent = server.requests
    assert "+    return a + b" in done.patch
    assert (done.error_kind or done.stop_reason, len(sent)) == (ends, requests), done.error
    assert [item["type"] for item in sent[1]["input"]] == ["message", "message", "function_call",
                                                           "function_call_output"]  # fmt: skip
    assert sent[1]["input"][2]["call_id"] == sent[1]["input"][3]["call_id"] == "id0"
    assert sent[0]["instructions"].startswith("You are")
    assert sent[0]["tools"][0]["name"] == "read_file"
    assert done.usage.cached_tokens >= 20
    if ends == "complete":
        assert done.answer() == "Done."
        assert Delta(call="replace_string_in_file") in ears.heard
        assert ears.text().endswith("Done.")


class Impatient(Ears):
    def stopped(self) -> bool:
        return bool(self.heard)


def test_an_answer_can_be_given_up(env: Environment) -> None:
    """While it comes, and while nothing comes."""
    ears = Impatient()
    with faulty([{"events": PARTS["@long_text"], "pause": 0.2}]) as server:
        start = time.monotonic()
        done = run(QUESTION, env, client(server.url, timeout_s=60, answer_s=60), Limits(), hooks=ears)
    assert done.stop_reason == "cancelled"
    assert time.monotonic() - start < 10
    assert [m.role for m in done.messages] == ["system", "user"]


def test_waiting_for_another_try_can_be_given_up() -> None:
    class Listener:
        def delta(self, delta: Delta) -> None: ...
        def stopped(self) -> bool:
            return time.monotonic() > start + 0.3

    start = time.monotonic()
    with faulty([{"status": 429, "body": "", "headers": {"retry-after": "30"}}]) as server, pytest.raises(Stopped):
        client(server.url).stream([Message(role="user", content="x")], tools=[], sampling=Sampling(),
                                  listener=Listener())
    assert time.monotonic() - start < 5


def test_seconds_end_an_answer_that_is_listened_to(env: Environment) -> None:
    with faulty([{"events": PARTS["@text"], "pause": 20.0}]) as server:
        done = run(QUESTION, env, client(server.url, timeout_s=60), Limits(max_seconds=0.5), hooks=Ears())
    assert done.stop_reason == "seconds"


@pytest.mark.parametrize(("api", "field", "words"), [
    ("chat", "stream_options", "Unknown field: stream_options"),
    ("chat", "reasoning_effort", "reasoning_effort is not supported by this model"),
    ("chat", "seed", "extra inputs are not permitted: seed"),
    ("responses", "reasoning", "Unsupported parameter: reasoning"),
])
def test_fields_that_an_endpoint_does_not_know_are_left_out(api: Api, field: str, words: str) -> None:
    class Listener:
        def delta(self, delta: Delta) -> None: ...
        def stopped(self) -> bool:
            return False

    answer = chat_events("ok") if api == "chat" else response_events("ok")
    refusal = {"status": 400, "body": f'{{"error": {{"message": "{words}"}}}}'}
    with faulty([refusal, {"events": answer}]) as server:
        chosen = client(server.url, api, effort="high")
        done = chosen.stream([Message(role="user", content="x")], tools=[], sampling=Sampling(), listener=Listener())
        first, second = server.requests
    assert done.message.content == "ok"
    assert set(first) - set(second) == {field} == chosen.left_out


def test_the_effort_reaches_the_endpoint() -> None:
    with faulty([{"body": '{"choices": [{"message": {"content": "ok"}}]}'},
                 {"body": '{"status": "completed", "output": []}'}]) as server:  # fmt: skip
        for api in ("chat", "responses"):
            client(server.url, api, effort="low").complete([Message(role="user", content="x")], tools=[],
                                                           sampling=Sampling())
        chat, responses = server.requests
    assert chat["reasoning_effort"] == "low"
    assert responses["reasoning"] == {"effort": "low"}
    assert responses["store"] is False
