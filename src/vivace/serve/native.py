"""A model of this machine as a `Target`: messages to ids, ids to events, and an answer that can be called off."""

from __future__ import annotations

import asyncio
import hashlib
from array import array
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from vivace.core.errors import VivaceError
from vivace.core.files import digest
from vivace.core.types import Message, Sampling
from vivace.serve.ask import Ask, Count, End, Event, TokenLogprob
from vivace.serve.errors import ApiError, bad, unsupported
from vivace.serve.shaping import Grammar, Watch
from vivace.serve.writing import AnswerWriter
from vivace.text.chat import Renderer
from vivace.text.fim import fim_ids
from vivace.text.grammar import CallGrammar

Drawn = tuple[int, TokenLogprob | None]
REMEMBERED = 4096  # answers whose exact ids are kept


class Generated(Protocol):
    """See `engine.scheduler.Generated`."""

    @property
    def finish_reason(self) -> str: ...
    @property
    def cached_tokens(self) -> int: ...


class Ticket(Protocol):
    """See `engine.scheduler.Ticket`."""

    future: Future[Any]
    cached: int
    drafted: int
    accepted: int

    def cancel(self) -> None: ...


class Engine(Protocol):
    """See `engine.engine.Engine`."""

    max_len: int
    stats: Any

    @property
    def load(self) -> tuple[int, int]: ...
    @property
    def runner(self) -> str: ...
    def submit(
        self, prompt_ids: Sequence[int], sampling: Sampling, stop_ids: Iterable[int] = (), *, watcher: Any = None,
        expected: Sequence[int] = (),
    ) -> Any: ...
    def close(self) -> None: ...


class NativeTarget:
    """`constrain`: calls are held to the declared tools and parameters (see `text.grammar`)."""

    can_fill = True

    def __init__(self, name: str, engine: Engine, renderer: Renderer, *, constrain: bool = True) -> None:
        self.name, self.engine, self.renderer, self.constrain = name, engine, renderer, constrain
        self.tokenizer = renderer.tokenizer
        self._answers = _Answers()

    @property
    def context_length(self) -> int:
        return self.engine.max_len

    def count_tokens(self, ask: Ask) -> int:
        return len(self.prompt(ask))

    def prompt(self, ask: Ask) -> list[int]:
        """The ids that the answer follows."""
        if ask.text_ids:
            if max(ask.text_ids) >= self.tokenizer.vocab_size or min(ask.text_ids) < 0:
                raise bad(f"prompt has an id outside the vocabulary of {self.tokenizer.vocab_size}", "prompt")
            return list(ask.text_ids)
        if ask.suffix is not None:
            return fim_ids(self.tokenizer, ask.text or "", ask.suffix)
        if ask.text is not None:
            return [self.renderer.bos, *self.tokenizer.encode(ask.text)]
        return self._conversation(ask)

    async def answer(self, ask: Ask) -> AsyncIterator[Event]:
        prompt = self.prompt(ask)
        ticket, queue = self._submit(ask, prompt, await asyncio.to_thread(self._grammar, ask))
        writer = AnswerWriter(self.tokenizer, ask.tools, ask.stop)
        ids: list[int] = []
        try:
            while (item := await queue.get()) is not None:
                ids.append(item[0])
                for event in writer.feed(*item):
                    yield event
                if writer.stopped is not None:
                    break
            for event in writer.finish():
                yield event
        finally:
            ticket.cancel()
        ended = bool(ids) and ids[-1] == self.renderer.end
        count = Count(len(prompt), ticket.cached, len(ids), 0, ticket.accepted, ticket.drafted - ticket.accepted)
        if writer.stopped is not None:
            yield End("stop", count, writer.stopped)
            return
        if (error := ticket.future.exception()) is not None:
            yield End("stop", count, error=str(error))
            return
        if ask.text is None and not ask.text_ids:
            self._answers.keep(prompt, writer.message, ids)
        yield End("length" if not ended else "tool_calls" if writer.called else "stop", count)

    async def aclose(self) -> None:
        await asyncio.to_thread(self.engine.close)

    def _submit(
        self, ask: Ask, prompt: list[int], grammar: Grammar | None
    ) -> tuple[Ticket, asyncio.Queue[Drawn | None]]:
        room = self.context_length - len(prompt)
        if room < 1:
            raise ApiError(
                400, f"this model's maximum context length is {self.context_length} tokens, and the prompt has "
                f"{len(prompt)}; shorten it", code="context_length_exceeded", param="messages",
                extra={"n_prompt_tokens": len(prompt), "n_ctx": self.context_length})  # fmt: skip
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
        """What the answer is held to. Compiling a large schema takes a while, so this is not for the event loop."""
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

    def _conversation(self, ask: Ask) -> list[int]:
        """Rendered as the one renderer does it; answers given here come back with the very ids they were drawn in."""
        renderer = Renderer(self.tokenizer, ask.effort or self.renderer.effort)
        first, *rest = _with_system(ask)
        ids = renderer.message(first)[0]
        for number, message in enumerate(rest):
            if message.role != "assistant":
                ids += renderer.message(message)[0]
                continue
            ids += renderer.generation_prompt()
            kept = self._answers.find(ids, message)
            body = kept if kept is not None else renderer.answer(message)
            if number == len(rest) - 1 and not message.tool_calls:
                return ids + [token for token in body if token != renderer.end]  # to be continued
            ids += body if body and body[-1] == renderer.end else [*body, renderer.end]
        return [*ids, *renderer.generation_prompt()]


def _with_system(ask: Ask) -> list[Message]:
    """One system message first, which also names the tools. Later ones are shown as the user's: a prompt only grows."""
    messages = list(ask.messages)
    system: list[str] = []
    while messages and messages[0].role == "system":
        system.append(messages.pop(0).content)
    text = "\n\n".join(system)
    if ask.tools and ask.tool_choice != "none":
        text = "\n".join([*([text] if text else []), "Tools:", *(tool.signature() for tool in ask.tools)])
    later = [m.model_copy(update={"role": "user"}) if m.role == "system" else m for m in messages]
    return [Message(role="system", content=text), *later]


class _Answers:
    """Ids of answers by the ids before them and their content, so that a next turn goes on token by token."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, list[int]] = OrderedDict()

    def keep(self, prompt: Sequence[int], message: Message, ids: list[int]) -> None:
        self._ids[_key(prompt, message)] = ids
        if len(self._ids) > REMEMBERED:
            self._ids.popitem(last=False)

    def find(self, prompt: Sequence[int], message: Message) -> list[int] | None:
        key = _key(prompt, message)
        found = self._ids.get(key)
        if found is not None:
            self._ids.move_to_end(key)
        return found


def _key(prompt: Sequence[int], message: Message) -> str:
    before = hashlib.blake2b(array("q", prompt).tobytes(), digest_size=16).hexdigest()
    return digest([before, message.content, [[call.name, call.arguments] for call in message.tool_calls]], 32)
