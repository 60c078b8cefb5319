"""The agent loop: the only one. Rollouts, evaluation, data generation and the product call `run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vivace.core.errors import BadInput, ContextOverflow, InfraError, Stopped
from vivace.core.protocols import Client
from vivace.core.types import (
    Completion,
    Drawn,
    Forgotten,
    Message,
    Sampling,
    Task,
    ToolOutcome,
    Trajectory,
)
from vivace.harness import compact
from vivace.harness.asking import ask
from vivace.harness.attachments import FULL, TERSE, Attachment, attachments
from vivace.harness.calls import run_calls
from vivace.harness.environment import Environment
from vivace.harness.hooks import Event, Hooks
from vivace.harness.limits import Budget, StopReason
from vivace.harness.limits import Limits as Limits
from vivace.harness.prompts import opening, prompt_hash
from vivace.harness.review import review
from vivace.harness.stuck import StuckDetector
from vivace.harness.subagent import explorer
from vivace.harness.takebacks import IN_VAIN, WITHOUT_EFFECT, SafePoint, TakeBack, default_test_run
from vivace.harness.tools.base import Context, Result
from vivace.harness.tools.registry import Profile, get_profile
from vivace.harness.tools.text import clip
from vivace.harness.tools.whole import fitted
from vivace.harness.transcript import Transcript

INVALID_TURNS = 3
"""Turns in a row that may be unusable (no such tool, bad arguments, cut short) before the attempt ends."""
_INVALID = frozenset({"unknown_tool", "invalid_input", "cut"})
_CHARACTERS_PER_TOKEN = 3.4


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
    if chosen.purpose == "work" and client.codec is None:
        chosen = replace(chosen, more=tuple(env.more_tools))
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
        self.budget = Budget(limits)

        def look(asked: Task, within: Limits, quiet: Hooks) -> Trajectory:
            return run(asked, env, client, within, profile="explore", sampling=sampling, seed=seed, hooks=quiet)

        self.context = Context(env, profile.terse, limits.max_test_runs,
                               explore=explorer(task, self.budget, hooks, look))
        self.record = Transcript(client.codec)
        self.schemas = profile.schemas()
        self.past: list[Transcript] = []  # conversations that were summed up, before `record`
        self.counted = (0, 0)  # messages, and their tokens (tools included) by the endpoint's count
        self.outcomes: list[ToolOutcome] = []
        self.forgotten: list[Forgotten] = []
        self.avoid: dict[int, list[Drawn]] = {}  # answers taken back, by the length of the record they followed
        self.stuck = StuckDetector()
        self.safe: SafePoint | None = None
        self.several = self.looked_back = False
        self.turn = self.taken_back = self.invalid = 0

    def run(self) -> Trajectory:
        env, failure = self.context.env, None
        reason, patch, tests = "infra", "", ""
        try:
            self._begin()
            reason = self._play()
        except InfraError as error:
            failure = error
        try:
            patch, tests = env.workspace.diff(), self._tests_at_end()
        except InfraError as error:
            reason, failure = "infra", failure or error
        parts = [*enumerate([*self.past, self.record])]  # all but the first repeat the system message
        return Trajectory.model_validate({
            "task_id": self.task.id,
            "messages": [message for at, part in parts for message in part.messages[min(at, 1) :]],
            "segments": [part.segment for _, part in parts] if self.client.codec else [],
            "outcomes": self.outcomes,
            "patch": patch,
            "stop_reason": reason,
            "usage": self.budget.usage,
            "turns": self.budget.asked,
            "taken_back": self.taken_back,
            "forgotten": self.forgotten,
            "test_runs": self.context.test_runs,
            "tests_at_end": tests,
            "seconds": round(self.budget.seconds, 3),
            "error": str(failure or ""),
            "error_kind": failure.kind if failure else "",
            "hashes": {"tools": self.profile.hash(), "prompt": prompt_hash(self.profile)},
        })  # fmt: skip

    def _begin(self) -> None:
        past = self.hooks.history()
        if past:
            self.record.resume(past.messages, past.segment)
            self.turn = past.answers + sum(message.role == "assistant" for message in past.messages)
            if self.client.codec and not past.segment.ids:
                self.hooks.rendered(self.record.since(0))
            for message in past.more:
                self._add(message)
        else:
            attached = self._attached()
            for message in opening(self.task, self.profile, self.client.codec is not None, attached):
                self._add(message)
            self.several = len(attached) > 1
            for one in attached:
                self.context.shown.setdefault(one.path, []).append((one.line, one.line + one.text.count("\n")))
        if self.limits.take_backs:
            self.safe = self._safe_point(len(self.task.PASS_TO_PASS))

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
            room = self._compact_if_full() or self._room()
            if isinstance(room, str):
                return room
            mark, outcomes = self.record.mark(), len(self.outcomes)
            completion = self._answer(room)
            if isinstance(completion, str):
                return completion
            message = completion.message
            try:
                stop = self._cut(message, room) if completion.finish_reason == "length" else self._act(message)
            except TakeBack as wanted:
                self._take_back(mark, outcomes, wanted.why)
                continue
            self.turn += 1
            if stop:
                return stop

    def _answer(self, room: int) -> Completion | StopReason:
        """One more answer, recorded, with the message as it was recorded; or why there is none."""
        at = len(self.record.segment.ids)
        try:
            completion = self._ask(room)
        except ContextOverflow:
            return "context"
        except Stopped:
            return "cancelled" if self.hooks.stopped() else "seconds"
        message = self.record.answer(completion, self.turn)
        self.budget.asked += 1
        self._count(completion)
        self.hooks.recorded(message, self.context.env.workspace, self.record.since(at))
        self.hooks.event(Event(type="message", turn=self.turn, text=message.content))
        return completion.model_copy(update={"message": message})

    def _compact_if_full(self) -> StopReason | None:
        """Sum the conversation up and go on in a new segment, once it takes up `compact_at` of the window."""
        share, before = self.limits.compact_at, self._length()
        if share is None or before < share * self.limits.max_context:
            return None
        if self.limits.take_backs or len(self.record.messages) <= 2 or self.hooks.stopped():
            return None
        self._add(Message(role="user", content=compact.REQUEST))
        room = self._room()
        if isinstance(room, str):
            return room
        completion = self._answer(min(room, compact.LONGEST))
        if isinstance(completion, str):
            return completion
        self.turn += 1
        summary, old = completion.message.content, self.record
        self.record, self.counted = Transcript(self.client.codec), (0, 0)
        for message in compact.begun_anew(old.messages, self.task.problem_statement, summary):
            self.record.add(message)
        useless = completion.finish_reason == "length" or not summary.strip()
        if useless or self._length() > compact.MUST_SHRINK * before:
            self.record = old
            return "context"
        self.past.append(old)
        self.hooks.compacted(self.record.messages, self.record.since(0))
        self.hooks.event(Event(type="compacted", turn=self.turn, text=summary))
        return None

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
        self.hooks.forgotten(len(self.record.messages))

    def _room(self) -> int | StopReason:
        """Tokens the next answer may have, or why there is none."""
        if self.hooks.stopped():
            return "cancelled"
        return self.budget.room(self._length())

    def _length(self) -> int:
        """Tokens of the next prompt; where only text is known, as the endpoint counted last and an estimate of the
        rest."""
        messages, (at, tokens) = self.record.messages, self.counted
        return self.record.prompt_length() or max(_estimate(messages), tokens + _estimate(messages[at:]))

    def _most(self) -> int:
        """Characters that a result may have: half the window, and where the conversation can be summed up, no more than
        leaves room for that."""
        window, share = self.limits.max_context, self.limits.compact_at
        tokens = window / 2
        if share is not None:
            reserve = min(compact.LONGEST, window * (1 - share))
            tokens = min(tokens, max(compact.SHORTEST_RESULT, window - self._length() - reserve))
        return int(tokens * _CHARACTERS_PER_TOKEN)

    def _ask(self, room: int) -> Completion:
        avoid = self.avoid.get(len(self.record.segment.ids), [])
        update = {"max_tokens": room, "seed": self.seed * 1009 + self.budget.asked, "avoid": avoid}
        sampling = self.sampling.model_copy(update=update)
        return ask(self.client, self.record, self.schemas, sampling, self.hooks, self.budget)

    def _count(self, completion: Completion) -> None:
        usage, ids = completion.usage, completion.ids
        if ids is not None:  # the record is exact; a client's own count may include what it re-sampled
            usage = usage.model_copy(update={"output_tokens": len(ids)})
        self.budget.add(usage)
        self.counted = (len(self.record.messages), usage.input_tokens + usage.output_tokens)
        self.hooks.event(Event(type="usage", turn=self.turn, usage=self.budget.usage))

    def _cut(self, message: Message, room: int) -> StopReason | None:
        """An answer that ran into its limit: none of its calls is run, because the last one is half a call."""
        if self.budget.usage.output_tokens >= self.limits.max_output_tokens:
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
            return None if self._steered() or self._reviewed() else "complete"
        usable = done = acted = False
        results: list[Result] = []
        for call, result, outcome in run_calls(message.tool_calls, self.profile, self.context, self.turn, self.hooks):
            results.append(result)
            if outcome.kind in WITHOUT_EFFECT and not acted:
                self._forget_if_allowed(outcome.kind)
            acted |= outcome.kind not in WITHOUT_EFFECT  # an edit that broke the syntax is made, too
            text = fitted(self.context, result.text, self._most())
            self._add(Message(role="tool", content=text, tool_call_id=call.id, name=call.name))
            self.outcomes.append(outcome)
            self.stuck.add(f"{call.name} {call.arguments}", text)
            usable |= outcome.kind not in _INVALID
            done |= result.done
        if self._steered():
            return None
        if done:
            return None if self._reviewed() else "complete"
        if self.limits.take_backs and any(result.kind == "budget" for result in results):
            return "tests"
        self._forget_in_vain(default_test_run(message.tool_calls, results))
        return self._judge(usable)

    def _add(self, message: Message) -> None:
        at = len(self.record.segment.ids)
        self.record.add(message)
        self.hooks.recorded(message, self.context.env.workspace, self.record.since(at))

    def _steered(self) -> bool:
        """Whether the user has said something meanwhile, which the model reads next."""
        lines = self.hooks.steering()
        for line in lines:
            self._add(Message(role="user", content=line))
            self.hooks.event(Event(type="steering", turn=self.turn, text=line))
        return bool(lines)

    def _reviewed(self) -> bool:
        """Whether the attempt goes on for a last look at its change."""
        limits = self.limits
        if self.looked_back or not limits.review or limits.take_backs or self.budget.asked >= limits.max_turns:
            return False
        self.looked_back = True
        text = review(self.context)
        if text is None:
            return False
        self._add(Message(role="user", content=clip(text, self._most())))
        self.hooks.event(Event(type="steering", turn=self.turn, text=text))
        return True

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


def _estimate(messages: Sequence[Message]) -> int:
    """Tokens, where only text is known."""
    written = sum(len(m.content) + sum(len(str(call.arguments)) for call in m.tool_calls) for m in messages)
    return int(written / _CHARACTERS_PER_TOKEN)
