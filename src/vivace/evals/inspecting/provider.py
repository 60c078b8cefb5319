"""Our clients as Inspect's models: the API behind `vivace/...`, and a client whose calls Inspect sees and records.

A call of ours carries more than Inspect's types hold (exact token ids, the seed of a draw, typed errors). It therefore
waits under a number beside the messages that Inspect is shown; the API behind takes it from there and puts the answer
back, so that nothing is lost in between. Calls of Inspect's own tasks have no number and are translated.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from inspect_ai.model import GenerateConfig, Model, ModelAPI, ModelOutput, modelapi

from vivace.core.errors import BadInput, VivaceError
from vivace.core.protocols import Client
from vivace.core.types import Completion, Message, Sampling
from vivace.evals.inspecting import wire

KEY, CHARACTERS_PER_TOKEN = "vivace_call", 3.4
openers: list[Callable[[str], Client]] = []
"""How the command line makes a client of a name; put here by what Inspect loads of the package."""
loop_of_sample: ContextVar[asyncio.AbstractEventLoop | None] = ContextVar("vivace_inspect_loop", default=None)
"""The loop of the sample whose attempt is being played in this thread."""


@dataclass
class _Call:
    messages: Sequence[Message]
    tools: Sequence[dict[str, Any]]
    sampling: Sampling
    prompt_ids: Sequence[int]
    answer: Completion | None = None
    error: VivaceError | None = None

    def run(self, client: Client) -> None:
        try:
            self.answer = client.complete(self.messages, tools=self.tools, sampling=self.sampling,
                                          prompt_ids=self.prompt_ids)
        except VivaceError as error:
            self.error = error


@modelapi("vivace")
class ClientAPI(ModelAPI):  # type: ignore[misc]
    """Any client of ours behind Inspect's interface, or the one that `openers` make of a name."""

    def __init__(self, model_name: str, base_url: str | None = None, api_key: str | None = None, config: Any = None,
                 client: Client | None = None, connections: int = 16) -> None:
        super().__init__(model_name=model_name)
        if client is None and not openers:
            raise BadInput("no model; install the package, then: inspect eval TASK --model vivace/FOLDER")
        self.client, self.connections = client or openers[0](model_name), connections
        self.waiting: dict[int, _Call] = {}

    async def generate(self, input: list[Any], tools: list[Any], tool_choice: Any, config: Any) -> Any:
        """Answers; an error of ours becomes the output's, and is raised again by whoever asked through `Seen`."""
        call = self.waiting.get((config.extra_body or {}).get(KEY, 0))
        if call is None:
            call = _Call(wire.from_chat(input), wire.from_tools(tools), wire.from_config(config), ())
            await asyncio.to_thread(call.run, self.client)
            if call.error is not None:
                raise call.error
        else:
            await asyncio.to_thread(call.run, self.client)
        if call.answer is None:
            return ModelOutput(model=self.model_name, error=str(call.error))
        return wire.to_output(self.model_name, call.answer)

    async def count_text_tokens(self, text: str) -> int:
        """An estimate where there is no tokenizer of ours: Inspect's own would be fetched from the net."""
        codec: Any = self.client.codec
        return len(codec.tokenizer.encode(text)) if codec is not None else int(len(text) / CHARACTERS_PER_TOKEN)

    def max_connections(self) -> int:
        return self.connections

    def connection_key(self) -> str:
        return f"vivace/{self.model_name}"


class Seen:
    """A client whose calls go through Inspect's model while a sample is played, and straight to it otherwise."""

    def __init__(self, client: Client, connections: int) -> None:
        self.client, self.name, self.codec = client, client.name, client.codec
        self.api = ClientAPI(client.name, client=client, connections=connections)
        self.model = Model(self.api, GenerateConfig(max_connections=connections))
        self._numbers, self._lock = itertools.count(1), threading.Lock()
        window = getattr(client, "window", None)
        if window is not None:
            self.window = window  # read by limits; an endpoint has none

    def complete(
        self, messages: Sequence[Message], *, tools: Sequence[dict[str, Any]], sampling: Sampling,
        prompt_ids: Sequence[int] = (),
    ) -> Completion:
        """What the client answers. Raises what it raises."""
        loop, call = loop_of_sample.get(), _Call(messages, tools, sampling, prompt_ids)
        if loop is None:
            call.run(self.client)
        else:
            with self._lock:
                number = next(self._numbers)
            self.api.waiting[number] = call
            config = GenerateConfig(extra_body={KEY: number}, temperature=sampling.temperature, seed=sampling.seed,
                                    max_tokens=sampling.max_tokens, top_p=sampling.top_p)
            asked = self.model.generate(wire.to_chat(messages), wire.to_tools(tools), config=config)
            try:
                asyncio.run_coroutine_threadsafe(asked, loop).result()
            finally:
                del self.api.waiting[number]
        if call.error is not None:
            raise call.error
        assert call.answer is not None
        return call.answer

    def close(self) -> None:
        close = getattr(self.client, "close", None)
        if close:
            close()
