"""The engine as a Client, on a real tokenizer and a saved checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_decoder import tiny

from vivace.core.errors import BadInput, ContextOverflow, Stopped
from vivace.core.protocols import Client, StreamingClient
from vivace.core.types import Delta, Message, Sampling
from vivace.engine import NativeClient, load_client
from vivace.model import save_checkpoint
from vivace.text.chat import Renderer
from vivace.text.tokenizer import train_tokenizer

TALK = [Message(role="system", content="Be brief."), Message(role="user", content="def f(x): return x")]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("checkpoint") / "tiny"
    tokenizer = train_tokenizer(["def f(x):\n    return x + 1\n"] * 50, 300)
    save_checkpoint(directory, tiny(vocab_size=tokenizer.vocab_size))
    tokenizer.save(directory)
    return directory


@pytest.fixture
def client(checkpoint: Path) -> Iterator[NativeClient]:
    client = load_client(checkpoint, max_slots=4, threads=1)
    yield client
    client.close()


def test_answers_with_exact_ids(client: NativeClient) -> None:
    protocol: Client = client
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    answer = protocol.complete(TALK, tools=tools, sampling=Sampling(seed=4, max_tokens=20))
    assert client.name == "tiny"
    assert answer.ids is not None
    assert answer.logprobs is not None
    assert len(answer.ids) == len(answer.logprobs) == answer.usage.output_tokens
    assert answer.message == client.codec.parse(answer.ids)
    assert (answer.finish_reason == "stop") == (answer.ids[-1] == client.codec.end)
    rendered = [*client.codec.render(TALK)[0], *client.codec.generation_prompt()]
    assert answer.usage.input_tokens == len(rendered)
    again = client.complete([], tools=[], sampling=Sampling(seed=4, max_tokens=20), prompt_ids=rendered)
    assert again.ids == answer.ids
    assert again.usage.cached_tokens == len(rendered) - 1


class Listener:
    def __init__(self, patience: int = 10**9) -> None:
        self.heard: list[Delta] = []
        self.patience = patience

    def delta(self, delta: Delta) -> None:
        self.heard.append(delta)

    def stopped(self) -> bool:
        return len(self.heard) >= self.patience


def test_an_answer_that_is_listened_to_is_the_same(client: NativeClient) -> None:
    assert isinstance(client, StreamingClient)
    sampling = Sampling(seed=4, max_tokens=60)
    silent, listener = client.complete(TALK, sampling=sampling), Listener()
    aloud = client.stream(TALK, sampling=sampling, listener=listener)
    assert (aloud.ids, aloud.logprobs, aloud.message) == (silent.ids, silent.logprobs, silent.message)
    assert "".join(delta.text for delta in listener.heard) == aloud.message.content
    assert [delta.call for delta in listener.heard if delta.call] == [call.name for call in aloud.message.tool_calls]


def test_an_answer_that_is_given_up_leaves_the_engine_free(client: NativeClient) -> None:
    with pytest.raises(Stopped):
        client.stream(TALK, sampling=Sampling(max_tokens=10**6), listener=Listener(patience=2))
    assert client.complete(TALK, sampling=Sampling(max_tokens=3)).usage.output_tokens == 3


def test_a_second_turn_starts_from_the_first(client: NativeClient) -> None:
    first = client.complete(TALK, sampling=Sampling(max_tokens=10))
    assert first.ids is not None
    prompt = [*client.codec.render(TALK)[0], *client.codec.generation_prompt(), *first.ids, 40, 41]
    second = client.complete([], sampling=Sampling(max_tokens=3), prompt_ids=prompt)
    assert second.usage.cached_tokens == len(prompt) - 3


def test_the_end_of_the_context(client: NativeClient) -> None:
    room = client.engine.max_len
    nearly = client.complete([], sampling=Sampling(max_tokens=50), prompt_ids=[40] * (room - 3))
    assert nearly.usage.output_tokens <= 3
    with pytest.raises(ContextOverflow, match=f"{room} tokens"):
        client.complete([], sampling=Sampling(), prompt_ids=[40] * room)


def test_effort_is_rendered(checkpoint: Path) -> None:
    with pytest.raises(BadInput):
        load_client(checkpoint / "nowhere")
    client = load_client(checkpoint, name="n", effort="low", max_slots=1, threads=1)
    try:
        plain = Renderer(client.codec.tokenizer).render(TALK)[0]
        answer = client.complete(TALK, sampling=Sampling(max_tokens=1))
        assert (client.name, answer.usage.input_tokens) == ("n", len(plain) + 2)
        client.effort = None
        assert client.complete(TALK, sampling=Sampling(max_tokens=1)).usage.input_tokens == len(plain) + 1
    finally:
        client.close()


def test_what_has_no_tools_is_answered_in_words(client: NativeClient) -> None:
    """As behind our server, where a call cannot begin when nothing can be called."""
    special = set(client.codec.tokenizer.special.values()) - {client.codec.end}
    tool = [{"type": "function", "function": {"name": "f", "parameters": {}}}]

    def drawn(tools: list[dict[str, object]]) -> set[int]:
        answers = [client.complete(TALK, tools=tools, sampling=Sampling(seed=seed, temperature=3.0, max_tokens=40))
                   for seed in range(6)]
        return {token for answer in answers for token in answer.ids or ()}

    assert drawn(tool) & special
    assert not drawn([]) & special
