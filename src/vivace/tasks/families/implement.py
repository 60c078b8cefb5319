"""implement: the bodies of functions are gone, signature and docstring are left. One function (`function`), or all
that one group of tests needs and hardly any other does (`feature`: Runtime Dependency Graphs, SWE-Flow, arXiv
2506.09003)."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import ClassVar

from vivace.core.files import digest
from vivace.core.types import Task
from vivace.sandbox import make_patch
from vivace.tasks.admission import Refused
from vivace.tasks.candidates import SLOWEST_TEST
from vivace.tasks.candidates import test_file as file_of
from vivace.tasks.cover import Survey
from vivace.tasks.families.base import Bench
from vivace.tasks.families.repair import ByTests, maker_of
from vivace.tasks.operators.source import FunctionNode, Source, walk
from vivace.tasks.statements import Suspect, leaks, shown_test

MOST_F2P, MOST_P2P, MOST_TESTS, MOST_SECONDS = 20, 8, 24, 6.0
LARGEST_FEATURE, OWN_SHARE = 6, 0.7
STUB = "raise NotImplementedError"
WORDS = {
    "function": (
        "Implement {places}: its body is missing. What it has to do is told by {told}, for example {tests}. Keep the "
        "signature.",
        "{places} only raises NotImplementedError. Please write it; {tests} must pass.",
        "Feature request: {places} is announced but not there yet. It is wanted as {told} have it ({tests} shows how "
        "it is used).",
        "Write the body of {places}. Done when {tests} and the other tests pass.",
        "We merged the interface first: {places} is still a stub. Fill it in so that {tests} pass.",
        "Why do I get NotImplementedError from {places}? I need what {tests} expects.",
    ),
    "feature": (
        "These belong to one feature and are missing: {places}. Implement them; {tests} describe it.",
        "The feature behind {tests} is not there: {places} raise NotImplementedError. Write them. Signatures stay.",
        "Feature request: make {tests} work. The interface is agreed ({places}), the code is not written yet.",
    ),
}


@dataclass(frozen=True)
class Body:
    """A function whose body can be taken out: characters [start, end) become the stub."""

    path: str
    name: str
    line: int
    start: int
    end: int
    lines: tuple[int, ...]
    """1-based lines of the body."""

    @property
    def place(self) -> Suspect:
        return Suspect(self.name.rsplit(".", 1)[-1], self.path)


@dataclass(frozen=True)
class Hole:
    """Bodies that are taken out together, and the group of tests that they belong to ("" for one function)."""

    bodies: tuple[Body, ...]
    group: str = ""

    @cached_property
    def key(self) -> str:
        return digest([self.group, *((body.path, body.name, body.start) for body in self.bodies)])


class Implement(ByTests[Hole]):
    """Removal of functions and of features."""

    name: ClassVar[str] = "implement"
    share: ClassVar[int] = 30

    def candidates(self, bench: Bench) -> Iterator[Hole]:
        single = [Hole((body,)) for body in _bodies(bench)]
        features = list(_features(bench, [hole.bodies[0] for hole in single]))
        rng = bench.rng(self.name)
        rng.shuffle(single)
        rng.shuffle(features)
        for one, other in zip_longest(single, features):
            yield from (hole for hole in (one, other) if hole)

    def make(self, candidate: Hole, bench: Bench) -> Task:
        bodies = candidate.bodies
        clean = {body.path: bench.text(body.path) for body in bodies}
        stubbed = taken_out(bodies, clean)
        tests = _tests(bench.survey, candidate)
        flipped, kept = maker_of(bench).flipped(stubbed, tests)
        if not kept:
            raise Refused("nothing keeps passing")
        f2p = [test for test in tests if test in flipped][:MOST_F2P]
        rng = bench.rng(candidate.key)
        places = ", ".join(str(body.place) for body in bodies)
        shown = sorted(f2p, key=lambda test: (len(test), test))[:1 if not candidate.group else 2]
        stage = "feature" if candidate.group else "function"
        text = rng.choice(WORDS[stage]).format(places=places, tests=" and ".join(map(shown_test, shown)),
                                                told=_told(bodies, bench))
        lines = [line for body in bodies for line in clean[body.path][body.start : body.end].split("\n")]
        if leaks(text, lines, "\n".join([*stubbed.values(), *f2p])):
            raise Refused("statement leaks the fix")
        task = self.task(
            bench, stage, text, bug_patch=make_patch(clean, stubbed), gold_patch=make_patch(stubbed, clean), f2p=f2p,
            p2p=list(kept)[:MOST_P2P],
            difficulty={"functions": len(bodies), "files": len(clean),
                        "lines": sum(len(body.lines) for body in bodies)},
            provenance={"functions": [body.name for body in bodies], "files": [body.path for body in bodies],
                        "group": candidate.group},
        )  # fmt: skip
        bench.notes[task.id] = (tests, True)
        return task


def _told(bodies: Sequence[Body], bench: Bench) -> str:
    """Where it is written what the functions do."""
    documented = all('"""' in "".join(bench.text(body.path).split("\n")[body.line - 1 : body.lines[0] - 1])
                     for body in bodies)  # fmt: skip
    return "its docstring and the tests that use it" if documented else "its callers and the tests that use it"


def taken_out(bodies: Sequence[Body], clean: dict[str, str]) -> dict[str, str]:
    """{path: text with stubs in place of these bodies}"""
    texts = dict(clean)
    for body in sorted(bodies, key=lambda body: -body.start):
        texts[body.path] = texts[body.path][: body.start] + STUB + texts[body.path][body.end :]
    return texts


def _bodies(bench: Bench) -> list[Body]:
    """Functions of a workable size that tests execute, with their bodies."""
    found = []
    for path, known in bench.grounds.functions.items():
        source, names = Source(bench.text(path)), {function.qualname for function in known}
        for node, scope in walk(source.tree):
            if isinstance(node, FunctionNode) and scope.function is node and scope.qualname in names:
                body = _body(path, scope.qualname, node, source)
                if body and set(body.lines) & bench.survey.lines(path):
                    found.append(body)
    return found


def _body(path: str, name: str, node: ast.FunctionDef | ast.AsyncFunctionDef, source: Source) -> Body | None:
    rest = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    if not rest or rest[0].lineno == node.lineno:
        return None
    if any(isinstance(one, ast.Yield | ast.YieldFrom) for one in ast.walk(node)):
        return None  # it would no longer be a generator
    if isinstance(rest[0], ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and rest[0].decorator_list:
        return None  # its position is that of `def`, below its decorators
    start, end = source.span(rest[0])[0], source.span(rest[-1])[1]
    last = node.end_lineno or node.lineno
    return Body(path, name, node.lineno, start, end, tuple(range(rest[0].lineno, last + 1)))


def _covering(survey: Survey, body: Body) -> frozenset[str]:
    return frozenset(test for line in body.lines for test in survey.covered[body.path].get(line, ()))


def _features(bench: Bench, bodies: Sequence[Body]) -> Iterator[Hole]:
    """Groups of tests (classes, or functions of a file) with the functions that hardly any other test executes."""
    groups: dict[str, set[str]] = defaultdict(set)
    for test in bench.survey.green:
        file, _, inside = test.partition("::")
        groups[f"{file}::{inside.split('::')[0]}" if "::" in inside else file].add(test)
    covering = {body: _covering(bench.survey, body) for body in bodies}
    for group, tests in sorted(groups.items()):
        own = [body for body, by in covering.items() if by and len(by & tests) >= OWN_SHARE * len(by)]
        own.sort(key=lambda body: (-len(covering[body] & tests), body.path, body.start))
        own = _apart(own)[:LARGEST_FEATURE]
        if len(own) >= 2:
            yield Hole(tuple(sorted(own, key=lambda body: (body.path, body.start))), group)


def _apart(bodies: Sequence[Body]) -> list[Body]:
    kept: list[Body] = []
    for body in bodies:
        if not any(body.path == other.path and body.start < other.end and other.start < body.end for other in kept):
            kept.append(body)
    return kept


def _tests(survey: Survey, hole: Hole) -> tuple[str, ...]:
    """Tests that execute the bodies (some of each), fastest first, and some of the same files that do not."""
    fast = [sorted((test for test in _covering(survey, body) if survey.seconds[test] <= SLOWEST_TEST),
                   key=lambda test: (survey.seconds[test], test)) for body in hole.bodies]
    turns = [test for row in zip_longest(*fast) for test in row if test]
    chosen, total = [], 0.0
    for test in list(dict.fromkeys(turns))[:MOST_TESTS]:
        total += survey.seconds[test]
        if total <= MOST_SECONDS:
            chosen.append(test)
    if not chosen:
        raise Refused("no fast test executes it")
    homes, touched = {file_of(test) for test in chosen}, {test for row in fast for test in row}
    others = sorted((test for test in survey.green - touched if survey.seconds[test] <= SLOWEST_TEST),
                    key=lambda test: (file_of(test) not in homes, survey.seconds[test], test))
    return (*chosen, *others[:MOST_P2P])
