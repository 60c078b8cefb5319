"""Dialogues between the model under test and one that plays a user, each with tools of its own.

A side's tool calls and their results are seen by that side only; what it says is the other's next message.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vivace.core.errors import ContextOverflow, InfraError
from vivace.core.protocols import Client
from vivace.core.types import Grade, Message, Sampling, ToolCall, Trajectory, Usage
from vivace.evals.suites.base import strip_reasoning
from vivace.harness.limits import add_usage

VERSION, STEPS = "1", 200
ANSWER_TOKENS = 8192
Call = Callable[[ToolCall], tuple[str, bool]]


@dataclass(frozen=True)
class Limits:
    """Of one dialogue: tokens that the agent may generate, and answers of both sides together."""

    max_tokens: int
    steps: int = STEPS


@dataclass
class Side:
    """One of the two: its client, its own view of the dialogue, its tools, and what it used."""

    client: Client
    messages: list[Message]
    tools: Sequence[dict[str, Any]]
    call: Call
    usage: Usage = field(default_factory=Usage)
    calls: list[ToolCall] = field(default_factory=list)
    """Those that could be made."""
    turns: int = 0


@dataclass(frozen=True)
class Held:
    """A dialogue; `verdict` is set where it ended in a way that leaves nothing to be graded."""

    trajectory: Trajectory
    verdict: Grade | None = None


class _Over(Exception):
    """The dialogue has ended: why, and the verdict if that alone decides."""

    def __init__(self, reason: str, verdict: Grade | None = None, error: str = "") -> None:
        super().__init__(reason)
        self.reason, self.verdict, self.error = reason, verdict, error


class _Dialogue:
    def __init__(self, agent: Side, user: Side, stops: Sequence[str], limits: Limits, temperature: float,
                 seed: int) -> None:
        self.agent, self.user, self.stops, self.limits = agent, user, stops, limits
        self.temperature, self.seed, self.steps = temperature, seed, 0
        self.record = list(agent.messages)

    def run(self) -> _Over:
        try:
            while True:
                said = self._turn(self.user)
                if any(stop in said for stop in self.stops):
                    if not self.agent.turns:
                        raise _Over("complete", Grade(status="invalid", detail="the user ended before the agent spoke"))
                    raise _Over("complete")
                self.agent.messages.append(Message(role="user", content=said))
                self.user.messages.append(Message(role="user", content=self._turn(self.agent)))
        except _Over as over:
            return over

    def _turn(self, side: Side) -> str:
        """Answers of one side until one calls no tool; that one's words."""
        while True:
            answer = self._answer(side)
            self._keep(side, answer)
            if not answer.tool_calls:
                return strip_reasoning(answer.content)
            for call in answer.tool_calls:
                text, made = side.call(call)
                if made:
                    side.calls.append(call)
                self._keep(side, Message(role="tool", content=text, name=call.name, tool_call_id=call.id))

    def _answer(self, side: Side) -> Message:
        mine = side is self.agent
        if self.steps >= self.limits.steps:
            raise _Over("turns", Grade(status="budget", detail=f"not ended in {self.limits.steps} steps"))
        room = self.limits.max_tokens - side.usage.output_tokens if mine else ANSWER_TOKENS
        if room < 1:
            raise _Over("tokens", Grade(status="budget", detail="out of tokens"))
        sampling = Sampling(temperature=self.temperature if mine else 0.0, max_tokens=min(room, ANSWER_TOKENS),
                            seed=self.seed)
        self.steps, side.turns = self.steps + 1, side.turns + 1
        try:
            answer = side.client.complete(side.messages, tools=side.tools, sampling=sampling)
        except ContextOverflow as error:
            status = "budget" if mine else "infra"
            raise _Over("context" if mine else "infra", Grade.model_validate(
                {"status": status, "detail": str(error)}), str(error)) from error
        except InfraError as error:
            who = "" if mine else "the user's model: "
            raise _Over("infra", Grade(status="infra", detail=f"{who}{error}"), str(error)) from error
        side.usage = add_usage(side.usage, answer.usage)
        return answer.message

    def _keep(self, side: Side, message: Message) -> None:
        """In the side's own view, and in the record of the whole, where what only the user saw is named `user`."""
        side.messages.append(message)
        if side is self.agent:
            self.record.append(message)
        else:
            role = "user" if message.role == "assistant" else message.role
            self.record.append(message.model_copy(update={"role": role, "name": message.name or "user"}))


def converse(task_id: str, agent: Side, user: Side, stops: Sequence[str], limits: Limits, temperature: float,
             seed: int) -> Held:
    """Let the user begin, and go on until it says one of `stops` or a limit ends it.

    Failures of either model come back as the verdict `infra`; a dialogue that the user did not end, as `budget`.
    """
    start, held = time.monotonic(), _Dialogue(agent, user, stops, limits, temperature, seed)
    over = held.run()
    trajectory = Trajectory.model_validate({
        "task_id": task_id, "messages": held.record, "stop_reason": over.reason, "usage": agent.usage,
        "turns": agent.turns, "seconds": round(time.monotonic() - start, 3), "error": over.error})
    return Held(trajectory, over.verdict)
