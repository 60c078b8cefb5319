"""Between the APIs and the models: which one answers, what is measured and filtered, and what happens when it fails."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from vivace.serve.ask import Ask, CallArguments, CallStart, Count, End, Event, Target, Text, Thought
from vivace.serve.errors import ApiError
from vivace.serve.filters import Filter, screened, watched
from vivace.serve.limits import ASKER
from vivace.serve.metrics import GAPS, Metrics
from vivace.serve.router import AUTO, Decision, Router

Price = tuple[float, float, float]
log = logging.getLogger("vivace.serve")


@dataclass
class Answering:
    """An answer that has begun. `events`: (number of the choice, event), one End for each choice."""

    model: str
    decision: Decision | None
    events: AsyncIterator[tuple[int, Event]]
    count: Count = field(default_factory=Count)
    finish: str = ""
    ttft: float = 0.0


@dataclass
class Whole:
    """One choice, collected."""

    text: str = ""
    thought: str = ""
    calls: list[tuple[CallStart, str]] = field(default_factory=list)
    logprobs: list[object] = field(default_factory=list)
    end: End = field(default_factory=lambda: End("stop", Count()))

    def add(self, event: Event) -> None:
        if isinstance(event, Text):
            self.text += event.text
            self.logprobs += event.logprobs
        elif isinstance(event, Thought):
            self.thought += event.text
        elif isinstance(event, CallStart):
            self.calls.append((event, ""))
        elif isinstance(event, CallArguments):
            start, so_far = self.calls[-1]
            self.calls[-1] = (start, so_far + event.json)
        else:
            self.end = event


class Gateway:
    """`targets`: the models by name, first the default. `max_queue`: requests in work at a time before 429. `prices`:
    dollars for a million tokens read, read from the cache, and written, by model. `spend(who, tokens)` is told of every
    answer that is over."""

    def __init__(
        self, targets: Mapping[str, Target], *, router: Router | None = None, filters: Sequence[Filter] = (),
        max_queue: int = 256, timeout_s: float = 600.0, prices: Mapping[str, Price] | None = None,
    ) -> None:
        self.targets = dict(targets)
        self.router = router or Router()
        self.filters = list(filters)
        self.max_queue, self.timeout_s = max_queue, timeout_s
        self.prices = dict(prices or {})
        self.spend: Callable[[str, int], None] = lambda who, tokens: None
        self.metrics = Metrics()
        self.active = 0
        self.draining = False
        self.started = time.time()

    @property
    def names(self) -> list[str]:
        return [*self.targets, *([AUTO] if len(self.targets) > 1 else [])]

    def find(self, model: str) -> Target:
        """404 unless there is one. Ollama clients add :latest to names."""
        name = model.removesuffix(":latest")
        if name in self.targets:
            return self.targets[name]
        if name == AUTO:
            return next(iter(self.targets.values()))
        raise ApiError(404, f"the model {model!r} does not exist; this server has {', '.join(self.names)}",
                       code="model_not_found", param="model")  # fmt: skip

    async def open(self, ask: Ask, budget: str = "") -> Answering:
        """Begin to answer. Errors before the first event are raised, so that they have a status of their own; with
        `auto`, the next model is tried then."""
        if self.draining:
            raise ApiError(503, "this server is shutting down", retry_after=5)
        if self.active >= self.max_queue:
            raise ApiError(429, f"{self.active} requests are in work; try again soon", code="queue_full", retry_after=2)
        ask = screened(ask, self.filters)
        decision = None
        if ask.model == AUTO and len(self.targets) > 1:
            decision = self.router.decide(ask, self.targets, budget)
            order = decision.order
        else:
            order = [self.find(ask.model).name]
        failures: list[ApiError] = []
        for name in order:
            try:
                answering = await self._begin(self.targets[name], ask)
            except ApiError as error:
                self.metrics.count("target_failures_total", model=name)
                failures.append(error)
                if error.status < 429 and error.code != "context_length_exceeded":
                    break  # the request is wrong, whoever reads it
                continue
            if decision is not None:
                answering.decision = decision.taken(name)
            return answering
        raise min(failures, key=lambda error: error.status)  # what the client can mend is said first

    async def _begin(self, target: Target, ask: Ask) -> Answering:
        answering = Answering(target.name, None, _nothing())
        merged = self._merged(target, ask, answering)
        self.active += 1
        try:
            first = await asyncio.wait_for(anext(merged), self.timeout_s)
        except BaseException as error:
            await merged.aclose()  # type: ignore[attr-defined]
            self.active -= 1
            if isinstance(error, TimeoutError):
                raise ApiError(504, f"{target.name} did not begin to answer in {self.timeout_s:g} s") from None
            raise
        answering.events = self._going_on(first, merged)
        return answering

    async def _going_on(
        self, first: tuple[int, Event], rest: AsyncIterator[tuple[int, Event]]
    ) -> AsyncIterator[tuple[int, Event]]:
        try:
            yield first
            async for item in rest:
                yield item
        finally:
            self.active -= 1
            await rest.aclose()  # type: ignore[attr-defined]

    async def _merged(self, target: Target, ask: Ask, answering: Answering) -> AsyncIterator[tuple[int, Event]]:
        """The events of all n choices as they come."""
        queue: asyncio.Queue[tuple[int, Event] | BaseException] = asyncio.Queue()

        async def pump(number: int) -> None:
            try:
                async with aclosing(self._measured(target, ask.choice(number), answering)) as events:  # type: ignore[type-var]
                    async for event in events:
                        queue.put_nowait((number, event))
            except ApiError as error:
                queue.put_nowait(error)
            except Exception as error:  # noqa: BLE001  a target's fault: whoever waits is told, and waits no longer
                log.error(json.dumps({"event": "error", "model": target.name, "kind": type(error).__name__}))
                queue.put_nowait(ApiError(500, f"{target.name} has a fault; the server's log says more"))

        tasks = [asyncio.create_task(pump(number)) for number in range(ask.n)]
        left = ask.n
        try:
            async with asyncio.timeout(self.timeout_s):
                while left:
                    item = await queue.get()
                    if isinstance(item, BaseException):
                        raise item
                    left -= isinstance(item[1], End)
                    yield item
        except TimeoutError:
            raise ApiError(504, f"the answer took longer than {self.timeout_s:g} s") from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _measured(self, target: Target, ask: Ask, answering: Answering) -> AsyncIterator[Event]:
        metrics, model = self.metrics, target.name
        start = last = time.perf_counter()
        begun, pieces = False, 0
        finish = "disconnected"
        try:
            async with aclosing(watched(target.answer(ask), self.filters)) as events:  # type: ignore[type-var]
                async for event in events:
                    now = time.perf_counter()
                    if isinstance(event, End):
                        finish = event.finish if not event.error else "error"
                        answering.count += event.count
                        answering.finish = finish
                        self._count(model, event.count)
                    elif not begun:
                        metrics.observe("time_to_first_token_seconds", now - start, model=model)
                        answering.ttft = now - start
                    else:
                        metrics.observe("inter_token_seconds", now - last, GAPS, model=model)
                    begun, last = True, now
                    pieces += 1
                    yield event
        finally:
            if finish == "disconnected" and begun:  # a piece is about a token, and the prompt was read
                left = Count(target.count_tokens(ask), 0, pieces)
                answering.count += left
                self._count(model, left)
            metrics.count("answers_total", model=model, finish=finish)
            metrics.observe("answer_seconds", time.perf_counter() - start, model=model)

    def _count(self, model: str, count: Count) -> None:
        for name, value in [
            ("prompt_tokens_total", count.input_tokens), ("cached_tokens_total", count.cached_tokens),
            ("generated_tokens_total", count.output_tokens), ("accepted_guesses_total", count.accepted_tokens),
            ("rejected_guesses_total", count.rejected_tokens),
        ]:  # fmt: skip
            self.metrics.count(name, value, model=model)
        who, tokens = ASKER.get(), count.input_tokens + count.output_tokens
        self.spend(who, tokens)
        self.metrics.count("key_tokens_total", tokens, who=who)
        if model in self.prices:
            self.metrics.count("cost_dollars_total", self.cost(model, count), model=model, who=who)

    def cost(self, model: str, count: Count) -> float:
        """Dollars for an answer; 0 where no price is known."""
        read, cached, written = self.prices.get(model, (0.0, 0.0, 0.0))
        fresh = count.input_tokens - count.cached_tokens
        return (fresh * read + count.cached_tokens * cached + count.output_tokens * written) / 1e6

    async def whole(self, answering: Answering, n: int) -> list[Whole]:
        """All choices, complete. ApiError 500 when one ended in an error."""
        choices = [Whole() for _ in range(n)]
        async with aclosing(answering.events) as events:  # type: ignore[type-var]
            async for number, event in events:
                choices[number].add(event)
        if failed := next((one.end.error for one in choices if one.end.error), ""):
            raise ApiError(500, failed)
        return choices

    async def aclose(self) -> None:
        for target in self.targets.values():
            await target.aclose()


async def _nothing() -> AsyncIterator[tuple[int, Event]]:
    return
    yield
