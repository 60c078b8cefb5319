"""What a family of tasks is: candidates, verification, statement, expert, grade. One file per family beside this one.

A family knows nothing of files on disk, of threads or of what was made before; `vivace.tasks.produce` drives it. What
it needs to know about a package it asks of the `Bench`. Everything about a programming language stands in the bench's
parts (survey, operators, test runner) and in the family's own file, so that a family for another language is a file
more and no change here.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from vivace.core.files import digest
from vivace.core.types import Grade, Message, Task
from vivace.harness.clients.scripted import AnswerCodec, ScriptedClient
from vivace.sandbox import Sandbox
from vivace.tasks.admission import Admission, Refused
from vivace.tasks.candidates import Grounds
from vivace.tasks.cover import Survey
from vivace.tasks.layers import Layer
from vivace.tasks.observe import Observer
from vivace.tasks.script import Script, scripted
from vivace.tasks.statements import names_machine


class HasKey(Protocol):
    """Every candidate has a name of its own that is the same in every sitting."""

    @property
    def key(self) -> str: ...


C = TypeVar("C", bound=HasKey)


@dataclass
class Bench:
    """One package with what is known about it, shared by all families and threads."""

    layer: Layer
    survey: Survey
    sandbox: Sandbox
    seed: int = 0
    workers: int = 2
    audit: int = 16
    notes: dict[str, Any] = field(default_factory=dict)
    """What making leaves for admission in this sitting; families must work without it."""
    made: Callable[[str], Sequence[tuple[str, Task]]] = lambda name: ()
    """(candidate key, task) of what a producer has made on this bench, in earlier sittings too, in order."""

    @cached_property
    def grounds(self) -> Grounds:
        return Grounds(self.layer, self.survey, wide=True)

    @cached_property
    def admission(self) -> Admission:
        return Admission(self.layer, self.sandbox, self.survey.seconds, slots=self.workers, audit=self.audit)

    @cached_property
    def observer(self) -> Observer:
        return Observer(self.layer, self.survey, self.sandbox)

    def rng(self, *parts: object) -> random.Random:
        """A generator that depends on the seed and these parts alone."""
        return random.Random(":".join(map(str, (self.seed, self.layer.env, *parts))))

    def text(self, path: str) -> str:
        """A source file of the clean tree."""
        return self.grounds.texts[path] if path in self.grounds.texts else (self.layer.root / path).read_text()

    def close(self) -> None:
        """End the test servers."""
        if "admission" in self.__dict__:
            self.admission.close()


class Family(ABC, Generic[C]):
    """One kind of task.

    `share` is how many tasks of it a package gets for each 100 repair tasks, unless the caller says otherwise.
    """

    name: ClassVar[str]
    share: ClassVar[int] = 20
    purpose: ClassVar[str] = "work"
    """"answer" for tasks whose files must stay as they are."""

    @abstractmethod
    def candidates(self, bench: Bench) -> Iterator[C]:
        """What might become a task, in an order that depends on the seed alone. Cheap: nothing is executed."""

    @abstractmethod
    def make(self, candidate: C, bench: Bench) -> Task:
        """The task made of a candidate: verified by execution, worded, and not yet admitted.

        Raises:
            Refused: it makes none.
        """

    @abstractmethod
    def rejection(self, task: Task, layer: Layer, sandbox: Sandbox, bench: Bench | None = None) -> str:
        """Why a task must not be admitted; "" if it may. With a bench its warm sandboxes are used, and audited."""

    @abstractmethod
    def grade(self, task: Task, layer: Layer, patch: str, answer: str, sandbox: Sandbox) -> Grade:
        """The verdict on what an attempt left (a patch against the task's tree) and said."""

    @abstractmethod
    def script(self, task: Task, layer: Layer, style: str, rng: random.Random, opening: str) -> Script:
        """A demonstration, one assistant turn after the other; `opening` is what the harness shows at first."""

    def expert(self, task: Task, layer: Layer, codec: AnswerCodec | None, style: str, seed: int) -> ScriptedClient:
        """A client that demonstrates the task."""
        rng = random.Random(f"{task.id}/{style}/{seed}")

        def begin(messages: Sequence[Message]) -> Script:
            return self.script(task, layer, style, rng, "\n".join(message.content for message in messages))

        return scripted(codec, begin, f"expert-{self.name}-{style}")

    def task(self, bench: Bench, stage: str, text: str, *, bug_patch: str = "", gold_patch: str = "",
             f2p: Sequence[str] = (), p2p: Sequence[str] = (), check: dict[str, Any] | None = None,
             difficulty: dict[str, float], provenance: dict[str, Any]) -> Task:  # fmt: skip
        """A row of this family. Its id names package, family, stage and everything that decides.

        Raises:
            Refused: the statement names a path of the machine it was made on.
        """
        if names_machine(text):
            raise Refused("statement holds a path of the machine")
        source, own = bench.layer.source, check or {}
        name = digest([source.env, self.name, stage, bug_patch, gold_patch, own], 10)
        return Task(
            id=f"{source.name}-{self.name}-{stage}-{name}", family=self.name, stage=stage, env=source.env,
            repo=source.name, split=source.role, licence=source.licence, problem_statement=text, bug_patch=bug_patch,
            gold_patch=gold_patch, FAIL_TO_PASS=list(f2p), PASS_TO_PASS=list(p2p), test=bench.admission.spec,
            difficulty=difficulty, provenance={"generator": f"vivace.tasks.families.{self.name}/1", "seed": bench.seed,
                                               **provenance}, check=own,
        )  # fmt: skip
