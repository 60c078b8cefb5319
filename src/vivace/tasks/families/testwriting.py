"""test-writing: a test that passes on the code as it is and fails with a given small change of it (a mutant).

`survivor`: none of the tests around notices the mutant (up to twelve are run); `known`: one does. A call on which both
differ was found by execution, so every mutant can be killed. Only the one new test file counts; it may not look at the
source.
"""

from __future__ import annotations

import builtins
import posixpath
import random
import re
from collections.abc import Iterator
from typing import ClassVar

from vivace.core.errors import BadInput, InfraError
from vivace.core.types import Grade, Task
from vivace.sandbox import ExecLimits, Sandbox, apply_patch, make_patch
from vivace.sandbox.patch import patched_paths
from vivace.sandbox.testrun import TestReport, run_pytest
from vivace.tasks.admission import Refused
from vivace.tasks.candidates import Candidate, test_file
from vivace.tasks.families.base import Bench, Family
from vivace.tasks.layers import Layer
from vivace.tasks.observe import Outcome, variants
from vivace.tasks.script import Script, call, turn
from vivace.tasks.workspaces import layer_files, open_workspace

PER_FUNCTION = 6
MOST_CALLS, MOST_P2P = 80, 5
LOOKS_AT_SOURCE = re.compile(
    r"\bopen\(|read_text|read_bytes|\binspect\b|__file__|__code__|\bast\b|\bdis\b|\btokenize\b|subprocess|linecache"
    r"|\b(os|sys|gc|pathlib|pkgutil|importlib|random|time|secrets|ctypes|eval|exec|vars|globals|getattr|id)\b|__\w+__"
)
WORDS = (
    "Write a test for {place} in the new file {file}. It must pass on the code as it is and fail with this change:\n"
    "{diff}",
    "Review: {place} could be broken like this and we should see it:\n{diff}\nPlease add {file} with a test for that "
    "case.",
    "Feature request for the suite: {file}, a test that fails if somebody writes\n{diff}\nand passes otherwise. Test "
    "{place} by calling it.",
    "We had this regression in {place} before:\n{diff}\nA test in {file} should keep it from coming back. It has to "
    "pass today.",
)


SURVIVING = (
    "With this change the tests around {place} stay green:\n{diff}\nAdd {file} with a test that notices it, and passes "
    "now.",
    "Mutation testing left this mutant of {place}:\n{diff}\nKill it: put a test into {file} (new). The code stays as "
    "it is.",
)


class TestWriting(Family[Candidate]):
    """Mutants of functions that the suite calls with plain values."""

    __test__ = False
    name: ClassVar[str] = "test-writing"
    share: ClassVar[int] = 15

    def candidates(self, bench: Bench) -> Iterator[Candidate]:
        if bench.layer.source.runner != "pytest":
            return
        for one in bench.grounds.candidates(bench.seed + 1, PER_FUNCTION):
            if "." not in one.function.qualname and bench.observer.calls(one.path, one.function.name):
                yield one

    def make(self, candidate: Candidate, bench: Bench) -> Task:
        module = bench.observer.module(candidate.path)
        case = _case(candidate, bench)
        if module is None or case is None:
            raise Refused("no plain call shows a difference")
        report = bench.admission.run({candidate.path: candidate.buggy}, candidate.tests)
        if not report.collected_ok or report.stopped:
            raise Refused("does not import or ends early")
        survives = all(report.outcomes.get(test) == "passed" for test in candidate.tests)
        arguments, want = case
        home = posixpath.dirname(test_file(candidate.tests[0]))
        file = _free(bench, home, f"test_{candidate.function.name.strip('_')}")
        body = written(module, candidate.function.name, arguments, want)
        mutant = make_patch({candidate.path: candidate.clean}, {candidate.path: candidate.buggy})
        words = (*SURVIVING, *WORDS) if survives else WORDS
        text = bench.rng(candidate.key).choice(words).format(place=candidate.place, file=file, diff=_shown(mutant))
        kept = [test for test in candidate.tests if report.outcomes.get(test) == "passed"][:MOST_P2P]
        return self.task(
            bench, "survivor" if survives else "known", text, gold_patch=make_patch({}, {file: body}), p2p=kept,
            check={"test_file": file, "mutant": mutant},
            difficulty={"function_lines": candidate.function.length},
            provenance={"operators": [candidate.site.operator], "functions": [candidate.function.qualname],
                        "files": [candidate.path], "lines": [candidate.site.line]},
        )  # fmt: skip

    def rejection(self, task: Task, layer: Layer, sandbox: Sandbox, bench: Bench | None = None) -> str:
        if self.grade(task, layer, "", "", sandbox).status != "failed":
            return "empty patch passes"
        found = self.grade(task, layer, task.gold_patch, "", sandbox)
        return "" if found.solved else "infra" if found.status == "infra" else "gold patch fails"

    def grade(self, task: Task, layer: Layer, patch: str, answer: str, sandbox: Sandbox) -> Grade:
        file = str(task.check["test_file"])
        nothing = {"f2p": 0.0, "p2p": 0.0, "canary": 0.0, "tamper": 0.0, "ignored": 0.0, "lines": 0.0}
        try:
            texts = apply_patch(layer_files(layer, patched_paths(patch)), patch)
        except BadInput as error:
            return Grade(status="failed", scores=nothing, detail=f"patch does not apply: {error}")
        text = texts.get(file)
        scores = {**nothing, "ignored": float(len(texts) - (text is not None)),
                  "lines": float((text or "").count("\n"))}  # fmt: skip
        if text is None:
            return Grade(status="failed", scores=scores, detail=f"there is no {file}")
        if found := LOOKS_AT_SOURCE.search(text):
            return Grade(status="failed", scores={**scores, "tamper": 1.0},
                         detail=f"the test must call the code, not look at it ({found[0]})")
        try:
            now = self._run(task, layer, {file: text}, sandbox)
            again = self._run(task, layer, {file: text}, sandbox, seed=1)
            broken = self._run(task, layer, {**mutant(task, layer), file: text}, sandbox)
        except InfraError as error:
            return Grade(status="infra", detail=str(error))
        passes = bool(now.outcomes) and now.passed(list(now.outcomes)) and again.passed(list(now.outcomes))
        notices = broken.trusted and broken.collected_ok and "failed" in broken.outcomes.values()
        scores |= {"f2p": float(notices), "p2p": float(passes), "canary": float(now.canary_ok is True)}
        why = "" if passes and notices else "the test does not pass on the code as it is" if not passes else \
            "the test does not fail with the change"
        return Grade(status="failed" if why else "solved", scores=scores, detail=why)

    @staticmethod
    def _run(task: Task, layer: Layer, files: dict[str, str], sandbox: Sandbox, seed: int = 0) -> TestReport:
        limits = ExecLimits(wall_s=4 * task.test.timeout_s, cpu_s=task.test.timeout_s)
        with open_workspace(layer, sandbox, dict(files)) as workspace:
            return run_pytest(workspace, layer.python, [str(task.check["test_file"])], limits=limits, canary=True,
                              extra_args=task.test.args, env={"PYTHONHASHSEED": str(seed)})

    def script(self, task: Task, layer: Layer, style: str, rng: random.Random, opening: str) -> Script:
        file = str(task.check["test_file"])
        body = next(text for text in apply_patch({}, task.gold_patch).values() if text is not None)
        path, name = task.provenance["files"][0], task.provenance["functions"][0]
        if style != "direct" and f"def {name}(" not in opening:
            hits = yield turn(call("grep_search", query=f"def {name}(", includePattern=path))
            line = re.search(rf"^{re.escape(path)}:(\d+):", hits[0], re.MULTILINE)
            yield turn(call("read_file", filePath=path, startLine=int(line[1]) if line else 1))
        yield turn(call("replace_string_in_file", filePath=file, oldString="", newString=body),
                   call("runTests", files=[file]))
        yield turn(call("task_complete"))


def mutant(task: Task, layer: Layer) -> dict[str, str]:
    """The files with the change that the test has to notice."""
    patch = str(task.check["mutant"])
    return {path: text for path, text in apply_patch(layer_files(layer, patched_paths(patch)), patch).items()
            if text is not None}


def _case(candidate: Candidate, bench: Bench) -> tuple[str, Outcome] | None:
    """The shortest call that tells the mutant from the code, with what it has to come to."""
    name, path = candidate.function.name, candidate.path
    known = bench.observer.calls(path, name)
    calls = [*known, *variants(known, MOST_CALLS - len(known))][:MOST_CALLS]
    [clean] = bench.observer.evaluate({}, [(path, name, calls)])
    [again] = bench.observer.evaluate({}, [(path, name, calls)], seed=1)
    [broken] = bench.observer.evaluate({path: candidate.buggy}, [(path, name, calls)])
    found = [(arguments, one) for arguments, one, same, other in zip(calls, clean, again, broken)
             if one == same and one != other and _asserts(one) and other.kind in ("value", "raises", "other")
             and (one.kind, one.text) != (other.kind, other.text)]  # fmt: skip
    return min(found, key=lambda one: (len(one[0]) + len(one[1].text), one[0]), default=None)


def _asserts(outcome: Outcome) -> bool:
    if outcome.kind == "raises":
        return hasattr(builtins, outcome.text) and outcome.text != "TypeError"  # mostly a call that makes no sense
    return outcome.kind == "value"


def written(module: str, function: str, arguments: str, want: Outcome) -> str:
    """A test file with the one test."""
    name = function.strip("_")
    if want.kind == "raises":
        check = f"    with pytest.raises({want.text}):\n        {function}({arguments})\n"
        head = f"import pytest\n\nfrom {module} import {function}\n"
    else:
        sign = "is" if want.text in ("None", "True", "False") else "=="
        check = f"    assert {function}({arguments}) {sign} {want.text}\n"
        head = f"from {module} import {function}\n"
    return f"{head}\n\ndef test_{name}_case():\n{check}"


def _free(bench: Bench, folder: str, name: str) -> str:
    for number in range(1, 1000):
        path = posixpath.join(folder, f"{name}_case{number if number > 1 else ''}.py")
        if not (bench.layer.root / path).exists():
            return path
    raise Refused("no free file name")


def _shown(patch: str) -> str:
    """The changed lines of a diff."""
    lines = patch.split("\n")[3:]
    return "\n".join(line for line in lines if line[:1] in ("-", "+"))
