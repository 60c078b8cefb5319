"""The face of the engine: any number of threads ask, one thread computes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from vivace.core.crew import cores
from vivace.core.errors import BadInput, ModelError
from vivace.core.types import Sampling
from vivace.engine import sampler
from vivace.engine.cache import PagedCache
from vivace.engine.memory import MIB
from vivace.engine.packing import WeightFormat
from vivace.engine.runner import Piece, RunnerKind, check_state, open_runner
from vivace.engine.scheduler import Chunk, Generated, Scheduler, Ticket, Watcher
from vivace.engine.speculation import Drafter
from vivace.engine.without_replacement import WithoutReplacement
from vivace.model.decoder import Decoder
from vivace.model.lora import merged


@dataclass(slots=True)
class Stats:
    """Counts since the engine started. `computed_tokens` went through the model, prompts and answers alike."""

    requests: int = 0
    steps: int = 0
    computed_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    preempted: int = 0


class Engine:
    """Continuous batching over `max_slots` sequences of at most `max_len` tokens.

    The weights of `model` are copied. `threads`: how many compute a step. By default the compiled runner uses every
    processor it may (a long prompt is shared, the token of a single stream is not), and the torch runner torch's own
    number. `cache_mib`: memory for keys and values (None: room for every slot and some conversations more, at most half
    the machine's); when it is full, conversations that rest lose theirs, then the youngest sequence waits. `speculate`:
    guess what repeats, see `engine.speculation`. `weights`: the format the compiled runner keeps them in, see
    `engine.packing`; it computes in fp32 all the same.
    """

    def __init__(
        self, model: Decoder, *, max_slots: int = 32, max_len: int | None = None, threads: int | None = None,
        runner: RunnerKind = "auto", speculate: bool = False, weights: WeightFormat | None = None,
        cache_mib: float | None = None,
    ) -> None:
        limit = model.config.max_position_embeddings
        if max_slots < 1 or not 1 < (max_len or limit) <= limit:
            raise BadInput(f"an engine needs at least 1 slot and a max_len from 2 to the model's {limit} positions")
        self.max_len = max_len or limit
        self.stats = Stats()
        weight = model.embed_tokens.weight
        dtype = torch.float32 if weights else weight.dtype
        cache = PagedCache(model.config, max_slots, self.max_len, dtype=dtype, device=weight.device,
                           memory=None if cache_mib is None else int(cache_mib * MIB))  # fmt: skip
        self._cache = cache
        self._scheduler = Scheduler(cache)
        state = merged(model)
        self._shapes = {name: tensor.shape for name, tensor in state.items()}
        self._vocab = model.config.vocab_size
        self._runner = open_runner(model.config, state, cache, kind=runner, threads=threads or cores(),
                                   weights=weights)  # fmt: skip
        self._threads = threads
        self._speculate = speculate
        self._inbox: list[Ticket] = []
        self._commands: list[tuple[Callable[[], None], Future[None]]] = []
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="vivace-engine", daemon=True)
        self._thread.start()

    @property
    def runner(self) -> str:
        """What computes: "cpu" (compiled) or "torch"."""
        return self._runner.name

    @property
    def version(self) -> int:
        """How many times the weights were swapped."""
        return self._scheduler.version

    @property
    def cache_bytes(self) -> int:
        """Memory that keys and values have touched so far."""
        return self._cache.bytes_touched

    @property
    def load(self) -> tuple[int, int]:
        """Sequences running and waiting, as of now."""
        return len(self._scheduler.running), len(self._scheduler.waiting) + len(self._inbox)

    def submit(
        self, prompt_ids: Sequence[int], sampling: Sampling, stop_ids: Iterable[int] = (), *,
        watcher: Watcher | None = None, expected: Sequence[int] = (),
    ) -> Ticket:
        """Queue a request; `max_tokens` is cut to the room left. BadInput when there is none.

        `watcher` sees every token as it is drawn; `expected` ids may come in the answer (used by speculation only).
        """
        sampler.check(sampling)
        room = self.max_len - len(prompt_ids)
        if not prompt_ids or room < 1:
            raise BadInput(f"a prompt must have from 1 to {self.max_len - 1} tokens; this one has {len(prompt_ids)}")
        for ids in (prompt_ids, expected, *(one.ids for one in sampling.avoid)):
            if ids and (min(ids) < 0 or max(ids) >= self._vocab):
                raise BadInput(f"an id is outside the vocabulary of {self._vocab}: another tokenizer wrote it")
        ticket = Ticket(
            ids=list(prompt_ids), sampling=sampling, stop_ids=frozenset(stop_ids), stream=random.Random(sampling.seed),
            seen=WithoutReplacement(sampling.avoid), prompt_len=len(prompt_ids),
            max_tokens=min(sampling.max_tokens, room),
        )
        ticket.watcher, ticket.drafter = watcher, Drafter(expected) if self._speculate else None
        with self._wake:
            self._require_open()
            self._inbox.append(ticket)
            self.stats.requests += 1
            self._wake.notify()
        return ticket

    def generate(self, prompt_ids: Sequence[int], sampling: Sampling, stop_ids: Iterable[int] = (), *,
                 watcher: Watcher | None = None) -> Generated:
        """Blocks until done. The same seed gives the same ids whatever else is in the batch (up to rounding ties)."""
        return self._wait(self.submit(prompt_ids, sampling, stop_ids, watcher=watcher))

    def update_weights(self, new: Decoder | Mapping[str, Tensor]) -> int:
        """Swap the weights between two steps; returns the new version.

        Nothing cached survives. Sequences in flight keep what they sampled and compute their past again.
        """
        state = merged(new) if isinstance(new, Decoder) else new
        check_state(self._shapes, state)

        def swap() -> None:
            self._runner.load(state)
            self._scheduler.restart()

        done: Future[None] = Future()
        with self._wake:
            self._require_open()
            self._commands.append((swap, done))
            self._wake.notify()
        done.result()
        return self.version

    def close(self) -> None:
        """Stop the computing thread. Whoever still waits gets a ModelError."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _require_open(self) -> None:
        if self._closed:
            raise ModelError("this engine is closed; open another one")

    def _wait(self, ticket: Ticket) -> Generated:
        try:
            return ticket.result()
        except BaseException:  # Ctrl-C in the waiting thread: nobody wants the rest
            ticket.cancel()
            raise

    @torch.inference_mode()
    def _loop(self) -> None:
        if self._threads and self.runner == "torch":
            torch.set_num_threads(self._threads)
        reason = "the engine was closed before the answer was done"
        try:
            while self._collect():
                if chunks := self._scheduler.schedule():
                    self._step(chunks)
        except BaseException as error:
            reason = f"the engine stopped: {type(error).__name__}: {error}"
            raise
        finally:
            self._fail_the_rest(reason)

    def _collect(self) -> bool:
        """Wait for work, take in what other threads left; False once closed.

        A command stays listed until it is done. One that raises leaves weights of which nobody knows what they are:
        the engine stops, and whoever waits is told why.
        """
        with self._wake:
            while not (self._closed or self._inbox or self._commands or self._scheduler.busy):
                self._wake.wait()
            self._scheduler.waiting.extend(self._inbox)
            self._inbox.clear()
            if self._closed:
                return False
        while self._commands:
            command, done = self._commands[0]
            command()
            with self._wake:
                del self._commands[0]
            done.set_result(None)
        return True

    def _step(self, chunks: Sequence[Chunk]) -> None:
        start = time.perf_counter()
        pieces = [Piece(c.ticket.slot, c.start, [*c.ticket.ids[c.start : c.start + c.size], *c.draft]) for c in chunks]
        ending = [number for number, chunk in enumerate(chunks) if chunk.last]
        ended = [chunks[number] for number in ending]
        tails = [1 + len(chunk.draft) for chunk in ended]
        logits_PV = self._runner.step(pieces, ending, tails).float().cpu().numpy()
        answers = self._answers(logits_PV, ended)
        self._scheduler.commit(chunks, answers)
        if all(chunk.size == 1 for chunk in chunks):
            drafted = sum(tails) - len(tails)
            self._scheduler.costs.saw(sum(tails), drafted, time.perf_counter() - start)
            self.stats.drafted_tokens += drafted
            self.stats.accepted_tokens += sum(map(len, answers)) - len(answers)
        self.stats.steps += 1
        self.stats.computed_tokens += sum(chunk.size for chunk in chunks)
        self.stats.generated_tokens += sum(map(len, answers))
        self.stats.cached_tokens = self._scheduler.cached_tokens
        self.stats.preempted = self._scheduler.preempted

    def _answers(self, logits_PV: sampler.Floats, chunks: Sequence[Chunk]) -> list[list[tuple[int, float]]]:
        """The token after each chunk; where it is the one guessed, the token after that, and so on."""
        firsts = np.cumsum([0, *(1 + len(chunk.draft) for chunk in chunks)])[:-1]
        answers = [[pair] for pair in self._draw(logits_PV[firsts], [chunk.ticket for chunk in chunks])]
        for first, chunk, answer in zip(firsts, chunks, answers):
            for guess in chunk.draft:
                if answer[-1][0] != guess or guess in chunk.ticket.stop_ids or chunk.ticket.fault:
                    break
                row = first + len(answer)
                answer += self._draw(logits_PV[row : row + 1], [chunk.ticket])
        return answers

    def _draw(self, logits_BV: sampler.Floats, tickets: Sequence[Ticket]) -> list[tuple[int, float]]:
        """One token of each ticket, and its logprob."""
        for row, ticket in enumerate(tickets):
            if ticket.watcher:
                logits_BV[row] = _shaped(ticket, ticket.watcher, logits_BV[row])
        tokens, logprobs = sampler.sample(
            logits_BV, [t.sampling for t in tickets], [t.stream for t in tickets], [t.seen for t in tickets])
        for token, logprob, logits_V, ticket in zip(tokens, logprobs, logits_BV, tickets):
            if ticket.watcher and not ticket.fault:
                try:
                    ticket.watcher.drawn(token, logprob, logits_V)
                except Exception as error:  # noqa: BLE001  another's code: its request fails, the others go on
                    ticket.fault = error
        return list(zip(tokens, logprobs))

    def _fail_the_rest(self, reason: str) -> None:
        with self._wake:
            self._closed = True
            left = [*self._scheduler.running, *self._scheduler.waiting, *self._inbox]
            commands = list(self._commands)
        for ticket in left:
            ticket.future.set_exception(ModelError(reason))
        for _, done in commands:
            done.set_exception(ModelError(reason))


def _shaped(ticket: Ticket, watcher: Watcher, logits_V: sampler.Floats) -> sampler.Floats:
    """The logits as the watcher shapes them; as they were if it fails, and its request with it."""
    if ticket.fault:
        return logits_V
    try:
        shaped_V = watcher.shape(logits_V)
        if shaped_V.shape != logits_V.shape or not np.isfinite(shaped_V).all():
            raise ValueError("the logits it shaped are not as many finite numbers as before")
        return shaped_V
    except Exception as error:  # noqa: BLE001  another's code: its request fails, the others go on
        ticket.fault = error
        return logits_V
