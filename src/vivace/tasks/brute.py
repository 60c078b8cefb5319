"""The baseline without a model: one-line edits tried in random order until the failing tests are green.

It gets what the agent gets: the functions that the statement names, and as many test runs. The edits are those of the
mutation operators, most of which can undo each other (`<` to `<=` and back), and removals, so it is not a straw man.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vivace.core.types import Attempt, Task, Trajectory
from vivace.sandbox.testrun import TestReport
from vivace.tasks.attempt import Player
from vivace.tasks.mutate import Function, apply, functions, sites
from vivace.tasks.operators.leftovers import removals
from vivace.tasks.statements import suspects

BASELINE = "brute-force"


@dataclass(frozen=True)
class Search:
    """What a search came to: its last patch ("" when nothing helped), test runs spent, seconds."""

    patch: str
    runs: int
    seconds: float


def attempt(task: Task, player: Player, budget: int, seed: int, sample: int = 0) -> Attempt:
    """The search played and graded as a model is: `infra` where the machinery failed, not an exception."""

    def play() -> Trajectory:
        found = brute_force(task, player, budget, seed)
        return Trajectory(task_id=task.id, patch=found.patch, test_runs=found.runs, seconds=found.seconds)

    return player.graded(task, play, model=BASELINE, sample=sample)


def brute_force(task: Task, player: Player, budget: int, seed: int) -> Search:
    """Try up to `budget` one-line edits of the named functions, each on its own.

    Where several functions are named there may be several bugs: then an edit that turns more tests green is kept, and
    the search goes on from there. With one function a half-right edit would only bar the way to the right one.
    """
    rng, start, runs = random.Random(f"{task.id}/{seed}"), time.monotonic(), 0
    several = len(suspects(task.problem_statement)) > 1
    with player.environment(task) as env:
        tests = [*task.FAIL_TO_PASS, *task.PASS_TO_PASS]
        best = len(task.PASS_TO_PASS)
        untried = _edits(task, env.workspace.read_text, rng)
        while runs < budget and untried:
            path, text = untried.pop()
            if not _parses(text):  # asked only now: a large file takes a tenth of a second
                continue
            before = env.workspace.read_text(path)
            env.workspace.write_text(path, text)
            runs += 1
            green = _green(env.test(tests), tests)
            if green == len(tests):
                break
            if several and green > best:
                best, untried = green, _edits(task, env.workspace.read_text, rng)
            else:
                env.workspace.write_text(path, before)
        return Search(env.workspace.diff(), runs, round(time.monotonic() - start, 3))


def _edits(task: Task, read: Callable[[str], str], rng: random.Random) -> list[tuple[str, str]]:
    """(path, new text) of every one-line edit of the functions that the statement names, shuffled."""
    found = []
    for path in sorted({place.path for place in suspects(task.problem_statement)}):
        text = read(path)
        named = {place.name for place in suspects(task.problem_statement) if place.path == path}
        lines = {line for f in functions(text) if f.name in named for line in _lines(f)}
        found += [(path, apply(text, site)) for site in sites(text, lines=lines)]
        found += [(path, shorter) for shorter in removals(text, lines)]
    rng.shuffle(found)
    return found


def _parses(text: str) -> bool:
    try:
        compile(text, "", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def _lines(function: Function) -> range:
    return range(function.line, function.end_line + 1)


def _green(report: TestReport, tests: Sequence[str]) -> int:
    return 0 if report.stopped else sum(report.outcomes.get(test) == "passed" for test in tests)
