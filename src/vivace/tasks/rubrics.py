"""Rubrics: what a good change is beside passing tests, as criteria of one task, each scored by a program.

Four axes: files, integrity, style, statement. A criterion that does not apply
has no score. Nothing here decides whether a task is solved; it is for filtering, reports and ranking of solved
attempts. Criteria in words are for a judge model (`vivace.tasks.judging`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vivace.core.errors import BadInput
from vivace.core.syntax import python_tree
from vivace.core.types import Task
from vivace.sandbox import apply_patch
from vivace.sandbox.patch import patched_paths
from vivace.tasks.grade import tamper_flags
from vivace.tasks.layers import Layer
from vivace.tasks.workspaces import buggy_files, layer_files

Axis = Literal["files", "integrity", "style", "statement"]
ROOM, LEAST_LINES = 4, 6
"""A change may be so many times as long as the reference, and always this long."""
_LEFTOVER = re.compile(r"\bbreakpoint\(|\bpdb\b|\b(TODO|FIXME|XXX|HACK)\b|^\s*print\(|console\.log\(|^(<{7}|>{7}|={7})")
_SCRATCH = re.compile(r"(^|/)(tmp|temp|scratch|debug|repro\w*|test_fix\w*|try\w*)\.\w+$|\.(orig|rej|bak|log|pyc)$")
_SILENCED = re.compile(r"except\s*(Exception|BaseException)?\s*:\s*(pass)?\s*$|#\s*(noqa|type:\s*ignore)"
                       r"|@pytest\.mark\.(skip|xfail)|contextlib\.suppress\(Exception\)")


@dataclass(frozen=True)
class Work:
    """What an attempt left, on its task."""

    task: Task
    layer: Layer
    patch: str
    answer: str

    def added(self) -> dict[str, list[str]]:
        """{path: added lines}"""
        found: dict[str, list[str]] = {}
        path = ""
        for line in self.patch.split("\n"):
            if line.startswith("+++ "):
                path = line[4:].removeprefix("b/")
            elif line.startswith("+"):
                found.setdefault(path, []).append(line[1:])
        return found

    def after(self) -> dict[str, str]:
        """{path: text} of changed files that are there afterwards.

        Raises:
            BadInput: the patch does not apply.
        """
        before = {path: text for path, text in buggy_files(self.task, self.layer).items() if text is not None}
        present = {**layer_files(self.layer, patched_paths(self.patch)), **before}
        return {path: text for path, text in apply_patch(present, self.patch).items() if text is not None}


@dataclass(frozen=True)
class Criterion:
    """`check` gives a share between 0 and 1, or None where the criterion does not apply."""

    name: str
    axis: Axis
    weight: int
    words: str
    check: Callable[[Work], float | None]


def _files(work: Work) -> float | None:
    wanted = set(patched_paths(work.task.gold_patch))
    if not wanted:
        return float(not work.patch.strip())
    touched = set(patched_paths(work.patch)) if work.patch.strip() else set()
    return len(touched & wanted) / len(touched) if touched else 0.0


def _size(work: Work) -> float | None:
    gold, mine = _lines(work.task.gold_patch), _lines(work.patch)
    if not gold or not mine:
        return None
    return min(1.0, max(LEAST_LINES, ROOM * gold) / mine)


def _tests(work: Work) -> float | None:
    if work.task.family in ("test-writing", "terminal"):
        return None
    return float(not any(map(work.layer.is_test, patched_paths(work.patch))))


def _leftovers(work: Work) -> float | None:
    wanted = patched_paths(work.task.gold_patch)
    new = any(_SCRATCH.search(path) and path not in wanted for path in work.added())
    lines = (line for lines in work.added().values() for line in lines)
    left = any(_LEFTOVER.search(line) and line not in work.task.gold_patch for line in lines)
    return float(not (new or left))


def _silenced(work: Work) -> float | None:
    gold = work.task.gold_patch
    lines = (line for lines in work.added().values() for line in lines)
    return float(not any(_SILENCED.search(line) and line not in gold for line in lines))


def _tamper(work: Work) -> float | None:
    names = sorted({re.split(r"::|\.", one.split("[")[0])[-1] for one in work.task.FAIL_TO_PASS})
    return None if work.task.family in ("test-writing", "terminal") else float(not tamper_flags(work.patch, names))


def _parses(work: Work) -> float | None:
    texts = [text for path, text in work.after().items() if path.endswith(".py")]
    if not texts:
        return None
    try:
        return float(all(isinstance(python_tree(text), ast.Module) for text in texts))
    except (SyntaxError, ValueError, RecursionError):
        return 0.0


def _layout(work: Work) -> float | None:
    """Lines as wide and indented as the file has them, no blanks at their ends."""
    lines = [(path, line) for path, lines in work.added().items() if path.endswith(".py") for line in lines]
    if not lines:
        return None
    known = {path: _manners(work, path) for path, _ in lines}
    good = [line.rstrip() == line and len(line) <= known[path][0] and ("\t" in line[:1]) == (known[path][1] and
            line[:1].isspace()) for path, line in lines]  # fmt: skip
    return sum(good) / len(good)


def _manners(work: Work, path: str) -> tuple[int, bool]:
    """(widest line allowed, whether it is indented by tabs)"""
    text = layer_files(work.layer, [path]).get(path, "")
    return max([100, *map(len, text.split("\n"))]), "\n\t" in text


def _told(work: Work) -> float | None:
    """The last words name what was changed: a function of the reference, or its file."""
    if not work.task.gold_patch or not work.patch.strip():
        return None
    names = [name.rsplit(".", 1)[-1] for name in work.task.provenance.get("functions", ()) if name]
    places = [path.rsplit("/", 1)[-1] for path in patched_paths(work.task.gold_patch)]
    return float(any(re.search(rf"(?<!\w){re.escape(one)}(?!\w)", work.answer) for one in (*names, *places)))


CRITERIA: tuple[Criterion, ...] = (
    Criterion("files", "files", 3, "Only files that the reference changes are changed.", _files),
    Criterion("size", "files", 2, "The change is not many times as long as the reference.", _size),
    Criterion("tests untouched", "integrity", 3, "No test, and nothing that steers tests, is changed.", _tests),
    Criterion("no trick", "integrity", 3, "Nothing looks like an attack on the grader.", _tamper),
    Criterion("no leftovers", "style", 2, "No prints, debuggers, markers or scratch files are left.", _leftovers),
    Criterion("nothing silenced", "integrity", 2, "No error, warning or test is silenced.", _silenced),
    Criterion("parses", "style", 3, "Every changed Python file parses.", _parses),
    Criterion("layout", "style", 1, "Added lines are laid out as the file is.", _layout),
    Criterion("told", "statement", 1, "The closing words name what was changed.", _told),
)  # fmt: skip


def rubric_of(task: Task) -> list[Criterion]:
    """The criteria that may apply to a task of this family."""
    if task.family in ("question", "instruct"):
        return [one for one in CRITERIA if one.name == "files"]
    return list(CRITERIA)


def scores(work: Work) -> dict[str, float]:
    """{criterion: share} of those that apply, and `rubric`, their weighted mean.

    Raises:
        BadInput: the patch does not apply to the task's tree.
    """
    found: dict[str, float] = {}
    weights: Mapping[str, int] = {one.name: one.weight for one in CRITERIA}
    for criterion in rubric_of(work.task):
        share = criterion.check(work)
        if share is not None:
            found[criterion.name] = share
    if not found:
        raise BadInput(f"{work.task.id}: no criterion applies")
    whole = sum(weights[name] * share for name, share in found.items()) / sum(weights[name] for name in found)
    return {**found, "rubric": round(whole, 4)}


def _lines(patch: str) -> int:
    return sum(line[:1] in "+-" and line[:3] not in ("+++", "---") for line in patch.split("\n") if line)


def listed(criteria: Sequence[Criterion]) -> str:
    """The rubric in words, a line each."""
    return "\n".join(f"- {one.words} ({one.axis}, weight {one.weight})" for one in criteria)
