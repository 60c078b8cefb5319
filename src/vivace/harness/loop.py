"""The agent loop: the only one. Rollouts, evaluation, data generation and the product call `run`."""

from __future__ import annotations

import time
from typing import Literal

from pydantic import Field

from vivace.core.errors import BadInput, ContextOverflow, InfraError
from vivace.core.protocols import Client
from vivace.core.types import (
    Completion,
    Drawn,
    Forgotten,
    Message,
    Record,
    Sampling,
    Task,
    ToolOutcome,
    Trajectory,
    Usage,
)
from vivace.harness.attachments import FULL, TERSE, Attachment, attachments
from vivace.harness.calls import run_calls
from vivace.harness.environment import Environment
from vivace.harness.hooks import Event, Hooks
from vivace.harness.prompts import opening, prompt_hash
from vivace.harness.stuck import StuckDetector
from vivace.harness.takebacks import IN_VAIN, WITHOUT_EFFECT, SafePoint, TakeBack, default_test_run
from vivace.harness.tools.base import Context, Result
from vivace.harness.tools.registry import Profile, get_profile
from vivace.harness.tools.text import clip
from vivace.harness.transcript import Transcript

StopReason = Literal["complete", "turns", "tokens", "context", "seconds", "tests", "format", "stuck", "cancelled"]

INVALID_TURNS = 3
"""Turns in a row that may be unusable (no such tool, bad arguments, cut short) before the attempt ends."""
SHORTEST_ANSWER = 8
"""Tokens of room below which asking for another answer is pointless."""
_INVALID = frozenset({"unknown_tool", "invalid_input", "cut"})
_CHARACTERS_PER_TOKEN = 3.4


class Limits(Record):
    """Budgets of one attempt. Token counts are the client's own."""

    max_turns: int = Field(default=16, ge=1)
    max_output_tokens: int = Field(default=4096, ge=1)
    """Generated tokens in all."""
    max_turn_tokens: int = Field(default=1024, ge=1)
    """Generated tokens of one answer."""
    max_context: int = Field(default=32_768, ge=64)
    """Prompt and answer together."""
    max_seconds: float = Field(default=600.0, gt=0)
    max_test_runs: int = Field(default=16, ge=0)
    take_backs: int = Field(default=0, ge=0)
    """Answers that had no effect or did not help, which are forgotten and asked for again: see `harness.takebacks`.
    With them, an attempt also ends when it asks for tests and `max_test_runs` are used up."""


def run(
    task: Task,
    env: Environment,
    client: Client,
    limits: Limits | None = None,
    *,
    profile: str = "copilot",
    sampling: Sampling | None = None,
    seed: int = 0,
    hooks: Hooks | None = None,
) -> Trajectory:
    """Let `client` work on `task` in `env` until it says it is done or a budget ends the attempt.

    The workspace is left as the attempt left it (the caller closes it); its changes are `Trajectory.patch`.
    A failure of machine, sandbox or endpoint ends in `stop_reason` "infra" with the message in `error`, not in an
    exception, so that a batch of attempts survives it.

    Args:
        profile: tools and form of results: a name in `tools.profiles`.
        sampling: how to draw; `max_tokens` and `seed` are set per turn from the limits and `seed`.
        seed: attempts at one task with different seeds are different draws.
        hooks: a front end that takes part.
    Raises:
        BadInput: unknown profile.
    """
    chosen, drawn = get_profile(profile), sampling or Sampling()
    return _Attempt(task, env, client, limits or Limits(), chosen, drawn, seed, hooks or Hooks()).run()


class _Attempt:
    def __init__(
        self,
        task: Task,
        env: Environment,
        client: Client,
        limits: Limits,
        profile: Profile,
        sampling: Sampling,
        seed: int,
        hooks: Hooks,
    ) -> None:
        self.task, self.client, self.limits, self.profile, self.hooks = task, client, limits, profile, hooks
        self.sampling, self.seed = sampling, seed
        self.context = Context(env, profile.terse, limits.max_test_runs, explore=self._explore)
        self.record = Transcript(client.codec)
        self.schemas = profile.schemas()
        self.usage = Usage()
        self.outcomes: list[ToolOutcome] = []
        self.forgotten: list[Forgotten] = []
        self.avoid: dict[int, list[Drawn]] = {}  # answers taken back, by the length of the record they followed
        self.stuck = StuckDetector()
        self.safe: SafePoint | None = None
        self.several = False
        self.turn = self.asked = self.taken_back = self.invalid = 0
        self.start = time.monotonic()

    def run(self) -> Trajectory:
        env = self.context.env
        reason, error, patch, tests = "infra", "", "", ""
        try:
            history, attached = self.hooks.history(), self._attached()
            for message in history or opening(self.task, self.profile, self.client.codec is not None, attached):
                self.record.add(message)
                if history is None:
                    self.hooks.recorded(message, env.workspace)
            self.several = len(attached) > 1
            for one in attached:
                self.context.shown.setdefault(one.path, []).append((one.line, one.line + one.text.count("\n")))
            if self.limits.take_backs:
                self.safe = self._safe_point(len(self.task.PASS_TO_PASS))
            reason = self._play()
        except InfraError as failure:
            error = str(failure)
        try:
            patch, tests = env.workspace.diff(), self._tests_at_end()
        except InfraError as failure:
            reason, error = "infra", error or str(failure)
        return Trajectory.model_validate({
            "task_id": self.task.id,
            "messages": self.record.messages,
            "segments": [self.record.segment] if self.client.codec else [],
            "outcomes": self.outcomes,
            "patch": patch,
            "stop_reason": reason,
            "usage": self.usage,
            "turns": self.asked,
            "taken_back": self.taken_back,
            "forgotten": self.forgotten,
            "test_runs": self.context.test_runs,
            "tests_at_end": tests,
            "seconds": round(time.monotonic() - self.start, 3),
            "error": error,
            "hashes": {"tools": self.profile.hash(), "prompt": prompt_hash(self.profile)},
        })  # fmt: skip

    def _tests_at_end(self) -> str:
        tests = self.context.env.default_tests
        held = self.context.tested.get(self.context.test_key(tests)) if tests and self.task.FAIL_TO_PASS else None
        if held is None:
            return ""
        return "stopped" if held.stopped else {"ok": "passed", "tests_failed": "failed"}.get(held.kind, "")

    def _attached(self) -> list[Attachment]:
        workspace = self.context.env.workspace

        def read(path: str) -> str | None:
            try:
                return workspace.read_text(path)
            except BadInput:  # binary, or gone
                return None

        room = TERSE if self.profile.terse else FULL
        return attachments(self.task.problem_statement, workspace.files(), read, room)

    def _play(self) -> StopReason:
        while True:
            room = self._room()
            if isinstance(room, str):
                return room
            mark, outcomes = self.record.mark(), len(self.outcomes)
            try:
                completion = self._ask(room)
            except ContextOverflow:
                return "context"
            message = self.record.answer(completion, self.turn)
            self.asked += 1
            self._count(completion)
            self.hooks.recorded(message, self.context.env.workspace)
            self.hooks.event(Event(type="message", turn=self.turn, text=message.content))
            try:
                stop = self._cut(message, room) if completion.finish_reason == "length" else self._act(message)
            except TakeBack as wanted:
                self._take_back(mark, outcomes, wanted.why)
                continue
            self.turn += 1
            if stop:
                return stop

    def _safe_point(self, passed: int) -> SafePoint:
        return SafePoint.here(self.record.mark(), len(self.outcomes), self.turn, self.context.env.workspace, passed)

    def _take_back(self, mark: tuple[int, int], outcomes: int, why: str) -> None:
        """The answer at hand; IN_VAIN: everything since the safe point, and its effect on the files."""
        answers = 1
        if why == IN_VAIN and self.safe:
            mark, outcomes, answers = self.safe.mark, self.safe.outcomes, self.turn - self.safe.turn + 1
            self.turn = self.safe.turn
            self.context.env.workspace.reset(self.safe.files)
            self.stuck, self.invalid = StuckDetector(), 0
        self.taken_back += answers
        gone = self.record.take_back(mark, why)
        if gone.ids:
            self.forgotten.append(gone)
            self.avoid = {at: drawn for at, drawn in self.avoid.items() if at <= gone.at}
            self.avoid.setdefault(gone.at, []).append(gone.drawn())
        del self.outcomes[outcomes:]

    def _room(self) -> int | StopReason:
        """Tokens the next answer may have, or the budget that is used up."""
        limits, used = self.limits, self.usage.output_tokens
        if self.hooks.stopped():
            return "cancelled"
        if self.asked >= limits.max_turns:
            return "turns"
        if time.monotonic() - self.start >= limits.max_seconds:
            return "seconds"
        if used >= limits.max_output_tokens:
            return "tokens"
        left = limits.max_context - (self.record.prompt_length() or self._remote_length())
        if left < SHORTEST_ANSWER:
            return "context"
        return min(limits.max_turn_tokens, limits.max_output_tokens - used, left)

    def _remote_length(self) -> int:
        """Estimated prompt tokens where only text is known."""
        return int(sum(len(m.content) + sum(len(str(c.arguments)) for c in m.tool_calls) for m in self.record.messages)
                   / _CHARACTERS_PER_TOKEN)

    def _ask(self, room: int) -> Completion:
        avoid = self.avoid.get(len(self.record.segment.ids), [])
        update = {"max_tokens": room, "seed": self.seed * 1009 + self.asked, "avoid": avoid}
        sampling = self.sampling.model_copy(update=update)
        ids = self.record.open_answer()
        return self.client.complete(self.record.messages, tools=self.schemas, sampling=sampling, prompt_ids=ids)

    def _count(self, completion: Completion) -> None:
        usage, ids = completion.usage, completion.ids
        if ids is not None:  # the record is exact; a client's own count may include what it re-sampled
            usage = usage.model_copy(update={"output_tokens": len(ids)})
        self.usage = add_usage(self.usage, usage)
        self.hooks.event(Event(type="usage", turn=self.turn, usage=self.usage))

    def _cut(self, message: Message, room: int) -> StopReason | None:
        """An answer that ran into its limit: none of its calls is run, because the last one is half a call."""
        if self.usage.output_tokens >= self.limits.max_output_tokens:
            return "tokens"
        if room < self.limits.max_turn_tokens:
            return "context"
        self._forget_if_allowed("cut")
        text = f"ERROR: the answer was cut after {room} tokens and nothing of it was run; be shorter"
        for call in message.tool_calls:
            self._add(Message(role="tool", content=text, tool_call_id=call.id, name=call.name))
        if not message.tool_calls:
            self._add(Message(role="user", content=text))
        self.outcomes.append(ToolOutcome(tool="", kind="cut", turn=self.turn))
        return self._judge(usable=False)

    def _act(self, message: Message) -> StopReason | None:
        """Run the calls of one answer in order; one result message each."""
        if not message.tool_calls:
            if self.task.FAIL_TO_PASS and not self.context.env.workspace.changed_files():
                self._forget_if_allowed("text")  # a thought without an act
            return None if self._steered() else "complete"
        usable = done = acted = False
        results: list[Result] = []
        most = int(self.limits.max_context / 2 * _CHARACTERS_PER_TOKEN)
        for call, result, outcome in run_calls(message.tool_calls, self.profile, self.context, self.turn, self.hooks):
            results.append(result)
            if outcome.kind in WITHOUT_EFFECT and not acted:
                self._forget_if_allowed(outcome.kind)
            acted |= outcome.kind not in WITHOUT_EFFECT  # an edit that broke the syntax is made, too
            text = clip(result.text, most)
            self._add(Message(role="tool", content=text, tool_call_id=call.id, name=call.name))
            self.outcomes.append(outcome)
            self.stuck.add(f"{call.name} {call.arguments}", text)
            usable |= outcome.kind not in _INVALID
            done |= result.done
        if self._steered():
            return None
        if done:
            return "complete"
        if self.limits.take_backs and any(result.kind == "budget" for result in results):
            return "tests"
        self._forget_in_vain(default_test_run(message.tool_calls, results))
        return self._judge(usable)

    def _add(self, message: Message) -> None:
        self.record.add(message)
        self.hooks.recorded(message, self.context.env.workspace)

    def _steered(self) -> bool:
        """Whether the user has said something meanwhile, which the model reads next."""
        lines = self.hooks.steering()
        for line in lines:
            self._add(Message(role="user", content=line))
            self.hooks.event(Event(type="steering", turn=self.turn, text=line))
        return bool(lines)

    def _explore(self, question: str) -> str:
        """A question about the files, answered by an attempt of its own that can only look; its tokens count here."""
        left = max(1, self.limits.max_output_tokens - self.usage.output_tokens)
        limits = self.limits.model_copy(update={"max_output_tokens": left, "take_backs": 0})
        task = self.task.model_copy(update={"problem_statement": question, "FAIL_TO_PASS": [], "PASS_TO_PASS": []})
        profile = get_profile("explore")
        nested = _Attempt(task, self.context.env, self.client, limits, profile, self.sampling, self.seed, Hooks())
        nested.context.explore = None  # one level
        found = nested.run()
        self.usage = add_usage(self.usage, found.usage)
        if found.error:
            raise InfraError(found.error)
        return found.answer()

    def _forget_in_vain(self, tested: Result | None) -> None:
        """Whether the tests show that what was done since the safe point helped; if not, it goes."""
        if tested is None or self.safe is None or not self.task.FAIL_TO_PASS:
            return
        if self.safe.helped(tested, self.several):
            self.safe = self._safe_point(tested.passed or 0)
        elif self.context.env.workspace.state_digest() != self.safe.state:
            self._forget_if_allowed(IN_VAIN)

    def _forget_if_allowed(self, why: str) -> None:
        if self.taken_back < self.limits.take_backs:
            raise TakeBack(why)

    def _judge(self, usable: bool) -> StopReason | None:
        self.invalid = 0 if usable else self.invalid + 1
        if self.invalid >= INVALID_TURNS:
            return "format"
        return "stuck" if self.stuck.stuck else None


def add_usage(one: Usage, other: Usage) -> Usage:
    """The sum of both."""
    return Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
    )
