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
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vivace.core.errors import ModelError
from vivace.core.types import Sampling
from vivace.engine.cache import PagedCache
from vivace.engine.speculation import Costs, Drafter
from vivace.engine.without_replacement import WithoutReplacement

PREFILL_TOKENS = 512  # prompt tokens in one step, beside the decoding sequences, which never wait longer than this
PATIENCE = 200  # times that others may pass a prompt that does not fit
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
    drafted_tokens: int = 0
    accepted_tokens: int = 0


class Watcher(Protocol):
    """Follows one request from inside the computing thread, so it must be quick. What it raises fails its request."""

    def shape(self, logits_V: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logits to draw the next token from (finite, as many): a bias, a grammar."""

    def drawn(self, token: int, logprob: float, logits_V: NDArray[np.float32]) -> None:
        """A token was drawn from these logits."""


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
    refused: int = 0  # times there was a slot but no place for it
    admitted: bool = False  # was given a slot once; it may have lost it since
    cancelled: bool = False
    fault: Exception | None = None  # what its watcher raised
    watcher: Watcher | None = None
    drafter: Drafter | None = None
    drafted: int = 0
    accepted: int = 0

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
    draft: Sequence[int] = ()
    """Guesses that follow, to be verified in the same step."""

    @property
    def last(self) -> bool:
        """Whether the sequence's newest token is in it, so that the step yields the next one."""
        return self.start + self.size == len(self.ticket.ids)


class Scheduler:
    """Owned by one thread."""

    def __init__(self, cache: PagedCache) -> None:
        self.cache = cache
        self.waiting: deque[Ticket] = deque()
        self.running: list[Ticket] = []
        self.version = 0
        self.cached_tokens = 0
        self.preempted = 0
        self.costs = Costs()

    @property
    def busy(self) -> bool:
        return bool(self.running or self.waiting)

    def schedule(self) -> list[Chunk]:
        """The next step's work: every decoding sequence, and up to PREFILL_TOKENS of prompts, oldest first."""
        self._drop_cancelled()
        self._admit()
        budget = PREFILL_TOKENS
        chunks: list[Chunk] = []
        for ticket in list(self.running):
            tail = len(ticket.ids) - ticket.done
            count = tail if tail == 1 else min(tail, budget)
            if not count or ticket.slot < 0:
                continue
            draft = self._draft(ticket) if tail == 1 else ()
            if self._make_room(ticket, ticket.done + count + len(draft)):
                chunks.append(Chunk(ticket, ticket.done, count, draft))
                budget -= count if tail > 1 else 0
        return chunks

    def _make_room(self, ticket: Ticket, end: int) -> bool:
        """Blocks for a sequence up to `end`; younger ones give theirs up. False: it has to wait for older ones."""
        while not self.cache.reserve(ticket.slot, end):
            if self.running[-1] is ticket:
                return False
            self._preempt(self.running[-1])
            self.preempted += 1
        return True

    def _preempt(self, ticket: Ticket) -> None:
        """It keeps what was sampled, and computes again what is gone from the cache when its turn comes."""
        self.cache.release(ticket.slot)
        self.running.remove(ticket)
        self.waiting.appendleft(ticket)
        ticket.slot, ticket.done = -1, 0

    def commit(self, chunks: Sequence[Chunk], answers: Iterable[Sequence[tuple[int, float]]]) -> None:
        """Take in a step: chunks are written; for each chunk that was `last`, in order, the tokens drawn (one more than
        guesses that held) and their logprobs."""
        drawn = iter(answers)
        for chunk in chunks:
            ticket, last = chunk.ticket, chunk.last
            ticket.done = chunk.start + chunk.size
            self.cache.written(ticket.slot, chunk.start, ticket.ids[chunk.start : ticket.done])
            if last:
                self._append(chunk, next(drawn))
        self.running = [ticket for ticket in self.running if not ticket.future.done()]

    def _append(self, chunk: Chunk, answer: Sequence[tuple[int, float]]) -> None:
        ticket, held = chunk.ticket, len(answer) - 1
        ticket.ids.extend(token for token, _ in answer)
        ticket.logprobs.extend(logprob for _, logprob in answer)
        if held:
            self.cache.written(ticket.slot, ticket.done, ticket.ids[ticket.done : ticket.done + held])
            ticket.done += held
        if chunk.draft and ticket.drafter:
            ticket.drafter.learn(len(chunk.draft), held)
            ticket.drafted += len(chunk.draft)
            ticket.accepted += held
        if ticket.fault or answer[-1][0] in ticket.stop_ids:
            self._finish(ticket, "stop")
        elif len(ticket.logprobs) == ticket.max_tokens:
            self._finish(ticket, "length")

    def _draft(self, ticket: Ticket) -> Sequence[int]:
        """Guesses worth verifying; the last token of an answer is never guessed: its successor is not wanted."""
        if ticket.drafter is None:
            return ()
        room = min(ticket.max_tokens - len(ticket.logprobs) - 1, self.cache.max_len - len(ticket.ids))
        longest = self.costs.best_length(ticket.drafter.rate, len(self.running))
        if longest == 0:
            ticket.drafter.rest()
        return ticket.drafter.draft(ticket.ids, min(room, longest))

    def restart(self) -> None:
        """The weights changed: nothing computed so far counts, what was sampled does."""
        self.version += 1
        for ticket in reversed(list(self.running)):
            self._preempt(ticket)
        self.cache.clear()

    def _admit(self) -> None:
        refused: list[Ticket] = []
        while self.waiting and not self.cache.in_use.all():
            ticket = self.waiting.popleft()
            lease = self.cache.acquire(ticket.ids)
            if lease is None:
                refused.append(ticket)
                ticket.refused += 1
                if ticket.refused > PATIENCE:
                    break
                continue
            ticket.slot, ticket.done = lease.slot, lease.cached
            if not ticket.admitted:
                ticket.admitted, ticket.cached = True, lease.cached
                self.cached_tokens += lease.cached
            self.running.append(ticket)
        self.waiting.extendleft(reversed(refused))

    def _drop_cancelled(self) -> None:
        gone = [ticket for ticket in (*self.running, *self.waiting) if ticket.cancelled]
        for ticket in gone:
            self._finish(ticket, "cancelled")
            (self.running if ticket in self.running else self.waiting).remove(ticket)

    def _finish(self, ticket: Ticket, reason: FinishReason) -> None:
        if ticket.slot >= 0:
            self.cache.release(ticket.slot)
        if ticket.fault:
            error = ModelError(f"the request's watcher failed: {type(ticket.fault).__name__}: {ticket.fault}")
            error.__cause__ = ticket.fault
            ticket.future.set_exception(error)
            return
        ids = ticket.ids[ticket.prompt_len :]
        ticket.future.set_result(Generated(
            ids, ticket.logprobs, reason, ticket.cached, self.version, ticket.drafted, ticket.accepted))
