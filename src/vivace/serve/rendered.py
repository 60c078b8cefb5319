"""Conversations with a model whose tokenizer we have: messages to ids, ids to events, whoever computes between them."""

from __future__ import annotations

import asyncio
import hashlib
from array import array
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from vivace.core.files import digest
from vivace.core.types import Message
from vivace.serve.ask import Ask, Count, End, Event, TokenLogprob
from vivace.serve.errors import ApiError, bad
from vivace.serve.shaping import Grammar
from vivace.serve.writing import AnswerWriter
from vivace.text.chat import Renderer
from vivace.text.fim import fim_ids

Drawn = tuple[int, TokenLogprob | None]
REMEMBERED = 4096  # answers whose exact ids are kept


class Ticket(Protocol):
    """See `engine.scheduler.Ticket`."""

    future: Future[Any]
    cached: int
    drafted: int
    accepted: int

    def cancel(self) -> None: ...


class RenderedTarget:
    """Implements all of `ask.Target` but the computing: `_submit` starts that, `_grammar` says what holds it."""

    can_fill = True
    context_length: int

    def __init__(self, name: str, renderer: Renderer) -> None:
        self.name, self.renderer, self.tokenizer = name, renderer, renderer.tokenizer
        self._answers = _Answers()

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
            if isinstance(error, ApiError) and not ids:
                raise error
            yield End("stop", count, error=str(error))
            return
        if ask.text is None and not ask.text_ids:
            self._answers.keep(prompt, writer.message, ids)
        yield End("length" if not ended else "tool_calls" if writer.called else "stop", count)

    def _grammar(self, ask: Ask) -> Grammar | None:
        """What the answer is held to. Compiling a large schema takes a while, so this is not for the event loop."""
        raise NotImplementedError

    def _submit(
        self, ask: Ask, prompt: list[int], grammar: Grammar | None
    ) -> tuple[Ticket, asyncio.Queue[Drawn | None]]:
        """Start computing. The queue gets every token as it is drawn, and None at the end."""
        raise NotImplementedError

    def _room(self, prompt: Sequence[int]) -> int:
        """Tokens left for an answer. ApiError when there are none."""
        room = self.context_length - len(prompt)
        if room < 1:
            raise ApiError(
                400, f"this model's maximum context length is {self.context_length} tokens, and the prompt has "
                f"{len(prompt)}; shorten it", code="context_length_exceeded", param="messages",
                extra={"n_prompt_tokens": len(prompt), "n_ctx": self.context_length})  # fmt: skip
        return room

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
