"""repair: a bug planted where tests notice it. One bug (`simple`), or two at once (`complex`)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, cast

from vivace.core.files import digest
from vivace.core.types import Grade, Task
from vivace.sandbox import Sandbox
from vivace.tasks.admission import Refused
from vivace.tasks.candidates import Candidate
from vivace.tasks.experts import Style, expert_script
from vivace.tasks.families.base import Bench, C, Family
from vivace.tasks.grade import grade_tests
from vivace.tasks.layers import Layer
from vivace.tasks.make import Drafted, Maker, Planted, plant
from vivace.tasks.registers import Symptom, word
from vivace.tasks.script import Script
from vivace.tasks.verify import rejection

PER_FUNCTION = 12
SHOWN_CALLS = 30


class ByTests(Family[C]):
    """Families of which the tests alone decide, on a tree with something broken in it."""

    def rejection(self, task: Task, layer: Layer, sandbox: Sandbox, bench: Bench | None = None) -> str:
        if bench is None:
            return rejection(task, layer, sandbox, repeats=1)
        tests, seen = bench.notes.pop(task.id, ((), False))
        return bench.admission.rejection(task, tests, seen=seen)

    def grade(self, task: Task, layer: Layer, patch: str, answer: str, sandbox: Sandbox) -> Grade:
        return grade_tests(task, layer, patch, sandbox)

    def script(self, task: Task, layer: Layer, style: str, rng: random.Random, opening: str) -> Script:
        return expert_script(task, layer, cast(Style, style), rng, opening)


class Repair(ByTests[Candidate]):
    """One bug, worded in one of the registers."""

    name: ClassVar[str] = "repair"
    share: ClassVar[int] = 100

    def candidates(self, bench: Bench) -> Iterator[Candidate]:
        return bench.grounds.candidates(bench.seed, PER_FUNCTION)

    def make(self, candidate: Candidate, bench: Bench) -> Task:
        maker = maker_of(bench)
        bug = maker.plant(candidate)
        return noted(bench, maker.draft_simple(bug, lambda place, test, error, rng: word(
            Symptom(place, test, error, self._call(bug, bench, rng)), rng)))

    @staticmethod
    def _call(bug: Planted, bench: Bench, rng: random.Random) -> tuple[str, str, str] | None:
        """(a call of the broken function, what it gives, what it should give); None if none is known. Asked for half
        of the bugs: it costs a run, and half of the registers have no use for it."""
        candidate = bug.candidate
        calls = bench.observer.calls(candidate.path, candidate.function.qualname)[:SHOWN_CALLS]
        if not calls or rng.random() < 0.5:
            return None
        item = (candidate.path, candidate.function.qualname, calls)
        [clean] = bench.observer.evaluate({}, [item])
        [broken] = bench.observer.evaluate({candidate.path: candidate.buggy}, [item])
        return bench.observer.difference(candidate.path, candidate.function.qualname, calls, clean, broken)


@dataclass(frozen=True)
class Pair:
    """Two bugs that make one task."""

    one: Planted
    other: Planted

    @property
    def key(self) -> str:
        return digest([self.one.candidate.key, self.other.candidate.key])


class Combined(ByTests[Pair]):
    """Two bugs of tasks that were made before, named among one or two innocent suspects."""

    name: ClassVar[str] = "combined"
    share: ClassVar[int] = 25
    stage: ClassVar[str] = "complex"

    def candidates(self, bench: Bench) -> Iterator[Pair]:
        for partner, bug in maker_of(bench).partners(self._bugs(bench)):
            yield Pair(partner, bug)

    @staticmethod
    def _bugs(bench: Bench) -> list[Planted]:
        """Those of the single repair tasks that were made."""
        known = {candidate.key: candidate for candidate in bench.grounds.candidates(bench.seed, PER_FUNCTION)}
        return [Planted(known[key], dict.fromkeys(task.FAIL_TO_PASS, "?"), tuple(task.PASS_TO_PASS))
                for key, task in bench.made("repair") if task.stage == "simple" and key in known]

    def make(self, candidate: Pair, bench: Bench) -> Task:
        maker = maker_of(bench)
        bugs = [candidate.one, candidate.other]
        tests = tuple(dict.fromkeys(test for bug in bugs for test in (*bug.flipped, *bug.kept)))
        flipped, kept = maker.flipped(plant(bug.candidate for bug in bugs), tests)
        again = [Planted(bug.candidate, {test: flipped.get(test, "") for test in bug.flipped if test in flipped},
                         tuple(test for test in bug.kept if test in kept)) for bug in bugs]
        if not maker.fit(*again):
            raise Refused("one bug hides the other")
        return noted(bench, maker.draft_complex(again[0], again[1], self.stage))


class CrossFile(Combined):
    """Two bugs in two files that the same file of tests watches: one alone does not make the tests green."""

    name: ClassVar[str] = "cross-file"
    share: ClassVar[int] = 15
    stage: ClassVar[str] = "cross_file"

    def candidates(self, bench: Bench) -> Iterator[Pair]:
        maker, waiting = maker_of(bench), list[Planted]()
        for bug in self._bugs(bench):
            partner = next((one for one in waiting if one.candidate.path != bug.candidate.path and maker.fit(one, bug)),
                           None)
            if partner is None:
                waiting.append(bug)
            else:
                waiting.remove(partner)
                yield Pair(partner, bug)


def maker_of(bench: Bench) -> Maker:
    """The maker of repair tasks on this bench; its own counts are not read."""
    return Maker(bench.layer, bench.survey, bench.sandbox, seed=bench.seed, workers=bench.workers,
                 grounds=bench.grounds, admission=bench.admission)


def noted(bench: Bench, drafted: Drafted) -> Task:
    """The task; what admission may use of its making is left on the bench."""
    task, tests, seen = drafted
    bench.notes[task.id] = (tests, seen)
    return task
