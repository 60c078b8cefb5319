"""One request as every API says it in its own words, and the events that answer it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from vivace.core.types import Effort, Message, Sampling
from vivace.text.grammar import ToolSpec

Finish = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True)
class Shaping:
    """What bends the distribution before a token is drawn. The defaults change nothing."""

    bias: dict[int, float] = field(default_factory=dict)
    top_k: int = 0
    min_p: float = 0.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repeat_penalty: float = 1.0


@dataclass(frozen=True)
class Ask:
    """`text`: continue this instead of a conversation, or with `suffix` fill the gap between the two."""

    model: str
    messages: Sequence[Message] = ()
    text: str | None = None
    text_ids: Sequence[int] = ()
    suffix: str | None = None
    tools: Sequence[ToolSpec] = ()
    tool_choice: Literal["auto", "none", "required"] = "auto"
    parallel_tool_calls: bool = True
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int | None = None
    """None: as many as fit."""
    shaping: Shaping = field(default_factory=Shaping)
    stop: Sequence[str] = ()
    n: int = 1
    logprobs: int | None = None
    """None: none are wanted; k: with k alternatives to each token."""
    effort: Effort | None = None
    prediction: str = ""
    schema: Mapping[str, Any] | None = None
    """The JSON schema that the answer is held to, unless it calls a tool."""
    schema_field: str = "response_format"
    """What its API calls it."""
    affinity: str = ""

    def choice(self, number: int) -> Ask:
        """The same request for choice `number` of n."""
        if self.n == 1:
            return self
        seed = self.sampling.seed + number
        return replace(self, n=1, sampling=self.sampling.model_copy(update={"seed": seed}))


@dataclass(frozen=True)
class Count:
    """Usage of one answer."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    accepted_tokens: int = 0
    rejected_tokens: int = 0

    def __add__(self, other: Count) -> Count:
        """Of several answers to one prompt: the prompt counts once."""
        return Count(
            self.input_tokens or other.input_tokens, max(self.cached_tokens, other.cached_tokens),
            self.output_tokens + other.output_tokens, self.reasoning_tokens + other.reasoning_tokens,
            self.accepted_tokens + other.accepted_tokens, self.rejected_tokens + other.rejected_tokens,
        )  # fmt: skip


@dataclass(frozen=True)
class TokenLogprob:
    token: str
    raw: bytes
    logprob: float
    top: Sequence[tuple[str, bytes, float]] = ()


@dataclass(frozen=True)
class Text:
    text: str
    logprobs: Sequence[TokenLogprob] = ()


@dataclass(frozen=True)
class Thought:
    """Reasoning, from remote models that show it."""

    text: str


@dataclass(frozen=True)
class CallStart:
    id: str
    name: str


@dataclass(frozen=True)
class CallArguments:
    """More of the JSON of the latest call's arguments."""

    json: str


@dataclass(frozen=True)
class End:
    finish: Finish
    count: Count
    stop: str | None = None
    """The stop string that ended it."""
    error: str = ""


Event = Text | Thought | CallStart | CallArguments | End


class Target(Protocol):
    """A model that answers: of this machine, or of another endpoint."""

    @property
    def name(self) -> str: ...
    @property
    def context_length(self) -> int: ...
    @property
    def can_fill(self) -> bool: ...
    def count_tokens(self, ask: Ask) -> int:
        """Tokens of the prompt (an estimate where there is no tokenizer)."""
        ...

    def answer(self, ask: Ask) -> AsyncIterator[Event]:
        """Events that end with one End. ApiError before the first of them when the request cannot be met."""
        ...

    async def aclose(self) -> None: ...
