"""The nouns: what flows between rooms. Plain pydantic records, all of them JSON rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

Role = Literal["system", "user", "assistant", "tool"]
Status = Literal["solved", "failed", "budget", "refused", "infra", "invalid"]
Effort = Literal["low", "medium", "high"]


class Record(BaseModel):
    """A row: unknown keys are an error, so that a misspelt field never passes silently."""

    model_config = ConfigDict(extra="forbid")


class ToolCall(Record):
    """One call as the model wrote it. Values are raw text until the registry coerces them by schema."""

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    id: str = ""


class Message(Record):
    """One turn of a conversation (OpenAI roles)."""

    role: Role
    content: str = ""
    tool_calls: list[ToolCall] = Field(default_factory=list)
    tool_call_id: str = ""
    name: str = ""


class Pictured(Message):
    """A message with images (PNG, base64), for endpoints of models that see. Never recorded."""

    images: list[str] = Field(default_factory=list)


class Drawn(Record):
    """A sampled answer: its ids, and their logprobs in the distribution of temperature and top_p."""

    ids: list[int]
    logprobs: list[float]


class Sampling(Record):
    """How to draw tokens. `max_tokens` is per turn; logprobs are those of temperature and top_p, whatever `avoid` says.

    `avoid`: answers to the same prompt that a native client does not draw again (not when greedy); others ignore it.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int = 0
    avoid: list[Drawn] = Field(default_factory=list)


class Usage(Record):
    """Token counts of one answer, or their sum over an attempt."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0


class Completion(Record):
    """An answer: the message, and for a native client the exact ids and their logprobs (one per id)."""

    message: Message
    ids: list[int] | None = None
    logprobs: list[float] | None = None
    finish_reason: Literal["stop", "length"] = "stop"
    usage: Usage = Field(default_factory=Usage)


@dataclass(frozen=True)
class Delta:
    """A piece of an answer while it is given: more `text`; the name of a tool that is being called (`call`), or more of
    the `arguments` of that call as they are written. `again`: all pieces so far are void, the answer begins anew."""

    text: str = ""
    call: str = ""
    arguments: str = ""
    again: bool = False


class TestSpec(Record):
    """How a task's tests are run inside its workspace."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    runner: Literal["pytest", "unittest"] = "pytest"
    args: list[str] = Field(default_factory=list)
    timeout_s: float = 30.0


class Task(Record):
    """An instruction, a snapshot (environment layer plus patch), and the tests that decide.

    `bug_patch` turns the clean layer into what the agent sees; `gold_patch` is the reference fix of that state.
    Test ids are pytest node ids (or unittest dotted ids), whole, never truncated.
    """

    id: str
    family: str = "repair"
    stage: str = "simple"
    env: str
    repo: str
    split: Literal["train", "eval"]
    licence: str
    problem_statement: str
    bug_patch: str
    gold_patch: str
    FAIL_TO_PASS: list[str]
    PASS_TO_PASS: list[str]
    test: TestSpec = Field(default_factory=TestSpec)
    difficulty: dict[str, float] = Field(default_factory=dict)
    provenance: dict[str, Any] = Field(default_factory=dict)
    check: dict[str, Any] = Field(default_factory=dict)
    """What decides beside the tests, in the form of the family; empty (and then not written) where tests decide."""

    @model_serializer(mode="wrap")
    def _leave_out_empty_check(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        row: dict[str, Any] = handler(self)
        if not row.get("check"):
            row.pop("check", None)
        return row


class Segment(Record):
    """Token-exact, append-only record of parallel lists.

    `mask` is 1 only for ids the policy sampled, `logprobs` are 0.0 elsewhere, and `turns` holds the number of the
    assistant turn an id was sampled in (0, 1, ...; -1 elsewhere), so that single steps can be left out of a loss.
    """

    ids: list[int] = Field(default_factory=list)
    mask: list[int] = Field(default_factory=list)
    logprobs: list[float] = Field(default_factory=list)
    turns: list[int] = Field(default_factory=list)

    def trained(self) -> Segment:
        """Up to the last sampled id: results that nobody answered have no loss, and may not fit the context."""
        end = len(self.mask) - self.mask[::-1].index(1) if 1 in self.mask else 0
        return Segment(ids=self.ids[:end], mask=self.mask[:end], logprobs=self.logprobs[:end], turns=self.turns[:end])


class Forgotten(Record):
    """Answers that were taken back, with the results between them: what followed the first `at` ids of the segment, in
    parallel lists as there."""

    at: int
    why: str = ""
    """Kind of the outcome that was without effect; "cut", "text", or "in_vain" for edits that did not help."""
    ids: list[int] = Field(default_factory=list)
    mask: list[int] = Field(default_factory=list)
    logprobs: list[float] = Field(default_factory=list)

    def drawn(self) -> Drawn:
        """The first of these answers, with the probability of all of them: it may come again, and go on otherwise."""
        start = self.mask.index(1)
        end = next((i for i in range(start, len(self.mask)) if not self.mask[i]), len(self.mask))
        ids, logprobs = self.ids[start:end], self.logprobs[start:end]
        logprobs[-1] += sum(self.logprobs[end:])
        return Drawn(ids=ids, logprobs=logprobs)

    def within(self, segment: Segment) -> Segment:
        """The segment as it was with these answers at its end."""
        turn = max(segment.turns[: self.at], default=-1) + 1
        return Segment(ids=segment.ids[: self.at] + self.ids, mask=segment.mask[: self.at] + self.mask,
                       logprobs=segment.logprobs[: self.at] + self.logprobs,
                       turns=segment.turns[: self.at] + [turn if bit else -1 for bit in self.mask])


class ToolOutcome(Record):
    """What became of one tool call. `kind` is from the tool's own closed list (`ok`, `no_match`, ...)."""

    tool: str
    kind: str
    seconds: float = 0.0
    turn: int = 0


class Trajectory(Record):
    """The full record of one attempt."""

    task_id: str
    messages: list[Message] = Field(default_factory=list)
    segments: list[Segment] = Field(default_factory=list)
    outcomes: list[ToolOutcome] = Field(default_factory=list)
    patch: str = ""
    stop_reason: Literal["complete", "turns", "tokens", "context", "seconds", "tests", "format", "stuck", "infra",
                         "cancelled", "cost"] = "complete"
    usage: Usage = Field(default_factory=Usage)
    turns: int = 0
    taken_back: int = 0
    """Answers among the turns that are not in the record: see `harness.takebacks`."""
    forgotten: list[Forgotten] = Field(default_factory=list)
    """Those answers, token by token (of a native client)."""
    test_runs: int = 0
    tests_at_end: Literal["", "passed", "failed", "stopped"] = ""
    """What the task's tests said of the very files the attempt ended with, if the agent had them run on these;
    "stopped": a limit ended that run (its processor time, memory, ...), which is tighter than that of grading."""
    seconds: float = 0.0
    error: str = ""
    error_kind: str = ""
    """`kind` of the error in `core.errors`, where one ended the attempt."""
    hashes: dict[str, str] = Field(default_factory=dict)

    def answer(self) -> str:
        """The model's last words: what it said at the end, or the summary it closed with."""
        last = next((m for m in reversed(self.messages) if m.role == "assistant"), Message(role="assistant"))
        summary = "".join(str(call.arguments.get("summary", "")) for call in last.tool_calls)
        return last.content.strip() or summary.strip()


class Grade(Record):
    """The verdict. `infra` (the machinery failed) and `invalid` (the grader says that the attempt did not happen) mean
    there is none: excluded from rewards and pass rates, and counted."""

    status: Status
    scores: dict[str, float] = Field(default_factory=dict)
    detail: str = ""

    @property
    def solved(self) -> bool:
        return self.status == "solved"

    @property
    def verdict(self) -> bool:
        """Whether the attempt counts."""
        return self.status not in ("infra", "invalid")


class Attempt(Record):
    """One graded trajectory: a line of an evaluation's or a rollout's `attempts.jsonl`."""

    task_id: str
    repo: str
    sample: int = 0
    model: str = ""
    trajectory: Trajectory
    grade: Grade
    others: dict[str, Usage] = Field(default_factory=dict)
    """Tokens of other roles (judge, user simulator), by role: never part of the model's own."""
