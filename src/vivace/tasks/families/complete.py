"""complete: a piece of a function is gone, what stands before and after it is left (fill in the middle). Tests decide.

`line` (one statement), `block` (up to eight lines of one suite) or `span` (an expression within a line). The agent
finds a stub in place of the piece and may change nothing else in that file; a completion model gets the text before
and after (`gap`) and its answer is put in between. Both are graded by the same tests.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from vivace.core.errors import BadInput
from vivace.core.files import digest
from vivace.core.types import Grade, Task
from vivace.sandbox import Sandbox, make_patch
from vivace.tasks.admission import Refused
from vivace.tasks.candidates import MOST_TESTS, pick_tests, same_code
from vivace.tasks.families.base import Bench
from vivace.tasks.families.repair import ByTests, maker_of
from vivace.tasks.grade import grade_tests, patched_tree
from vivace.tasks.layers import Layer
from vivace.tasks.mutate import Function, Site
from vivace.tasks.operators.source import Source, walk
from vivace.tasks.statements import Suspect, leaks, shown_test
from vivace.tasks.workspaces import buggy_files

STATEMENT, EXPRESSION = "pass  # complete", "..."
MOST_LINES, SHORTEST, MOST_F2P, MOST_P2P, PER_FUNCTION = 8, 6, 8, 8, 4
WORDS = {
    "statement": (
        "Complete {place}: `{stub}` in line {line} stands for what is missing. Change nothing else in the file.",
        "I stopped typing in line {line} of {place}. Put the missing code where it says `{stub}`, and only there.",
        "Fill in the gap of {place} (line {line}, `{stub}`); the rest of the file is right. {test} needs it.",
        "{place} has a hole in line {line}. Replace `{stub}` by the code that belongs there; {test} must pass.",
    ),
    "expression": (
        "Complete the expression in line {line} of {place}: `...` stands for what is missing, all else stays.",
        "In line {line} of {place} an expression is left open (`...`). Fill it in so that {test} passes.",
        "What belongs in place of `...` in line {line} of {place}? Write it there, and nothing else.",
    ),
}
_EXPRESSIONS = (ast.Call, ast.BinOp, ast.BoolOp, ast.Compare, ast.Subscript, ast.IfExp, ast.ListComp, ast.DictComp,
                ast.GeneratorExp, ast.UnaryOp)  # fmt: skip


@dataclass(frozen=True)
class Hole:
    """Characters [start, end) of a file that are taken out, in a function."""

    kind: str
    path: str
    function: Function
    line: int
    start: int
    end: int

    @property
    def stub(self) -> str:
        return EXPRESSION if self.kind == "span" else STATEMENT

    @property
    def key(self) -> str:
        return digest([self.kind, self.path, self.start, self.end])


@dataclass(frozen=True)
class Gap:
    """What a completion model is given, and what stood between."""

    path: str
    prefix: str
    middle: str
    suffix: str


class Complete(ByTests[Hole]):
    """Fill in the middle, executed by the package's own tests."""

    name: ClassVar[str] = "complete"
    share: ClassVar[int] = 30

    def candidates(self, bench: Bench) -> Iterator[Hole]:
        found = [hole for path, known in bench.grounds.functions.items() for hole in _holes(bench, path, known)]
        rng = bench.rng(self.name)
        turns: Counter[tuple[str, str]] = Counter()
        rng.shuffle(found)
        for hole in found:
            key = (hole.path, hole.function.qualname)
            turns[key] += 1
            if turns[key] <= PER_FUNCTION:
                yield hole

    def make(self, candidate: Hole, bench: Bench) -> Task:
        clean = bench.text(candidate.path)
        site = Site(candidate.start, candidate.end, "gap", candidate.stub, candidate.line, candidate.function.qualname)
        tests = pick_tests(bench.survey, candidate.path, candidate.function, candidate.line)
        if not tests or same_code(clean, candidate.function, site):
            raise Refused("no test notices")
        stubbed = clean[: candidate.start] + candidate.stub + clean[candidate.end :]
        flipped, kept = maker_of(bench).flipped({candidate.path: stubbed}, tests)
        if not kept:
            raise Refused("nothing keeps passing")
        f2p = [test for test in tests if test in flipped][:MOST_F2P]
        middle = clean[candidate.start : candidate.end]
        place = Suspect(candidate.function.name, candidate.path)
        text = bench.rng(candidate.key).choice(WORDS["expression" if candidate.kind == "span" else "statement"]).format(
            place=place, stub=candidate.stub, line=candidate.line, test=shown_test(min(f2p, key=lambda t: (len(t), t))))
        if leaks(text, middle.split("\n"), "\n".join([stubbed, *f2p])):
            raise Refused("statement leaks the fix")
        task = self.task(
            bench, candidate.kind, text, bug_patch=make_patch({candidate.path: clean}, {candidate.path: stubbed}),
            gold_patch=make_patch({candidate.path: stubbed}, {candidate.path: clean}), f2p=f2p,
            p2p=list(kept)[:MOST_P2P],
            check={"path": candidate.path, "start": candidate.start, "stub": candidate.stub},
            difficulty={"lines": middle.count("\n") + 1, "characters": len(middle),
                        "function_lines": candidate.function.length},
            provenance={"functions": [candidate.function.qualname], "files": [candidate.path],
                        "lines": [candidate.line]},
        )  # fmt: skip
        bench.notes[task.id] = (tests[:MOST_TESTS + MOST_P2P], True)
        return task

    def grade(self, task: Task, layer: Layer, patch: str, answer: str, sandbox: Sandbox) -> Grade:
        """Of an edit of the file, or, where there is no edit, of an answer that is the missing text."""
        if not patch.strip() and answer.strip():
            patch = completed(task, layer, answer)
        problem = _outside(task, layer, patch)
        found = grade_tests(task, layer, patch, sandbox)
        if not problem or found.status not in ("solved", "failed"):
            return found
        return found.model_copy(update={"status": "failed", "scores": {**found.scores, "f2p": 0.0, "outside": 1.0},
                                        "detail": "; ".join(filter(None, (problem, found.detail)))})


def gap(task: Task, layer: Layer) -> Gap:
    """The task as a completion: text before, missing text, text after."""
    path, before, after = _sides(task, layer)
    whole = (layer.root / path).read_bytes().decode()
    return Gap(path, before, whole[len(before) : len(whole) - len(after)], after)


def completed(task: Task, layer: Layer, answer: str) -> str:
    """The patch that puts an answer into the gap; a fence around the whole of it does not count."""
    path, before, after = _sides(task, layer)
    fenced = re.fullmatch(r"\s*```\w*\n(.*?)\n?```\s*", answer, re.DOTALL)
    text = fenced[1] if fenced else answer
    return make_patch({path: before + str(task.check["stub"]) + after}, {path: before + text + after})


def _sides(task: Task, layer: Layer) -> tuple[str, str, str]:
    path, start, stub = (task.check[name] for name in ("path", "start", "stub"))
    text = buggy_files(task, layer).get(str(path)) or ""
    if text[start : start + len(stub)] != stub:
        raise BadInput(f"task {task.id}: its gap is not where it says; the row is damaged")
    return str(path), text[:start], text[start + len(stub) :]


def _outside(task: Task, layer: Layer, patch: str) -> str:
    """"" if nothing but the gap was filled."""
    path, before, after = _sides(task, layer)
    try:
        files, _ = patched_tree(layer, buggy_files(task, layer), patch)
    except BadInput:
        return ""  # grading says so
    text = files.get(path) or ""
    others = sorted(set(files) - {path})
    if others:
        return f"changed outside of the gap: {others[0]}"
    kept = text.startswith(before) and text.endswith(after) and len(text) >= len(before) + len(after)
    return "" if kept else f"changed outside of the gap: {path}"


def _holes(bench: Bench, path: str, known: list[Function]) -> Iterator[Hole]:
    source, covered = Source(bench.text(path)), bench.survey.lines(path)
    names = {function.qualname: function for function in known}
    for node, scope in walk(source.tree):
        function = names.get(scope.qualname)
        if function is None or scope.function is None or getattr(node, "lineno", 0) <= scope.function.lineno:
            continue
        for kind, first, last in _pieces(node):
            start, end = source.span(first)[0], source.span(last)[1]
            line = int(first.lineno)
            if line in covered and end - start >= SHORTEST and source.text.count("\n", start, end) < MOST_LINES:
                yield Hole(kind, path, function, line, start, end)


def _pieces(node: ast.AST) -> Iterator[tuple[str, Any, Any]]:
    """(kind, first node, last node) of what could be taken out at a node."""
    if isinstance(node, ast.Assign | ast.AugAssign | ast.Return | ast.Expr | ast.Raise) and (
            node.lineno == node.end_lineno):
        yield "line", node, node
    if isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.Try) and not _defines(node.body):
        yield "block", node.body[0], node.body[-1]
        yield "block", node, node
    if isinstance(node, _EXPRESSIONS) and node.lineno == node.end_lineno:
        yield "span", node, node


def _defines(body: list[ast.stmt]) -> bool:
    return isinstance(body[0], ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)  # decorators stand above it
