"""refactor: the same behaviour under another name (`rename`) or with another signature (`keyword_only`), callers too.

The tree is clean at the start. Decided by the tests that execute function and callers, and by a static check of the
result: the old name is gone (from texts too, so that no alias is left behind), or the signature is the one asked for.
"""

from __future__ import annotations

import ast
import io
import random
import re
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from vivace.core.files import digest
from vivace.core.syntax import python_tree
from vivace.core.types import Grade, Task
from vivace.sandbox import Sandbox, apply_patch, make_patch
from vivace.sandbox.patch import patched_paths
from vivace.tasks.admission import Refused
from vivace.tasks.candidates import SLOWEST_TEST
from vivace.tasks.experts import changed_lines
from vivace.tasks.families.base import Bench, Family
from vivace.tasks.grade import grade_tests, patched_tree
from vivace.tasks.layers import Layer
from vivace.tasks.operators.source import FunctionNode, Source, walk
from vivace.tasks.script import Script, call, edits, turn
from vivace.tasks.statements import Suspect
from vivace.tasks.workspaces import buggy_files, layer_files

MOST_P2P, MOST_SECONDS = 16, 5.0
BUILT_IN = frozenset(name for kind in (str, bytes, list, dict, set, tuple, int, io.StringIO, type(re.compile("")))
                     for name in dir(kind))  # fmt: skip
VERBS = {"get": "fetch", "make": "build", "parse": "read", "is": "looks", "to": "as", "add": "append", "find": "locate",
         "check": "verify", "format": "render", "load": "read", "set": "assign", "create": "build"}  # fmt: skip
RENAME = (
    "Rename {place} to `{new}`, everywhere it is used.", "{place} has a misleading name. Call it `{new}` and update "
    "all callers; no alias for the old name, please.", "Code review: please rename {place} to `{new}` before we merge. "
    "Behaviour must not change.", "Refactoring: `{new}` instead of {place}. All tests must stay green.",
    "The old name of {place} collides with another project of ours. It has to be `{new}` from now on, in the whole "
    "package.", "Could you change the name of {place} into `{new}`? Remember the places that call it.",
)  # fmt: skip
KEYWORD = (
    "Make the parameter `{parameter}` of {place} keyword-only and update the callers.",
    "Code review: `{parameter}` of {place} is passed by position and nobody can read the calls. Make it keyword-only; "
    "behaviour must not change.", "Refactoring: {place} should only accept `{parameter}` by keyword. Change all calls.",
    "We keep mixing up the arguments of {place}. `{parameter}` must be keyword-only from now on, without a default "
    "that was not there before.", "Please add the bare star to {place} so that `{parameter}` has to be named, and mend "
    "what calls it.", "API cleanup: `{parameter}` becomes keyword-only in {place}. All tests must stay green.",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One refactoring of one function. `parameter` is "" for a rename, `new` is "" for a signature."""

    kind: str
    path: str
    qualname: str
    line: int
    end_line: int
    new: str = ""
    parameter: str = ""
    index: int = 0
    """Position of the parameter in the definition."""

    @property
    def name(self) -> str:
        return self.qualname.rsplit(".", 1)[-1]

    @property
    def key(self) -> str:
        return digest([self.kind, self.path, self.qualname, self.new, self.parameter])


class Refactor(Family[Change]):
    """Renames and signatures, of functions that no test names."""

    name: ClassVar[str] = "refactor"
    share: ClassVar[int] = 15

    def candidates(self, bench: Bench) -> Iterator[Change]:
        texts = package_sources(bench.layer)
        rng, found = bench.rng(self.name), []
        names, prose = Counter[str](), _prose(bench.layer, texts)
        for text in texts.values():
            names.update(word for word, _ in _names(text))
        for path in sorted(bench.grounds.texts):
            if path not in texts:
                continue
            for node, scope in walk(python_tree(bench.text(path))):
                if not isinstance(node, FunctionNode) or scope.function is not node or _taken(node.name, prose):
                    continue
                line, end = node.lineno, node.end_lineno or node.lineno
                if not any(n in bench.survey.lines(path) for n in range(node.body[0].lineno, end + 1)):
                    continue
                place = (path, scope.qualname, line, end)
                if names[node.name] >= 2:
                    found.append(Change("rename", *place, new=_new_name(node.name, names, prose)))
                if _movable(node):
                    last = len(node.args.args) - 1
                    found.append(Change("keyword_only", *place, parameter=node.args.args[last].arg, index=last))
        rng.shuffle(found)
        return iter(found)

    def make(self, candidate: Change, bench: Bench) -> Task:
        clean = package_sources(bench.layer)
        gold = changed(candidate, clean)
        if gold is None:
            raise Refused("it is used in ways that cannot be followed")
        half = changed(candidate, {candidate.path: clean[candidate.path]}, calls=False) or {}
        tests = _tests(bench, candidate)
        if bench.admission.run(half, tests).passed(tests):
            raise Refused("no test executes its callers")  # they could stay as they are
        whole = {path: text for path, text in gold.items() if text != clean[path]}
        if not bench.admission.run(whole, tests).passed(tests):
            raise Refused("the tests do not pass after it")
        rng = bench.rng(candidate.key)
        words = RENAME if candidate.kind == "rename" else KEYWORD
        text = rng.choice(words).format(place=Suspect(candidate.name, candidate.path), new=candidate.new,
                                        parameter=candidate.parameter)
        check = {"kind": candidate.kind, "path": candidate.path, "function": candidate.qualname, "new": candidate.new,
                 "parameter": candidate.parameter}  # fmt: skip
        return self.task(
            bench, candidate.kind, text, gold_patch=make_patch({path: clean[path] for path in whole}, whole), p2p=tests,
            check=check,
            difficulty={"files": len(whole), "places": sum(len(changed_lines(clean[p], whole[p])) for p in whole)},
            provenance={"functions": [candidate.qualname], "files": [candidate.path]},
        )  # fmt: skip

    def rejection(self, task: Task, layer: Layer, sandbox: Sandbox, bench: Bench | None = None) -> str:
        """The static check refuses the clean tree and nothing else; the gold patch passes in a cold run."""
        if not static_problem(task.check, layer, {}):
            return "empty patch passes"
        found = grade_tests(task, layer, task.gold_patch, sandbox)
        if found.status == "infra":
            return "infra"
        passes = found.solved and not static_problem(task.check, layer, _after(layer, task.gold_patch))
        return "" if passes else "gold patch fails"

    def grade(self, task: Task, layer: Layer, patch: str, answer: str, sandbox: Sandbox) -> Grade:
        found = grade_tests(task, layer, patch, sandbox)
        if found.status == "infra" or "canary" not in found.scores:
            return found
        problem = static_problem(task.check, layer, patched_tree(layer, buggy_files(task, layer), patch)[0])
        scores = {**found.scores, "f2p": 0.0 if problem else 1.0, "static": 0.0 if problem else 1.0}
        if not problem:
            return found.model_copy(update={"scores": scores})
        return found.model_copy(update={"status": "failed", "scores": scores,
                                        "detail": "; ".join(filter(None, (problem, found.detail)))})

    def script(self, task: Task, layer: Layer, style: str, rng: random.Random, opening: str) -> Script:
        name = task.check["function"].rsplit(".", 1)[-1]
        after = _after(layer, task.gold_patch)
        before = layer_files(layer, sorted(after))
        yield turn(call("grep_search", query=name))
        if style != "direct":
            for path in before:
                line = min(changed_lines(before[path], after[path]), default=1)
                yield turn(call("read_file", filePath=path, startLine=max(1, line - 5)))
        calls = [one for path in before for one in edits(path, before[path], after[path])]
        for number, one in enumerate(calls, 1):
            yield turn(one, *([call("runTests")] if number == len(calls) else []))
        yield turn(call("grep_search", query=name))
        yield turn(call("task_complete"))


def changed(change: Change, texts: Mapping[str, str], *, calls: bool = True) -> dict[str, str] | None:
    """The sources after a refactoring, without its callers if so wanted; None where they cannot be followed."""
    found = {}
    for path, text in texts.items():
        spots = _rename_spots(change, path, text, calls) if change.kind == "rename" else _keyword_spots(
            change, path, text, calls)
        if spots is None:
            return None
        for start, end, new in sorted(spots, reverse=True):
            text = text[:start] + new + text[end:]
        found[path] = text
    return found


def _rename_spots(change: Change, path: str, text: str, calls: bool) -> list[tuple[int, int, str]]:
    source = Source(text)
    spots = []
    for word, (line, column) in _names(text):
        own = path == change.path and line == change.line
        if word == change.name and (calls or own):
            start = source.starts[line - 1] + column
            spots.append((start, start + len(word), change.new))
    return spots


def _keyword_spots(change: Change, path: str, text: str, calls: bool) -> list[tuple[int, int, str]] | None:
    source, spots = Source(text), []
    for node in ast.walk(source.tree):
        if isinstance(node, FunctionNode) and path == change.path and node.lineno == change.line:
            start = source.span(node.args.args[-1])[0]
            spots.append((start, start, "*, "))
    followed = 0
    for node in ast.walk(source.tree) if calls else ():
        if not (isinstance(node, ast.Call) and _called(node.func) == change.name):
            continue
        followed += 1
        if any(isinstance(one, ast.Starred) for one in node.args) or any(one.arg is None for one in node.keywords):
            return None
        bound = isinstance(node.func, ast.Attribute) and "." in change.qualname
        index = change.index - 1 if bound else change.index
        if len(node.args) > index + 1:
            return None
        if len(node.args) == index + 1:
            start = source.span(node.args[-1])[0]
            if source.text[: start].rstrip()[-1:] not in (",", "("):
                return None  # in brackets of its own
            spots.append((start, start, f"{change.parameter}="))
    uses = sum(word == change.name for word, _ in _names(text)) - sum(
        isinstance(n, FunctionNode) and n.name == change.name for n in ast.walk(source.tree)) - sum(
        alias.name == change.name for n in ast.walk(source.tree) if isinstance(n, ast.ImportFrom) for alias in n.names)
    return spots if not calls or uses == followed else None  # handed on as a value


def _called(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _movable(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether the last positional parameter can become keyword-only."""
    args, least = node.args, 2
    if args.args and args.args[0].arg in ("self", "cls"):
        least = 3
    return len(args.args) >= least and not (args.posonlyargs or args.kwonlyargs or args.vararg or args.kwarg)


def static_problem(check: Mapping[str, Any], layer: Layer, changed_files: Mapping[str, str | None]) -> str:
    """What the sources say against the refactoring being done; "" if nothing does."""
    clean = package_sources(layer)
    texts = {path: text for path, text in {**clean, **changed_files}.items() if text and path.endswith(".py")}
    try:
        before = _definition(clean[check["path"]], check["function"])
        owner, _, name = check["function"].rpartition(".")
        wanted = f"{owner}.{check['new']}".lstrip(".") if check["kind"] == "rename" else check["function"]
        after = _definition(texts.get(check["path"], ""), wanted)
        left = [path for path, text in sorted(texts.items()) if not layer.is_test(path)
                and check["kind"] == "rename" and _mentions(text, name)]  # fmt: skip
    except (SyntaxError, tokenize.TokenError) as error:
        return f"a file does not parse: {error}"
    if after is None or before is None:
        return f"there is no {wanted} in {check['path']}"
    if left:
        return f"{name} is still there, in {', '.join(left[:3])}"
    if check["kind"] == "rename":
        return "" if ast.dump(after.args) == ast.dump(before.args) else "the signature has changed"
    return "" if _is_keyword_only(before.args, after.args, check["parameter"]) else \
        f"{check['parameter']} is not the only new keyword-only parameter"


def _is_keyword_only(before: ast.arguments, after: ast.arguments, parameter: str) -> bool:
    names = [one.arg for one in before.args]
    default = ast.dump(before.defaults[-1]) if before.defaults else None
    given = after.kw_defaults[0] if after.kw_defaults else None
    return ([one.arg for one in after.args] == names[:-1] and [one.arg for one in after.kwonlyargs] == [parameter]
            and not (after.vararg or after.kwarg or after.posonlyargs)
            and (ast.dump(given) if given is not None else None) == default)  # fmt: skip


def _definition(text: str, qualname: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    found = [node for node, scope in walk(python_tree(text)) if isinstance(node, FunctionNode)
             and scope.function is node and scope.qualname == qualname]  # fmt: skip
    return found[0] if len(found) == 1 else None


def _mentions(text: str, name: str) -> bool:
    """Whether code, or a text that could be looked up as a name, says `name`."""
    strings = (n.value for n in ast.walk(python_tree(text)) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return any(word == name for word, _ in _names(text)) or any(one == name for one in strings)


def _names(text: str) -> list[tuple[str, tuple[int, int]]]:
    """(word, (1-based line, column)) of every name in code."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [(one.string, one.start) for one in tokens if one.type == tokenize.NAME]


def package_sources(layer: Layer) -> dict[str, str]:
    """Python files of the clean tree that are no tests; a file that does not parse is left out."""
    found = {}
    for top in layer.source.source_dirs:
        place = layer.root / top
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            path = str(file.relative_to(layer.root))
            if layer.is_test(path):
                continue
            try:
                text = file.read_bytes().decode()
                python_tree(text)
            except (SyntaxError, UnicodeDecodeError, ValueError):
                continue
            if "\r" not in text and "\f" not in text:
                found[path] = text
    return found


def _prose(layer: Layer, sources: Mapping[str, str]) -> frozenset[str]:
    """Words outside of the code that could be renamed: comments, strings, tests, documents, other files."""
    words: set[str] = set()
    for text in sources.values():
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type not in (tokenize.NAME, tokenize.OP, tokenize.NUMBER):
                words.update(re.findall(r"\w+", token.string))
    for file in layer.root.rglob("*"):
        if file.is_file() and str(file.relative_to(layer.root)) not in sources and file.stat().st_size < 1 << 20:
            words.update(re.findall(r"\w+", file.read_bytes().decode(errors="replace")))
    return frozenset(words)


def _taken(name: str, prose: frozenset[str]) -> bool:
    return name in prose or name in BUILT_IN or name.startswith("__") or len(name) < 4


def _new_name(name: str, names: Mapping[str, int], prose: frozenset[str]) -> str:
    """Another verb, or a plain word more; never a name that is there."""
    bare = name.strip("_")
    head, _, tail = bare.partition("_")
    options = [f"{VERBS[head]}_{tail}"] if head in VERBS and tail else []
    options += [f"{bare}_{end}" for end in ("value", "item", "impl", "step", "inner")]
    prefix = name[: len(name) - len(name.lstrip("_"))]
    return next(prefix + one for one in [*options, f"{bare}_renamed"] if prefix + one not in names and one not in prose)


def _tests(bench: Bench, change: Change) -> list[str]:
    """Fast tests that execute the function."""
    covered = bench.survey.covered[change.path]
    tests = {test for line in range(change.line, change.end_line + 1) for test in covered.get(line, ())}
    picked, total = [], 0.0
    for test in sorted(tests, key=lambda one: (bench.survey.seconds[one], one))[:MOST_P2P]:
        total += bench.survey.seconds[test]
        if bench.survey.seconds[test] <= SLOWEST_TEST and total <= MOST_SECONDS:
            picked.append(test)
    if not picked:
        raise Refused("no fast test executes it")
    return picked


def _after(layer: Layer, patch: str) -> dict[str, str]:
    texts = apply_patch(layer_files(layer, patched_paths(patch)), patch)
    return {path: text for path, text in texts.items() if text is not None}


