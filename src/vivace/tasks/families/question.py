"""question: what a program can find out about a package, asked in words. The answer is matched exactly, or as a set.

`definition` and `default` come from the syntax tree, `callers` from the tree of names that mean one thing only,
`returns` from execution under two hash seeds. Files must stay as they are.
"""

from __future__ import annotations

import ast
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, ClassVar

from vivace.core.files import digest
from vivace.core.syntax import python_tree
from vivace.core.types import Grade, Task
from vivace.sandbox import Sandbox
from vivace.tasks.admission import Refused
from vivace.tasks.cover import Survey
from vivace.tasks.families.base import Bench, Family
from vivace.tasks.families.refactor import BUILT_IN, package_sources
from vivace.tasks.layers import Layer
from vivace.tasks.observe import Observer, shortened
from vivace.tasks.operators.source import FunctionNode, walk
from vivace.tasks.script import Script, call, turn
from vivace.tasks.statements import Suspect

MOST_CALLERS, PER_FUNCTION, LONGEST = 8, 2, 100
TRIVIAL = frozenset({"None", "True", "False", "''", "[]", "{}", "()"})
WORDS = {
    "definition": ("Where is `{name}` defined? Answer with path:line and nothing else.",
                   "In which file and line does the definition of `{name}` begin (the line of `def` or `class`)? "
                   "Answer as path:line.", "I look for `{name}`. Path and line, please, in the form path:line."),
    "callers": ("Which functions call `{name}`? Answer with one path:name a line (methods as Class.method), nothing "
                "else.", "List every function or method in the package that calls `{name}`, one path:name a line.",
                "If I change `{name}`, which functions are affected directly? One path:name a line, tests left out."),
    "default": ("What is the default value of `{parameter}` in {place}? Answer with the value alone.",
                "Which value has `{parameter}` of {place} if it is not given? Only the value, as Python writes it.",
                "Default of the parameter `{parameter}` of {place}? Just the literal."),
    "returns": ("What does `{call}` return? `{name}` is in {path}. Answer with the value alone, as Python writes it.",
                "What is the result of `{call}` ({place})? If it raises, answer with the name of the exception.",
                "`{call}`: what comes out? See {place}. Only the value (or the exception's name)."),
}  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """A question with its answer; for `returns` the answer is found when it is made."""

    kind: str
    path: str
    name: str
    """Of the function (or class) asked about; methods with their class."""
    line: int
    detail: str = ""
    """The parameter, or the arguments of the call."""
    answer: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return digest([self.kind, self.path, self.name, self.detail])


class Question(Family[Fact]):
    """Questions about definitions, callers, defaults and results."""

    name: ClassVar[str] = "question"
    share: ClassVar[int] = 40
    purpose: ClassVar[str] = "answer"

    def candidates(self, bench: Bench) -> Iterator[Fact]:
        known = _Known(bench.layer)
        kinds = [list(known.definitions()), list(known.callers()), list(known.defaults()), list(_calls(bench))]
        for facts in kinds:
            bench.rng(self.name, facts[0].kind if facts else "").shuffle(facts)
        for row in zip_longest(*kinds):
            yield from (fact for fact in row if fact)

    def make(self, candidate: Fact, bench: Bench) -> Task:
        answer, mode = list(candidate.answer), {"callers": "set", "default": "value"}.get(candidate.kind, "exact")
        shown = ""
        if candidate.kind == "returns":
            shown, answer, mode = self._executed(candidate, bench)
        name = candidate.name.rsplit(".", 1)[-1]
        text = bench.rng(candidate.key).choice(WORDS[candidate.kind]).format(
            name=name, parameter=candidate.detail, call=shown, path=candidate.path,
            place=Suspect(name, candidate.path))
        return self.task(
            bench, candidate.kind, text, check={"answer": answer, "match": mode},
            difficulty={"answers": len(answer)},
            provenance={"functions": [candidate.name], "files": [candidate.path], "lines": [candidate.line],
                        **({"call": candidate.detail} if candidate.kind == "returns" else {})},
        )  # fmt: skip

    @staticmethod
    def _executed(candidate: Fact, bench: Bench) -> tuple[str, list[str], str]:
        item = (candidate.path, candidate.name, [candidate.detail])
        [[one]], [[two]] = (bench.observer.evaluate({}, [item], seed) for seed in (0, 1))
        if one != two or not one.told or len(one.text) > LONGEST or one.text in TRIVIAL:
            raise Refused("its result cannot be asked for")
        shown = f"{candidate.name}({shortened(bench.text(candidate.path), candidate.name, candidate.detail)})"
        if len(shown) > LONGEST or one.text in shown:
            raise Refused("its result cannot be asked for")
        return shown, [one.text], "value" if one.kind == "value" else "exact"

    def rejection(self, task: Task, layer: Layer, sandbox: Sandbox, bench: Bench | None = None) -> str:
        """The answer passes the grader and no answer does not; facts of the tree are read from it again."""
        right = "\n".join(task.check["answer"])
        if bench is None and not self._still_true(task, layer, sandbox):
            return "the package says otherwise"
        if not self.grade(task, layer, "", right, sandbox).solved:
            return "gold answer fails"
        if self.grade(task, layer, "", "", sandbox).solved:
            return "empty answer passes"
        return ""

    @staticmethod
    def _still_true(task: Task, layer: Layer, sandbox: Sandbox) -> bool:
        path, name = task.provenance["files"][0], task.provenance["functions"][0]
        if task.stage == "returns":
            observer = Observer(layer, Survey(frozenset(), {}, {}), sandbox)
            [[one]] = observer.evaluate({}, [(path, name, [task.provenance["call"]])], seed=2)
            return [one.text] == task.check["answer"]
        known = _Known(layer)
        facts = {"definition": known.definitions, "callers": known.callers, "default": known.defaults}[task.stage]()
        return any((one.path, one.name, list(one.answer)) == (path, name, task.check["answer"]) for one in facts)

    def grade(self, task: Task, layer: Layer, patch: str, answer: str, sandbox: Sandbox) -> Grade:
        want = [str(one) for one in task.check["answer"]]
        right = matches(answer, want, str(task.check["match"])) and not patch.strip()
        scores = {"f2p": float(right), "tamper": 0.0, "lines": 0.0}
        why = "" if right else "files were changed" if patch.strip() else "not the answer"
        return Grade(status="solved" if right else "failed", scores=scores, detail=why)

    def script(self, task: Task, layer: Layer, style: str, rng: random.Random, opening: str) -> Script:
        name, path = task.provenance["functions"][0].rsplit(".", 1)[-1], task.provenance["files"][0]
        query = f"{name}(" if task.stage == "callers" else name if task.stage == "definition" else f"def {name}("
        yield turn(call("grep_search", query=query))
        if task.stage in ("default", "returns") or style != "direct":
            yield turn(call("read_file", filePath=path, startLine=task.provenance["lines"][0]))
        yield turn(thought="\n".join(task.check["answer"]))


def matches(answer: str, want: Sequence[str], mode: str) -> bool:
    """Whether an answer says `want`: "exact" (its last line), "value" (an equal literal), "set" (all lines, any order).

    Quotes of code, bullets, a full stop at the end and a first line that ends in a colon do not count.
    """
    lines = [_bare(line) for line in answer.strip().split("\n") if line.strip() and not line.strip().startswith("```")]
    if mode == "set":
        if lines and lines[0].endswith(":"):
            lines = lines[1:]
        return bool(lines) and set(lines) == set(want) and len(lines) == len(set(lines))
    if not lines:
        return False
    if mode == "exact":
        return lines[-1] == want[0]
    try:
        said, right = ast.literal_eval(lines[-1]), ast.literal_eval(want[0])
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return lines[-1] == want[0]
    return type(said) is type(right) and bool(said == right)


def _bare(line: str) -> str:
    text = re.sub(r"^\s*(?:[-*]|\d+[.)])\s+", "", line).strip().strip("`")
    return text[:-1].strip("`") if text.endswith(".") and not text.endswith("..") and not text[:-1].isdigit() else text


class _Known:
    """Names of the package that mean one thing only."""

    def __init__(self, layer: Layer) -> None:
        self.trees = {path: python_tree(text) for path, text in package_sources(layer).items()}
        self.places: dict[str, list[tuple[str, str, ast.AST]]] = defaultdict(list)
        self.bound: Counter[str] = Counter()
        for path, tree in self.trees.items():
            for node, scope in walk(tree):
                if isinstance(node, FunctionNode | ast.ClassDef):
                    self.places[node.name].append((path, scope.qualname, node))
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    self.bound[node.id] += 1
                elif isinstance(node, ast.arg):
                    self.bound[node.arg] += 1

    def definitions(self) -> Iterator[Fact]:
        """Functions and classes that have a name of their own."""
        for _, (path, qualname, node) in self._single():
            line = int(getattr(node, "lineno", 0))
            if not self.bound[qualname.rsplit(".", 1)[-1]]:
                yield Fact("definition", path, qualname, line, answer=(f"{path}:{line}",))

    def callers(self) -> Iterator[Fact]:
        """Functions at the top of a module, by the functions in whose own bodies they are called."""
        calls: dict[str, dict[str, None]] = defaultdict(dict)
        outside: set[str] = set()
        for path, tree in self.trees.items():
            for node, scope in walk(tree):
                if isinstance(node, ast.Call):
                    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                    if scope.function is None:
                        outside.add(name)
                    calls[name][f"{path}:{scope.qualname}"] = None
        for name, (path, qualname, node) in self._single():
            found = tuple(calls.get(name, ()))
            plain = isinstance(node, FunctionNode) and "." not in qualname and name not in BUILT_IN
            if plain and not self.bound[name] and name not in outside and 1 <= len(found) <= MOST_CALLERS:
                yield Fact("callers", path, qualname, int(getattr(node, "lineno", 0)), answer=found)

    def defaults(self) -> Iterator[Fact]:
        """Parameters with a literal as default, of functions that have a name of their own."""
        for _, (path, qualname, node) in self._single():
            if not isinstance(node, FunctionNode):
                continue
            args = node.args
            positional = [*args.posonlyargs, *args.args]
            pairs = [*zip(positional[::-1], args.defaults[::-1]), *zip(args.kwonlyargs, args.kw_defaults)]
            for parameter, value in pairs:
                if isinstance(value, ast.Constant) and type(value.value) in (int, float, str):  # not to be guessed
                    yield Fact("default", path, qualname, node.lineno, parameter.arg, (repr(value.value),))

    def _single(self) -> Iterator[tuple[str, tuple[str, str, Any]]]:
        for name, places in sorted(self.places.items()):
            if len(places) == 1 and not name.startswith("__") and len(name) >= 4:
                yield name, places[0]


def _calls(bench: Bench) -> Iterator[Fact]:
    for path, functions in bench.grounds.functions.items():
        for function in functions:
            if "." not in function.qualname:
                for arguments in bench.observer.calls(path, function.name)[:PER_FUNCTION * 4]:
                    yield Fact("returns", path, function.name, function.line, arguments)
