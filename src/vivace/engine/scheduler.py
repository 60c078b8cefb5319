"""Who computes what in the next step. Sequences join and leave between tokens; long prompts go in chunks.

There is one kind of work: the tail of a sequence's ids that has no keys and values yet. A fresh prompt has a long
tail, a sequence that is decoding has a tail of one, and after a weight swap everything is tail again.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from vivace.core.types import Sampling
from vivace.engine.cache import SlotCache
from vivace.engine.without_replacement import WithoutReplacement

PREFILL_TOKENS = 512  # prompt tokens in one step, beside the decoding sequences, which never wait longer than this
FinishReason = Literal["stop", "length", "cancelled"]


class Generated(NamedTuple):
    """What a request came to. `ids` end with the stop id when finish_reason is "stop"; one logprob per id.

    `cached_tokens` of the prompt were not computed again; `version` counts the weight swaps before the last token.
    """

    ids: list[int]
    logprobs: list[float]
    finish_reason: FinishReason
    cached_tokens: int
    version: int = 0


@dataclass(eq=False, slots=True)
class Ticket:
    """One request, and the sequence it grows into."""

    ids: list[int]
    sampling: Sampling
    stop_ids: frozenset[int]
    stream: random.Random
    seen: WithoutReplacement
    prompt_len: int
    max_tokens: int
    future: Future[Generated] = field(default_factory=Future)
    logprobs: list[float] = field(default_factory=list)
    slot: int = -1
    done: int = 0  # ids[:done] have keys and values in the slot
    cached: int = 0
    cancelled: bool = False

    def result(self, timeout: float | None = None) -> Generated:
        """Wait for the answer (TimeoutError after `timeout` seconds)."""
        return self.future.result(timeout)

    def cancel(self) -> None:
        """Stop at the next token boundary; `result` then gives what there is, as "cancelled"."""
        self.cancelled = True


class Chunk(NamedTuple):
    """ids[start : start + size] of a sequence, to be computed in this step."""

    ticket: Ticket
    start: int
    size: int

    @property
    def last(self) -> bool:
        """Whether the sequence's newest token is in it, so that the step yields the next one."""
        return self.start + self.size == len(self.ticket.ids)


class Scheduler:
    """Owned by one thread."""

    def __init__(self, cache: SlotCache) -> None:
        self.cache = cache
        self.waiting: deque[Ticket] = deque()
        self.running: list[Ticket] = []
        self.version = 0
        self.cached_tokens = 0

    @property
    def busy(self) -> bool:
        return bool(self.running or self.waiting)

    def schedule(self) -> list[Chunk]:
        """The next step's work: every decoding sequence, and up to PREFILL_TOKENS of prompts, oldest first."""
        self._drop_cancelled()
        self._admit()
        budget = PREFILL_TOKENS
        chunks: list[Chunk] = []
        for ticket in self.running:
            tail = len(ticket.ids) - ticket.done
            count = tail if tail == 1 else min(tail, budget)
            if count:
                chunks.append(Chunk(ticket, ticket.done, count))
                budget -= count if tail > 1 else 0
        return chunks

    def commit(self, chunks: Sequence[Chunk], tokens: Iterable[int], logprobs: Iterable[float]) -> None:
        """Take in a step: chunks are written; tokens and logprobs belong to the chunks that were `last`, in order."""
        drawn = iter(zip(tokens, logprobs))
        for chunk in chunks:
            ticket, last = chunk.ticket, chunk.last
            ticket.done = chunk.start + chunk.size
            self.cache.written(ticket.slot, chunk.start, ticket.ids[chunk.start : ticket.done])
            if last:
                token, logprob = next(drawn)
                ticket.ids.append(token)
                ticket.logprobs.append(logprob)
                if token in ticket.stop_ids:
                    self._finish(ticket, "stop")
                elif len(ticket.logprobs) == ticket.max_tokens:
                    self._finish(ticket, "length")
        self.running = [ticket for ticket in self.running if not ticket.future.done()]

    def restart(self) -> None:
        """The weights changed: nothing computed so far counts, what was sampled does."""
        self.version += 1
        self.cache.invalidate()
        for ticket in self.running:
            ticket.done = 0

    def _admit(self) -> None:
        for _ in range(len(self.waiting)):
            ticket = self.waiting.popleft()
            lease = self.cache.acquire(ticket.ids)
            if lease is None:
                self.waiting.append(ticket)  # a full round keeps the order
            else:
                ticket.slot, ticket.done, ticket.cached = lease.slot, lease.cached, lease.cached
                self.cached_tokens += lease.cached
                self.running.append(ticket)

    def _drop_cancelled(self) -> None:
        gone = [ticket for ticket in (*self.running, *self.waiting) if ticket.cancelled]
        for ticket in gone:
            self._finish(ticket, "cancelled")
            (self.running if ticket in self.running else self.waiting).remove(ticket)

    def _finish(self, ticket: Ticket, reason: FinishReason) -> None:
        if ticket.slot >= 0:
            self.cache.release(ticket.slot)
        ids = ticket.ids[ticket.prompt_len :]
        ticket.future.set_result(Generated(ids, ticket.logprobs, reason, ticket.cached, self.version))
