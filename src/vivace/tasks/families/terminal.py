"""terminal: chores for a shell (logs, tables, names, settings, sums, a git history, a small program) beside a package.

Everything happens in one folder of the checkout; its files after the attempt, and for programs what they print for
files that were not shown, are compared with what was computed when the chore was made (`vivace.tasks.statecheck`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from vivace.core.errors import BadInput, InfraError
from vivace.core.files import digest
from vivace.core.types import Grade, Task
from vivace.sandbox import ExecLimits, Sandbox, apply_patch, make_patch
from vivace.sandbox.patch import patched_paths
from vivace.tasks import statecheck
from vivace.tasks.admission import Refused
from vivace.tasks.chores import DESK, KINDS, Chore, census
from vivace.tasks.families.base import Bench, Family
from vivace.tasks.families.refactor import package_sources
from vivace.tasks.layers import Layer
from vivace.tasks.script import Script, call, turn
from vivace.tasks.workspaces import buggy_files, layer_files, open_workspace

EACH = 400
"""Instances of each kind that a package may have."""
SECONDS = 5.0
"""Of processor time, of one run of a program."""


@dataclass(frozen=True)
class Order:
    """A chore to be made."""

    kind: str
    number: int

    @property
    def key(self) -> str:
        return digest([self.kind, self.number])


class Terminal(Family[Order]):
    """Work with files and commands."""

    name: ClassVar[str] = "terminal"
    share: ClassVar[int] = 15

    def candidates(self, bench: Bench) -> Iterator[Order]:
        if (bench.layer.root / DESK).exists():
            return
        for number in range(EACH):
            kinds = [*KINDS, *(["census"] if number < 3 else [])]
            bench.rng(self.name, number).shuffle(kinds)
            yield from (Order(kind, number) for kind in kinds)

    def make(self, candidate: Order, bench: Bench) -> Task:
        chore = chore_of(candidate, bench)
        rng = bench.rng(candidate.key)
        before = placed(chore.files)
        wrong = [make_patch(before, _after(before, one)) for one in chore.wrong]
        task = self.task(
            bench, candidate.kind, rng.choice(list(chore.requests)), bug_patch=make_patch({}, before),
            gold_patch=make_patch(before, _after(before, chore.after)),
            check={"wishes": [dict(one) for one in chore.wishes], "commands": list(chore.commands),
                   "prepared": chore.prepared},
            difficulty={"files": len(chore.after), "wishes": len(chore.wishes)},
            provenance={"number": candidate.number},
        )  # fmt: skip
        for patch in wrong:
            if not patch or self.grade(task, bench.layer, patch, "", bench.sandbox).status != "failed":
                raise Refused("a wrong outcome passes")
        return task

    def rejection(self, task: Task, layer: Layer, sandbox: Sandbox, bench: Bench | None = None) -> str:
        """The computed outcome passes, nothing does not, and the commands lead to one that passes."""
        if self.grade(task, layer, "", "", sandbox).status != "failed":
            return "empty patch passes"
        found = self.grade(task, layer, task.gold_patch, "", sandbox)
        if not found.solved:
            return "infra" if found.status == "infra" else "gold patch fails"
        with open_workspace(layer, sandbox, buggy_files(task, layer)) as workspace:
            for command in task.check["commands"]:
                workspace.exec(["/bin/sh", "-c", command], limits=ExecLimits(wall_s=60.0))
            done = workspace.diff()
        found = self.grade(task, layer, done, "", sandbox)
        return "" if found.solved else "infra" if found.status == "infra" else "its commands do not do it"

    def grade(self, task: Task, layer: Layer, patch: str, answer: str, sandbox: Sandbox) -> Grade:
        """Scores: `f2p` is the share of wishes that are met."""
        nothing = {"f2p": 0.0, "p2p": 0.0, "tamper": 0.0}
        before = buggy_files(task, layer)
        try:
            present = layer_files(layer, patched_paths(patch)) | {p: t for p, t in before.items() if t is not None}
            after = {**before, **apply_patch(present, patch)} if patch.strip() else before
        except BadInput as error:
            return Grade(status="failed", scores=nothing, detail=f"patch does not apply: {error}")
        outside = sorted(path for path in patched_paths(patch) if not path.startswith(f"{DESK}/"))
        desk = {path.removeprefix(f"{DESK}/"): text for path, text in after.items()
                if text is not None and path.startswith(f"{DESK}/")}  # fmt: skip
        try:
            problems = _problems(task.check["wishes"], desk, layer, sandbox)
        except InfraError as error:
            return Grade(status="infra", detail=str(error))
        met = problems.count("") / len(problems)
        why = [f"changed outside of {DESK}: {outside[0]}"] if outside else []
        why += [one for one in problems if one][:3]
        return Grade(status="failed" if why else "solved", detail="; ".join(why),
                     scores={**nothing, "f2p": met, "p2p": float(not outside)})

    def script(self, task: Task, layer: Layer, style: str, rng: random.Random, opening: str) -> Script:
        """By the shell tool of the profile at hand; `direct` does without the first look."""
        commands = list(task.check["commands"])
        for command in commands[1:] if style == "direct" and not task.check["prepared"] else commands:
            if "with a shell and nothing else" in opening:
                yield turn(call("bash", command=command))
            else:
                yield turn(call("run_in_terminal", command=command, explanation="", goal="", mode="sync"))
        yield turn(thought="Done.") if "with a shell and nothing else" in opening else turn(call("task_complete"))


def chore_of(order: Order, bench: Bench) -> Chore:
    """The chore that an order names, of a package.

    Raises:
        Refused: the package has nothing for it.
    """
    rng = bench.rng("chore", order.kind, order.number)
    if order.kind != "census":
        return KINDS[order.kind](rng)
    found = census(rng, package_sources(bench.layer))
    if found is None:
        raise Refused("nothing to count in this package")
    return found


def placed(files: Mapping[str, str]) -> dict[str, str]:
    """Files of a desk at their paths in the checkout."""
    return {f"{DESK}/{path}": text for path, text in files.items()}


def _after(before: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    after = dict(before)
    for path, text in changes.items():
        if text is None:
            after.pop(f"{DESK}/{path}", None)
        else:
            after[f"{DESK}/{path}"] = text
    return after


def _problems(wishes: Sequence[Mapping[str, Any]], desk: Mapping[str, str], layer: Layer,
              sandbox: Sandbox) -> list[str]:
    """What is wrong, by wish; a program that failed once is not run again."""
    found: list[str] = []
    for wish in wishes:
        tired = "run" in wish and any(one for one, other in zip(found, wishes) if "run" in other)
        found.append("not tried again" if tired else _problem(wish, desk, layer, sandbox))
    return found


def _problem(wish: Mapping[str, Any], desk: Mapping[str, str], layer: Layer, sandbox: Sandbox) -> str:
    if "run" not in wish:
        return str(statecheck.problem(desk, wish))
    given = {f"{DESK}/{path}": text for path, text in {**desk, **wish["files"]}.items()}
    with open_workspace(layer, sandbox, dict(given)) as workspace:
        result = workspace.exec(["/bin/sh", "-c", 'exec "$@" 2>/dev/null', "sh", *wish["run"]], cwd=DESK,
                                limits=ExecLimits(wall_s=4 * SECONDS, cpu_s=SECONDS))
    if result.exit_code or result.killed:
        return f"{json.dumps(wish['run'])}: exit code {result.exit_code}"
    found = str(statecheck.wrong(result.output, wish))
    return f"{json.dumps(wish['run'])}: {found}" if found else ""
