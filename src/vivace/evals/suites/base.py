"""What a suite is: where its data come from, how its rows become questions, and how an answer is graded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.protocols import Client
from vivace.core.types import Attempt, Grade, Message, Record, Sampling, Usage
from vivace.harness.limits import add_usage
from vivace.sandbox import Sandbox, open_sandbox


@dataclass(frozen=True)
class Info:
    """The facts about a benchmark that a person needs before running it."""

    name: str
    title: str
    items: str
    """How many the real set has, in words."""
    source: str
    """Hub id or address of the real data; it is never fetched without a pinned revision."""
    licence: str
    metric: str
    grader: Mapping[str, Any]
    """Version and settings of the grading; part of every run's identity. `measure`: the score that is the benchmark's
    figure, where that is not the share solved."""
    gate: str = ""
    """What has to be accepted or asked for before the data may be had."""
    roles: tuple[str, ...] = ()
    """Other models that grading or playing needs ("judge", "user"): always named by the caller."""
    engine: str = ""
    """"container" or "browser" where a real run needs one."""
    repeats: int = 1
    """Repeats that the reference recommends for a usable interval."""
    max_tokens: int = 32_768
    ships: bool = False
    """The authored data that come with Vivace are the whole benchmark."""
    sandboxed: bool = False
    """Code of the model runs while it is played or graded; the isolation is part of the run's identity."""
    clustered: bool = False
    """Items of one `cluster` are not independent; intervals are taken over clusters."""
    notes: str = ""


class Case(Record):
    """One item: what the model is shown, and what the grader needs. `id` never depends on the order of rows."""

    id: str
    cluster: str = ""
    messages: list[Message]
    target: dict[str, Any]


@dataclass
class Bench:
    """What grading an answer may use, and the tally of what it used. One for each attempt."""

    roles: Mapping[str, Client] = field(default_factory=dict)
    usage: dict[str, Usage] = field(default_factory=dict)
    seed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sandbox(self) -> Sandbox:
        """Where code of models runs. SandboxError when nothing here is safe."""
        return open_sandbox()

    def ask(self, role: str, messages: Sequence[Message], sampling: Sampling | None = None) -> str:
        """The text of another model's answer; its tokens are counted under its role.

        Raises:
            BadInput: no model was named for the role.
            ModelError: it does not answer.
        """
        if role not in self.roles:
            raise BadInput(f"this suite needs a {role} model; name one with --{role}")
        sampling = sampling or Sampling(temperature=0.0, max_tokens=4096, seed=self.seed)
        answer = self.roles[role].complete(messages, tools=(), sampling=sampling)
        with self._lock:
            self.usage[role] = add_usage(self.usage.get(role, Usage()), answer.usage)
        return strip_reasoning(answer.message.content)


def strip_reasoning(text: str) -> str:
    """What follows the last </think>; some endpoints send reasoning inside the answer. An open one leaves nothing."""
    if "</think>" in text:
        return text.rsplit("</think>", 1)[1].strip()
    return "" if text.lstrip().startswith("<think>") else text


CasePlay = Callable[[Any, int, int], Attempt]
Session = Callable[[Sequence[Any], Client, Mapping[str, Client], "Setting"], AbstractContextManager[CasePlay]]


@dataclass(frozen=True)
class Setting:
    """How items are played: the same for every model that is compared. `limits` are those of the harness."""

    max_tokens: int
    temperature: float = 0.0
    turns: int = 0
    """Turns of an agent; 0 leaves the suite's default."""


@dataclass(frozen=True)
class Suite:
    """A benchmark. `load` reads a local file or folder in the benchmark's own format, whole and in order.

    `grade` gives the verdict on the text of an answer. Suites whose items are played otherwise (agents, dialogues)
    have `session` instead: a context in which items can be played with one client.
    """

    info: Info
    load: Callable[[Path], Sequence[Any]]
    grade: Callable[[Case, str, Bench], Grade] | None = None
    session: Session | None = None
    harness: Callable[[Setting], Mapping[str, Any]] | None = None
    """What of the harness changes results, for the run's identity (default: the single-turn one)."""
    found: Callable[[], Mapping[str, Any]] | None = None
    """What of this machine changes verdicts (versions of libraries, data they come with), for the run's identity."""
    files: Callable[[Path, Sequence[Attempt]], None] | None = None
    """Writes what other programs read (predictions, say) into a column's folder, from its attempts."""
    check: Callable[[Path], tuple[Sequence[float], Sequence[float]]] | None = None
    """Scores of the gold and of the wrong answers to the authored items in a file, where `grade` alone cannot tell."""
    real: Callable[[], tuple[Path, str]] | None = None
    """Fetches the real data where they may be had without asking: their place, and the words that name them."""
    figures: Callable[[Sequence[Attempt]], Mapping[str, float]] | None = None
    """Published figures that are not means over items (F1 over a whole data set), from attempts with a verdict."""
