"""Making repair tasks: plant covered bugs, see which tests flip, word the problem, admit what holds.

`simple`: one bug; the statement names its function and one failing test. `complex`: two bugs in one or two files, each
with failing tests of its own, named among one or two innocent suspects.
"""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from vivace.core.files import digest
from vivace.core.progress import Progress
from vivace.core.types import Task
from vivace.harness.tools.failures import failures
from vivace.sandbox import Sandbox, make_patch
from vivace.sandbox.warm import MOUNT
from vivace.tasks.admission import AUDIT, Admission, Refused
from vivace.tasks.candidates import PER_FUNCTION, Candidate, Grounds, test_file
from vivace.tasks.cover import Survey
from vivace.tasks.layers import Layer
from vivace.tasks.statements import Suspect, complex_statement, leaks, names_machine, simple_statement

Stage = Literal["simple", "complex"]
GENERATOR = "vivace.tasks.make/1"
MOST_F2P, MOST_P2P = 5, 8
Drafted = tuple[Task, tuple[str, ...], bool]
"""A task not yet admitted, all tests tried on its bugs, and whether its whole bug has been run once."""
Word = Callable[[Suspect, str, str, random.Random], str]
"""Words a problem: the place, a failing test, its error, a generator."""
A = TypeVar("A")
B = TypeVar("B")


@dataclass
class Yield:
    """What became of the candidates."""

    candidates: int = 0
    executed: int = 0
    flipped: int = 0
    admitted: int = 0
    seconds: float = 0.0
    rejected: Counter[str] = field(default_factory=Counter)

    def row(self) -> dict[str, object]:
        """As one record: counts, the share of candidates admitted, tasks per minute."""
        per_minute = 60 * self.admitted / self.seconds if self.seconds else 0.0
        return {"candidates": self.candidates, "executed": self.executed, "flipped": self.flipped,
                "admitted": self.admitted, "share": round(self.admitted / max(self.candidates, 1), 3),
                "per_minute": round(per_minute, 2), "rejected": dict(self.rejected)}


@dataclass(frozen=True)
class Planted:
    """A candidate whose bug some tests notice: `flipped` maps each to the last line of its error."""

    candidate: Candidate
    flipped: dict[str, str]
    kept: tuple[str, ...]


def make_tasks(layer: Layer, survey: Survey, sandbox: Sandbox, n: int, *, seed: int = 0, stage: Stage = "simple",
               workers: int = 2, tally: Yield | None = None) -> Iterator[Task]:
    """Up to `n` admitted tasks of one layer, in an order that depends on the seed alone; fewer if its sites run out."""
    with (Maker(layer, survey, sandbox, seed=seed, workers=workers, tally=tally) as maker,
          Progress(f"make {stage} tasks of {layer.name}", n) as bar):
        for task in maker.simple(n) if stage == "simple" else maker.complex(n, maker.planted()):
            bar.advance(1, f"{maker.tally.admitted} of {maker.tally.candidates} candidates")
            yield task


class Maker:
    """Makes tasks of one layer. Bugs found once can serve both stages: hand `planted()` from one to the other.

    Args:
        per_function: most bugs tried in one function.
        audit: one task in so many is judged by cold runs as well (`vivace.tasks.admission`).
    """

    def __init__(self, layer: Layer, survey: Survey, sandbox: Sandbox, *, seed: int = 0, workers: int = 2,
                 tally: Yield | None = None, per_function: int = PER_FUNCTION, audit: int = AUDIT,
                 grounds: Grounds | None = None, admission: Admission | None = None) -> None:
        self.layer, self.seed, self.workers, self.per_function = layer, seed, workers, per_function
        self.survey, self.grounds, self.tally = survey, grounds or Grounds(layer, survey), tally or Yield()
        self.admission = admission or Admission(layer, sandbox, survey.seconds, slots=workers, audit=audit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.admission.close()

    def planted(self) -> Generator[Planted, None, None]:
        """Bugs that tests notice, as long as there are candidates."""
        candidates = self.grounds.candidates(self.seed, self.per_function)
        for found in ordered_map(partial(self._or_none, self.plant), candidates, self.workers):
            if found is not None:
                yield found

    def simple(self, n: int, found: Iterable[Planted] | None = None) -> Iterator[Task]:
        """Up to `n` tasks with one bug each."""
        wanted = (self._or_none(self.draft_simple, bug) for bug in (self.planted() if found is None else found))
        yield from self._admit(wanted, n)

    def complex(self, n: int, found: Iterable[Planted]) -> Iterator[Task]:
        """Up to `n` tasks with two bugs each; every bug is used at most once."""
        yield from self._admit(self._pairs(found), n)

    def _admit(self, tasks: Iterable[Drafted | None], n: int) -> Iterator[Task]:
        start, admitted = time.monotonic(), 0
        results = ordered_map(self._judge, (task for task in tasks if task), self.workers)
        while admitted < n and (item := next(results, None)) is not None:
            task, problem = item
            self.tally.seconds += time.monotonic() - start
            start = time.monotonic()
            if problem:
                self.tally.rejected[problem] += 1
                continue
            admitted += 1
            self.tally.admitted += 1
            yield task
        results.close()

    def _judge(self, drafted: Drafted) -> tuple[Task, str]:
        task, tests, seen = drafted
        return task, self.admission.rejection(task, tests, seen=seen)

    def _or_none(self, function: Callable[..., B], *items: Any) -> B | None:
        try:
            return function(*items)
        except Refused as refused:
            self.tally.rejected[str(refused)] += 1
            return None

    def plant(self, candidate: Candidate) -> Planted:
        """Run the chosen tests on the mutant.

        Raises:
            Refused: it hangs, does not import, or no test notices.
        """
        self.tally.candidates += 1
        found = self.flipped({candidate.path: candidate.buggy}, candidate.tests)
        self.tally.flipped += 1
        return Planted(candidate, *found)

    def flipped(self, changed: Mapping[str, str], tests: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
        """({test that fails with these files: the last line of its error}, tests that go on passing).

        Raises:
            Refused: the run says nothing, or all of them pass.
        """
        report = self.admission.run(changed, tests)
        self.tally.executed += 1
        if report.stopped or not report.trusted or not report.collected_ok:
            raise Refused("hangs" if report.stopped else "does not import or ends early")
        messages = {failure.test_id: failure.message for failure in failures(report, MOUNT)}
        flipped = {test: messages.get(test, "") for test in tests if report.outcomes.get(test) in ("failed", "error")}
        if not flipped:
            raise Refused("no test notices")
        return flipped, tuple(test for test in tests if report.outcomes.get(test) == "passed")

    def draft_simple(self, bug: Planted, word: Word | None = None) -> Drafted:
        """The task of one bug, worded by `word` (the shipped rows' way if not given), not yet admitted.

        Raises:
            Refused: no failing test says why, nothing keeps passing, or the statement tells too much.
        """
        rng = random.Random(f"{self.seed}:{bug.candidate.site}")
        told = _shortest([test for test, message in bug.flipped.items() if message])
        if told is None:
            raise Refused("no error text")
        f2p = [told, *(test for test in bug.flipped if test != told)][:MOST_F2P]
        text = (word or simple_statement)(bug.candidate.place, told, bug.flipped[told], rng)
        return self._checked("simple", [bug.candidate], text, f2p, list(bug.kept[:MOST_P2P]))

    def _pairs(self, found: Iterable[Planted]) -> Iterator[Drafted | None]:
        for partner, bug in self.partners(found):
            yield self._or_none(self.draft_complex, partner, bug)

    def partners(self, found: Iterable[Planted]) -> Iterator[tuple[Planted, Planted]]:
        """Each new bug is matched with an earlier one of the same file, or failing that of the same test file."""
        waiting: list[Planted] = []
        for bug in found:
            partner = min((other for other in waiting if self.fit(bug, other)), default=None,
                          key=lambda other: (other.candidate.path != bug.candidate.path, waiting.index(other)))
            if partner is None:
                waiting.append(bug)
            else:
                waiting.remove(partner)
                yield partner, bug

    def fit(self, one: Planted, other: Planted) -> bool:
        """Whether two bugs make one task: apart, near each other, each with failing tests of its own."""
        a, b = one.candidate, other.candidate
        apart = a.path != b.path or a.function.end_line < b.function.line or b.function.end_line < a.function.line
        near = a.path == b.path or test_file(a.tests[0]) == test_file(b.tests[0])
        return apart and near and bool(self._own(one, other)) and bool(self._own(other, one))

    def _own(self, bug: Planted, other: Planted) -> list[str]:
        """Tests that fail by this bug and never execute the other's line."""
        there = self.survey.covered[other.candidate.path].get(other.candidate.site.line, ())
        return [test for test, message in bug.flipped.items() if message and test not in there]

    def draft_complex(self, one: Planted, other: Planted, stage: str = "complex") -> Drafted:
        """The task of two bugs that `fit`, not yet admitted.

        Raises:
            Refused: as for one.
        """
        rng = random.Random(f"{self.seed}:{one.candidate.site}:{other.candidate.site}")
        mine, theirs = self._own(one, other), self._own(other, one)
        told = [(t, bug.flipped[t]) for t, bug in ((_shortest(mine), one), (_shortest(theirs), other)) if t]
        f2p = list(dict.fromkeys([*(test for test, _ in told), *mine[:2], *theirs[:2]]))[:MOST_F2P]
        bad = {*one.flipped, *other.flipped}
        p2p = [test for test in dict.fromkeys([*one.kept, *other.kept]) if test not in bad][:MOST_P2P]
        guilty = [one.candidate, other.candidate]
        places = [c.place for c in guilty] + self.grounds.distractors(guilty, rng)
        rng.shuffle(places)
        rng.shuffle(told)
        return self._checked(stage, guilty, complex_statement(places, told, rng), f2p, p2p)

    def _checked(self, stage: str, bugs: list[Candidate], text: str, f2p: list[str], p2p: list[str]) -> Drafted:
        if not p2p:
            raise Refused("nothing keeps passing")
        lines = [line for bug in bugs for line in bug.lines]
        files = {test_file(test) for test in f2p}
        shown = [(self.layer.root / path).read_text() for path in files if (self.layer.root / path).is_file()]
        if leaks(text, lines, "\n".join([*(bug.buggy for bug in bugs), *shown])):
            raise Refused("statement leaks the fix")
        if names_machine(text):
            raise Refused("statement holds a path of the machine")
        tests = tuple(dict.fromkeys(test for bug in bugs for test in bug.tests))
        return self._task(stage, bugs, text, f2p, p2p), tests, len(bugs) == 1

    def _task(self, stage: str, bugs: list[Candidate], text: str, f2p: list[str], p2p: list[str]) -> Task:
        source = self.layer.source
        clean = {bug.path: bug.clean for bug in bugs}
        buggy = plant(bugs)
        bug_patch = make_patch(clean, buggy)
        return Task(
            id=f"{source.name}-{stage}-{digest([source.env, bug_patch], 10)}", stage=stage, env=source.env,
            repo=source.name, split=source.role, licence=source.licence, problem_statement=text,
            bug_patch=bug_patch, gold_patch=make_patch(buggy, clean), FAIL_TO_PASS=f2p, PASS_TO_PASS=p2p,
            test=self.admission.spec,
            difficulty={"bugs": len(bugs), "files": len(clean),
                        "function_lines": max(bug.function.length for bug in bugs)},
            provenance={"generator": GENERATOR, "seed": self.seed, "operators": [b.site.operator for b in bugs],
                        "functions": [b.function.qualname for b in bugs], "files": [b.path for b in bugs],
                        "lines": [b.site.line for b in bugs]},
        )  # fmt: skip


def plant(bugs: Iterable[Candidate]) -> dict[str, str]:
    """{path: text with all its bugs}; later ones in a file are put in first, so that offsets stay right."""
    texts: dict[str, str] = {}
    for bug in sorted(bugs, key=lambda bug: -bug.site.start):
        before = texts.get(bug.path, bug.clean)
        texts[bug.path] = before[: bug.site.start] + bug.site.replacement + before[bug.site.end :]
    return texts


def _shortest(tests: list[str]) -> str | None:
    return min(tests, key=lambda test: (len(test), test), default=None)


def ordered_map(function: Callable[[A], B], items: Iterable[A], workers: int) -> Generator[B, None, None]:
    """Results in the order of the items, a few computed ahead by threads; closing it early drops what was ahead."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[B]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
