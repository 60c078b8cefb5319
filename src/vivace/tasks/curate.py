"""From all that was made to what is published: split by repository, without doubles and borrowed code, in measure.

Order: split first (a repository is on one side), then decontamination, then duplicates, then the caps. Every step says
what it drops and why; nothing is random, so the same rows give the same registry.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vivace.core.errors import BadInput
from vivace.core.files import digest, read_jsonl
from vivace.core.syntax import python_tree
from vivace.core.types import Task
from vivace.tasks.layers import Layer
from vivace.tasks.operators.source import FunctionNode

CODE_GRAM, PROSE_GRAM = 13, 8
SHORTEST_FUNCTION = 5
"""Lines; shorter ones are alike everywhere."""
BENCHMARK_REPOS = frozenset({
    "astropy", "django", "flask", "matplotlib", "pylint", "pytest", "requests", "scikit-learn", "seaborn", "sphinx",
    "sympy", "xarray", "ansible", "qutebrowser", "openlibrary", "nodebb", "element-web", "teleport", "flipt", "vuls",
    "navidrome", "tutanota", "webclients",
})  # fmt: skip
"""Of SWE-bench and the public part of SWE-bench Pro: no training task is of one of them, whatever a manifest says."""
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Caps:
    """The most tasks of a function, of it with the same failing tests, and the largest shares of the whole."""

    function: int = 12
    same_tests: int = 3
    operator_share: float = 0.15
    repo_share: float = 0.10


@dataclass
class Curated:
    """What is left, by part, and what became of the rest."""

    parts: dict[str, list[Task]]
    dropped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def curate(tasks: Iterable[Task], caps: Caps | None = None, *, valid: Sequence[str] = (), grams: Grams | None = None,
           borrowed: Callable[[Task], bool] = lambda task: False) -> Curated:
    """The published registry of these tasks.

    Args:
        valid: repositories whose tasks are held back for validation.
        grams: texts that no task may share long runs of tokens with.
        borrowed: whether a task is of a function that an evaluation package has, too.
    """
    caps, found = caps or Caps(), Curated({"train": [], "valid": []})
    rows = sorted(tasks, key=lambda task: (task.repo, task.id))
    rows = _kept(found, rows, lambda task: _foreign(task, grams, borrowed))
    rows = _kept(found, rows, _Doubles(caps).of)
    for part, mine in (("valid", [task for task in rows if task.repo in valid]),
                       ("train", [task for task in rows if task.repo not in valid])):
        measured = mine
        if part == "train":
            for name, share, groups in (("repository", caps.repo_share, lambda task: [task.repo]),
                                        ("operator", caps.operator_share, operators_of)):
                measured = _in_measure(found, measured, name, share, groups)
        found.parts[part] = measured
    return found


def _kept(found: Curated, tasks: Iterable[Task], problem: Callable[[Task], str]) -> list[Task]:
    left = []
    for task in tasks:
        why = problem(task)
        if why:
            found.dropped[why] += 1
        else:
            left.append(task)
    return left


def _foreign(task: Task, grams: Grams | None, borrowed: Callable[[Task], bool]) -> str:
    if task.repo.lower() in BENCHMARK_REPOS:
        return "a benchmark's repository"
    if task.split == "eval":
        return "of the evaluation split"
    if grams is not None and (hit := grams.hit(task)):
        return f"shares {hit} with a benchmark"
    return "its function is in an evaluation package" if borrowed(task) else ""


class _Doubles:
    """What was there before."""

    def __init__(self, caps: Caps) -> None:
        self.caps = caps
        self.states: set[str] = set()
        self.shapes: set[str] = set()
        self.functions: Counter[str] = Counter()
        self.tests: Counter[str] = Counter()

    def of(self, task: Task) -> str:
        """Why a task is one too many; "" if it is not, and then it counts."""
        state = digest([task.env, task.family, task.bug_patch, task.check or task.problem_statement], 32)
        shape = digest([task.repo, task.family, task.provenance.get("functions"), normalised(task.bug_patch)], 32)
        function = digest([task.repo, task.family, task.provenance.get("files"), task.provenance.get("functions")])
        tests = digest([function, sorted(task.FAIL_TO_PASS)])
        if state in self.states:
            return "the same task"
        if task.bug_patch and task.FAIL_TO_PASS and shape in self.shapes:
            return "the same edit but for names and values"
        if task.provenance.get("functions") and self.functions[function] >= self.caps.function:
            return "enough of that function"
        if task.FAIL_TO_PASS and self.tests[tests] >= self.caps.same_tests:
            return "enough with these failing tests"
        self.states.add(state)
        self.shapes.add(shape)
        self.functions[function] += 1
        self.tests[tests] += 1
        return ""


def normalised(patch: str) -> str:
    """The changed lines of a patch with names, numbers and strings made alike."""
    lines = [line for line in patch.split("\n") if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    text = re.sub(r"\"[^\"\n]*\"|'[^'\n]*'", "S", "\n".join(lines))
    return re.sub(r"\b(?!(?:if|else|not|and|or|in|is|for|while|return|raise|True|False|None)\b)[A-Za-z_]\w*", "N",
                  re.sub(r"\b\d[\w.]*", "0", text))  # fmt: skip


def operators_of(task: Task) -> list[str]:
    return sorted(set(task.provenance.get("operators", ())))


def _in_measure(found: Curated, tasks: list[Task], what: str, share: float,
                groups: Callable[[Task], list[str]]) -> list[Task]:
    """Without so many of the large groups that none has more than its share of those tasks that are in a group."""
    counts = Counter(group for task in tasks for group in groups(task))
    if not counts:
        return tasks
    most = largest_cap(list(counts.values()), share)
    if most is None:
        found.notes.append(f"no cap by {what}: {len(counts)} cannot each have at most {share:.0%}")
        return tasks
    taken: Counter[str] = Counter()
    left = []
    for task in sorted(tasks, key=lambda task: digest(task.id)):  # which ones go is no matter of the alphabet
        mine = groups(task)
        if any(taken[group] >= most for group in mine):
            found.dropped[f"over the share of its {what}"] += 1
            continue
        taken.update(mine)
        left.append(task)
    return sorted(left, key=lambda task: (task.repo, task.id))


def largest_cap(counts: Sequence[int], share: float) -> int | None:
    """The largest c such that min(n, c) is at most `share` of their sum, for every n; None if there is none."""
    for cap in sorted(set(range(1, max(counts) + 1)), reverse=True):
        if min(cap, max(counts)) <= share * sum(min(n, cap) for n in counts):
            return cap
    return None


class Grams:
    """Runs of tokens of texts that must not come again: 13 of code, 8 of prose."""

    def __init__(self, code: Iterable[str] = (), prose: Iterable[str] = ()) -> None:
        self.code = {gram for text in code for gram in _grams(text, CODE_GRAM)}
        self.prose = {gram for text in prose for gram in _grams(text, PROSE_GRAM)}

    @classmethod
    def of_files(cls, paths: Sequence[Path]) -> Grams:
        """Of rows with `patch`, `test_patch`, `gold_patch`, `bug_patch` (code) and `problem_statement` or `prompt`
        (prose). The statements of our own rows are left out: their wordings are those of all rows."""
        code: list[str] = []
        prose: list[str] = []
        for path in paths:
            if not path.exists():
                raise BadInput(f"no rows at {path}; give files of benchmark rows (JSON lines)")
            for row in read_jsonl(path):
                code += [added(str(row.get(name) or "")) for name in ("patch", "test_patch", "gold_patch", "bug_patch")]
                if "provenance" not in row:
                    prose += [str(row.get(name) or "") for name in ("problem_statement", "prompt")]
        return cls(code, prose)

    def hit(self, task: Task) -> str:
        """"code" or "prose" where the task has a run in common; "" if not."""
        texts = [added(task.bug_patch), added(task.gold_patch)]
        if any(gram in self.code for text in texts for gram in _grams(text, CODE_GRAM)):
            return "code"
        return "prose" if any(gram in self.prose for gram in _grams(task.problem_statement, PROSE_GRAM)) else ""


def added(patch: str) -> str:
    """The added lines of a patch."""
    return "\n".join(line[1:] for line in patch.split("\n") if line.startswith("+") and not line.startswith("+++"))


def _grams(text: str, size: int) -> Iterator[int]:
    tokens = _TOKEN.findall(text)
    for start in range(len(tokens) - size + 1):
        yield int.from_bytes(hashlib.blake2b("\0".join(tokens[start : start + size]).encode(), digest_size=8).digest())


def function_digests(layer: Layer) -> dict[tuple[str, str], str]:
    """{(path, last part of the name): digest of its syntax without names of its own, numbers and strings}"""
    from vivace.tasks.families.refactor import package_sources

    found = {}
    for path, text in package_sources(layer).items():
        for node in ast.walk(python_tree(text)):
            if isinstance(node, FunctionNode) and (node.end_lineno or 0) - node.lineno + 1 >= SHORTEST_FUNCTION:
                found[path, node.name] = _shape(node)
    return found


def _shape(node: ast.AST) -> str:
    text = ast.dump(node)
    text = re.sub(r"(id|arg|name)='\w+'", r"\1", text)
    return digest(re.sub(r"Constant\(value=[^()]*\)", "Constant()", text), 24)


def borrowed_from(layers: Mapping[str, Layer], held_out: Sequence[Layer]) -> Callable[[Task], bool]:
    """Whether a task touches a function that an evaluation package has, too, but for names and values: vendored or
    copied code would carry the answer."""
    theirs = {shape for layer in held_out for shape in function_digests(layer).values()}
    known = {env: function_digests(layer) for env, layer in layers.items()}

    def borrowed(task: Task) -> bool:
        places = zip(task.provenance.get("files", ()), task.provenance.get("functions", ()))
        return any(known.get(task.env, {}).get((path, name.rsplit(".", 1)[-1])) in theirs for path, name in places)

    return borrowed


def statistics(curated: Curated) -> dict[str, object]:
    """Counts by part, family, operator and package, as one record."""
    rows = [task for tasks in curated.parts.values() for task in tasks]
    by: dict[str, Counter[str]] = defaultdict(Counter)
    for task in rows:
        by["family"][f"{task.family}/{task.stage}"] += 1
        by["package"][task.repo] += 1
        by["operator"].update(operators_of(task))
    lengths = [len(json.dumps(task.model_dump(mode="json"))) for task in rows]
    return {"tasks": {part: len(tasks) for part, tasks in curated.parts.items()},
            **{name: dict(counts.most_common()) for name, counts in by.items()},
            "dropped": dict(curated.dropped.most_common()), "notes": curated.notes,
            "json_bytes_per_task": round(sum(lengths) / max(len(lengths), 1))}
