"""A model of this machine as a `Target`: its answers are computed by the engine, and can be called off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from vivace.core.errors import VivaceError
from vivace.core.types import Sampling
from vivace.serve.ask import Ask
from vivace.serve.errors import ApiError, bad, unsupported
from vivace.serve.rendered import Drawn, RenderedTarget, Ticket
from vivace.serve.shaping import Grammar, Watch
from vivace.text.chat import Renderer
from vivace.text.grammar import CallGrammar


class Engine(Protocol):
    """See `engine.engine.Engine`."""

    max_len: int
    stats: Any

    @property
    def load(self) -> tuple[int, int]: ...
    @property
    def cache_bytes(self) -> int: ...
    @property
    def runner(self) -> str: ...
    def submit(
        self, prompt_ids: Sequence[int], sampling: Sampling, stop_ids: Iterable[int] = (), *, watcher: Any = None,
        expected: Sequence[int] = (),
    ) -> Any: ...
    def close(self) -> None: ...


class NativeTarget(RenderedTarget):
    """`constrain`: calls are held to the declared tools and parameters (see `text.grammar`)."""

    def __init__(self, name: str, engine: Engine, renderer: Renderer, *, constrain: bool = True) -> None:
        super().__init__(name, renderer)
        self.engine, self.constrain = engine, constrain
        self.context_length = engine.max_len

    async def aclose(self) -> None:
        await asyncio.to_thread(self.engine.close)

    def _submit(
        self, ask: Ask, prompt: list[int], grammar: Grammar | None
    ) -> tuple[Ticket, asyncio.Queue[Drawn | None]]:
        room = self._room(prompt)
        if any(token >= self.tokenizer.vocab_size for token in ask.shaping.bias):
            raise bad(f"logit_bias names an id outside the vocabulary of {self.tokenizer.vocab_size}", "logit_bias")
        if ask.tool_choice == "required" and not self.constrain:
            raise unsupported("tool_choice", "this server was started with --no-grammar, so no call can be required")
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Drawn | None] = asyncio.Queue()

        def tell(item: Drawn | None) -> None:
            try:
                loop.call_soon_threadsafe(queue.put_nowait, item)
            except RuntimeError:  # the loop is closed: nobody listens any more
                ticket.cancel()

        sampling = ask.sampling.model_copy(update={"max_tokens": min(ask.max_tokens or room, room)})
        watch = Watch(
            self.tokenizer, lambda token, logprob: tell((token, logprob)), shaping=ask.shaping, top=ask.logprobs,
            temperature=sampling.temperature, grammar=grammar,
        )  # fmt: skip
        expected = self.tokenizer.encode(ask.prediction) if ask.prediction else ()
        try:
            ticket: Ticket = self.engine.submit(
                prompt, sampling, [self.renderer.end], watcher=watch, expected=expected)
        except VivaceError as error:
            raise (ApiError(503, str(error)) if error.exit_code != 2 else bad(str(error))) from None
        ticket.future.add_done_callback(lambda _: tell(None))
        return ticket, queue

    def _grammar(self, ask: Ask) -> Grammar | None:
        calls = CallGrammar(self.tokenizer, ask.tools, ask.tool_choice, parallel=ask.parallel_tool_calls)
        if ask.schema is None or (ask.tools and ask.tool_choice == "required"):
            return calls if self.constrain else None
        from vivace.text.json_grammar import JsonGrammar, json_grammar

        try:
            may_call = ask.tools and ask.tool_choice == "auto"
            return JsonGrammar(self.tokenizer, json_grammar(ask.schema), calls if may_call else None)
        except VivaceError as error:
            raise bad(f"Invalid schema for {ask.schema_field}: {error}", ask.schema_field,
                      "invalid_json_schema") from None  # fmt: skip
