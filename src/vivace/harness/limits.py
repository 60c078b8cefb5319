"""Budgets of one attempt, in every currency that an answer is paid in."""

from __future__ import annotations

import time
from typing import Literal

from pydantic import Field

from vivace.core.types import Record, Usage

StopReason = Literal["complete", "turns", "tokens", "context", "seconds", "cost", "tests", "format", "stuck",
                     "cancelled"]
Prices = tuple[float, float, float]
"""Per million tokens: read, read from the cache, generated."""

SHORTEST_ANSWER = 8
"""Tokens of room below which asking for another answer is pointless."""


class Limits(Record):
    """Budgets of one attempt. Token counts are the client's own."""

    max_turns: int = Field(default=16, ge=1)
    max_output_tokens: int = Field(default=4096, ge=1)
    """Generated tokens in all."""
    max_turn_tokens: int = Field(default=1024, ge=1)
    """Generated tokens of one answer."""
    max_context: int = Field(default=32_768, ge=64)
    """Prompt and answer together."""
    compact_at: float | None = Field(default=None, gt=0, lt=1)
    """Share of `max_context` from which the conversation is summed up and goes on in a new segment (`harness.compact`);
    None: it ends there as "context". Not with `take_backs`."""
    max_seconds: float = Field(default=600.0, gt=0)
    """An answer that is listened to is given up then; any other is waited for."""
    max_cost: float | None = Field(default=None, gt=0)
    """In the currency of `prices`."""
    prices: Prices | None = None
    max_test_runs: int = Field(default=16, ge=0)
    review: bool = False
    """Whether an attempt that would finish is shown once what is plainly wrong with its change (`harness.review`), if
    anything is and there is a turn left to mend it. Not with `take_backs`."""
    take_backs: int = Field(default=0, ge=0)
    """Answers that had no effect or did not help, which are forgotten and asked for again: see `harness.takebacks`.
    With them, an attempt also ends when it asks for tests and `max_test_runs` are used up."""


class Budget:
    """What an attempt has used of its limits; its clock runs from here."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.usage = Usage()
        self.asked = 0
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    @property
    def late(self) -> bool:
        return self.seconds >= self.limits.max_seconds

    def add(self, usage: Usage) -> None:
        self.usage = add_usage(self.usage, usage)

    def room(self, prompt_tokens: int) -> int | StopReason:
        """Tokens the next answer may have, or the budget that is used up."""
        limits, used = self.limits, self.usage.output_tokens
        if self.asked >= limits.max_turns:
            return "turns"
        if self.late:
            return "seconds"
        if used >= limits.max_output_tokens:
            return "tokens"
        if limits.max_cost is not None and limits.prices and cost(self.usage, limits.prices) >= limits.max_cost:
            return "cost"
        left = limits.max_context - prompt_tokens
        if left < SHORTEST_ANSWER:
            return "context"
        return min(limits.max_turn_tokens, limits.max_output_tokens - used, left)


def add_usage(one: Usage, other: Usage) -> Usage:
    """The sum of both."""
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
    )


def cost(usage: Usage, prices: Prices) -> float:
    """What these tokens cost; input counts include what was read from the cache."""
    fresh = usage.input_tokens - usage.cached_tokens
    return (fresh * prices[0] + usage.cached_tokens * prices[1] + usage.output_tokens * prices[2]) / 1e6
