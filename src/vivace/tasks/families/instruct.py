"""instruct: facts about the package, told in a form that a program can check (the constraints of IFEval and IFBench).

The content is checked too: the names asked for are all in the answer and names of other modules are not, so that a form
without content does not pass. Files must stay as they are.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from vivace.core.files import digest
from vivace.core.syntax import python_tree
from vivace.core.types import Grade, Task
from vivace.sandbox import Sandbox
from vivace.tasks.admission import Refused
from vivace.tasks.families.base import Bench, Family
from vivace.tasks.families.forms import FORMS, Form, drafted
from vivace.tasks.families.refactor import package_sources
from vivace.tasks.layers import Layer
from vivace.tasks.operators.source import FunctionNode
from vivace.tasks.script import Script, call, turn
from vivace.text.instructions import judge

FEWEST, MOST, PER_MODULE = 2, 7, 12
WORDS = {
    "functions": ("Which functions does {path} define at its top level? Name every one of them.",
                  "List the module-level functions of {path}, by name.",
                  "I need the names of all functions at the top level of {path}."),
    "classes": ("Which classes does {path} define at its top level? Name every one of them.",
                "List the top-level classes of {path}, by name."),
    "parameters": ("Which parameters does `{name}` in {path} take? Name every one of them.",
                   "List the parameters of `{name}` ({path}), all of them."),
    "methods": ("Which methods does the class `{name}` in {path} define itself? Name every one of them.",
                "List the methods that the class `{name}` ({path}) defines."),
}  # fmt: skip


@dataclass(frozen=True)
class Topic:
    """What is asked about, and the names that an answer has to hold."""

    kind: str
    path: str
    name: str
    line: int
    names: tuple[str, ...]
    others: tuple[str, ...]
    """Names of that kind elsewhere, which a right answer does not hold."""
    number: int

    @property
    def key(self) -> str:
        return digest([self.kind, self.path, self.name, self.number])


class Instruct(Family[Topic]):
    """Answers with prescribed content and form."""

    name: ClassVar[str] = "instruct"
    share: ClassVar[int] = 15
    purpose: ClassVar[str] = "answer"

    def candidates(self, bench: Bench) -> Iterator[Topic]:
        found = [topic for number in range(PER_MODULE) for topic in topics(bench.layer, number)]
        bench.rng(self.name).shuffle(found)
        return iter(found)

    def make(self, candidate: Topic, bench: Bench) -> Task:
        rng = bench.rng(candidate.key)
        forms = _chosen(candidate, rng)
        asked = rng.choice(WORDS[candidate.kind]).format(path=candidate.path, name=candidate.name)
        text = " ".join([asked, *(form.words for form in forms)])
        gold = drafted(candidate.names, forms)
        check = {"names": list(candidate.names), "others": list(candidate.others),
                 "constraints": [form.constraint for form in forms], "arguments": [form.arguments for form in forms],
                 "answer": [gold]}  # fmt: skip
        task = self.task(
            bench, candidate.kind, text, check=check,
            difficulty={"constraints": len(forms), "names": len(candidate.names)},
            provenance={"functions": [candidate.name], "files": [candidate.path], "lines": [candidate.line]},
        )  # fmt: skip
        if said(task, gold):
            raise Refused("its constraints cannot be met together")
        for wrong in _lookalikes(candidate, forms, gold):
            if not said(task, wrong):
                raise Refused("a wrong answer passes")
        return task

    def rejection(self, task: Task, layer: Layer, sandbox: Sandbox, bench: Bench | None = None) -> str:
        path, name, names = task.provenance["files"][0], task.provenance["functions"][0], task.check["names"]
        known = ((one.kind, one.path, one.name, list(one.names)) for one in topics(layer, 0))
        if bench is None and (task.stage, path, name, names) not in known:
            return "the package says otherwise"
        if said(task, "") == "":
            return "empty answer passes"
        return "gold answer fails" if said(task, task.check["answer"][0]) else ""

    def grade(self, task: Task, layer: Layer, patch: str, answer: str, sandbox: Sandbox) -> Grade:
        """Scores: `f2p` (share of the constraints followed, content among them)."""
        problems = _problems(task, answer)
        why = "files were changed" if patch.strip() else "; ".join(one for one in problems if one)
        share = sum(not one for one in problems) / len(problems)
        return Grade(status="failed" if why else "solved", detail=why,
                     scores={"f2p": 0.0 if patch.strip() else share, "tamper": 0.0, "lines": 0.0})

    def script(self, task: Task, layer: Layer, style: str, rng: random.Random, opening: str) -> Script:
        path, line = task.provenance["files"][0], task.provenance["lines"][0]
        if style != "direct":
            yield turn(call("grep_search", query="class " if task.stage == "classes" else "def ", includePattern=path))
        yield turn(call("read_file", filePath=path, startLine=line))
        yield turn(thought=task.check["answer"][0])


def said(task: Task, answer: str) -> str:
    """What is wrong with an answer; "" if nothing is."""
    return "; ".join(one for one in _problems(task, answer) if one)


def _problems(task: Task, answer: str) -> list[str]:
    check, words = task.check, set(re.findall(r"\w+", answer.lower()))
    missing = [name for name in check["names"] if name.lower() not in words]
    strange = [name for name in check["others"] if name.lower() in words]
    content = f"does not name {missing[0]}" if missing else f"names {strange[0]}, which is none" if strange else ""
    names, arguments = check["constraints"], check["arguments"]
    followed = judge(names, arguments, answer, mended=True).strict
    return [content, *("" if good else f"not followed: {name}" for name, good in zip(names, followed))]


def topics(layer: Layer, number: int) -> Iterator[Topic]:
    """Everything of a package that may be asked about, the `number`th time."""
    facts: list[tuple[str, str, str, int, tuple[str, ...]]] = []
    for path, text in package_sources(layer).items():
        body = python_tree(text).body
        functions = [node for node in body if isinstance(node, FunctionNode)]
        classes = [node for node in body if isinstance(node, ast.ClassDef)]
        facts.append(("functions", path, "", 1, tuple(node.name for node in functions)))
        facts.append(("classes", path, "", 1, tuple(node.name for node in classes)))
        facts += [("parameters", path, node.name, node.lineno, _parameters(node)) for node in functions]
        facts += [("methods", path, node.name, node.lineno,
                   tuple(one.name for one in node.body if isinstance(one, FunctionNode))) for node in classes]
    known: dict[str, list[str]] = {}
    for kind, _, _, _, names in facts:
        known.setdefault(kind, []).extend(names)
    for kind, path, name, line, names in facts:
        plain = len({one.lower() for one in names}) == len(names) and not any(one.startswith("__") for one in names)
        if FEWEST <= len(names) <= MOST and plain and all(len(one) >= 3 for one in names):
            lower = {one.lower() for one in names}
            others = [one for one in dict.fromkeys(known[kind]) if one.lower() not in lower and len(one) >= 6
                      and ("_" in one or not one.islower())]  # no word that prose might hold
            picked = random.Random(f"{path}:{name}:{kind}").sample(others, min(5, len(others)))
            yield Topic(kind, path, name, line, names, tuple(sorted(picked)), number)


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[str, ...]:
    a = node.args
    return tuple(one.arg for one in (*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))))


def _chosen(topic: Topic, rng: random.Random) -> list[Form]:
    """Two to four forms, of different sorts."""
    wanted = rng.randint(2, 4)
    chosen: list[Form] = []
    taken: set[str] = set()
    makers = list(FORMS)
    rng.shuffle(makers)
    for maker in makers:
        form = maker(topic.names, rng)
        if form is not None and not taken & form.sorts and len(chosen) < wanted:
            chosen.append(form)
            taken |= form.sorts
    return chosen


def _lookalikes(topic: Topic, forms: Sequence[Form], gold: str) -> Iterator[str]:
    """Answers that are nearly right: without the form, without one name, with a strange name, the form alone."""
    yield ", ".join(topic.names) if any(form.constraint == "punctuation:no_comma" for form in forms) else \
        " ".join(topic.names[:-1])
    yield drafted(topic.names[:-1], forms)
    if topic.others:
        yield drafted((*topic.names, topic.others[0]), forms)
    yield re.sub("|".join(map(re.escape, topic.names)), "x", gold)


def constraints_of(task: Task) -> list[tuple[str, Mapping[str, Any]]]:
    """The (public name, arguments) of the constraints of a row, as IFEval and IFBench write them."""
    return list(zip(task.check["constraints"], task.check["arguments"]))
