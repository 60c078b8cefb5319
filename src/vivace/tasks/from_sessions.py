"""Tasks from what a user has taken in sessions: the request as the statement, the files before as the bug.

The checkout as it is now is the clean tree, so only changes that still stand there make a task. Which tests tell is
found by running the suite on the files as they were; tests that the session has changed or added stay as they are now.
Admission is that of every other task. Statements lose personal data, keys and the machine's paths; code that holds such
things makes no task, because replacing them there could change what it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vivace.core.errors import BadInput
from vivace.core.files import digest, read_jsonl, state_dir, write_json
from vivace.core.scrub import scrub
from vivace.core.types import Task
from vivace.harness.sessions.log import LOG, sessions
from vivace.harness.sessions.session import State
from vivace.harness.tools.run_tests import is_test_file
from vivace.sandbox import Sandbox, make_patch
from vivace.tasks.admission import Admission
from vivace.tasks.cover import survey
from vivace.tasks.environments import open_home
from vivace.tasks.forge import keep
from vivace.tasks.local import local_source
from vivace.tasks.produce import TASKS
from vivace.tasks.registry import write_tasks
from vivace.tasks.statements import names_machine

FAMILY = "session"
MOST_KEPT_GREEN = 50
"""Tests that pass before and after, in a row."""


@dataclass(frozen=True)
class Taken:
    """What was taken of one session: {path: (contents before, after)} over all its requests, and the requests."""

    name: str
    requests: tuple[str, ...]
    changes: dict[str, tuple[bytes | None, bytes | None]]


@dataclass
class Harvest:
    """What came of it. `refused`: {session: why it makes no task}."""

    tasks: list[Task] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def tasks_from_sessions(
    repo: Path, folder: Path, sandbox: Sandbox, *, only: Sequence[str] = (), extra: Sequence[str] = (),
    python: Path | None = None, sources: Sequence[str] = (), tests: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Harvest:
    """Make tasks of the sessions on the checkout `repo` in `folder`: rows, manifest and packed checkout, as
    `tasks.forge` leaves them.

    Args:
        only: names of sessions, or their beginnings; default: all.
        extra, python, sources, tests: as `forge`.
    Raises:
        BadInput: no session there has taken changes, or as `local_source`, `open_home` and `survey`.
    """
    repo = repo.resolve()
    found = [one for one in taken_of(repo) if not only or one.name.startswith(tuple(only))]
    if not found:
        raise BadInput(f"no session on {repo} has changes that were taken; `vivace sessions` lists them")
    harvest = Harvest()
    usable = [one for one in found if not _note(harvest, one, _doubt(one, repo))]
    if not usable:
        return harvest
    source, facts = local_source(repo, sources=sources, tests=tests)
    home = open_home(source, facts, extra=extra, python=python)
    known = survey(home.layer, sandbox)
    green = sorted(known.green)
    say(f"{source.name} {source.version}: {len(green)} tests pass twice")
    with Admission(home.layer, sandbox, known.seconds, slots=1, audit=1) as admission:
        for one in usable:
            buggy = {path: None if pair[0] is None else pair[0].decode() for path, pair in one.changes.items()
                     if not is_test_file(path)}  # fmt: skip
            report = admission.run(buggy, green)
            failing = [test for test in green if report.outcomes.get(test) != "passed"]
            passing = [test for test in green if report.outcomes.get(test) == "passed"][:MOST_KEPT_GREEN]
            if not failing:
                _note(harvest, one, "no test tells the files before from those after")
                continue
            task = _task(one, statement(one.requests, repo), admission, failing, passing)
            if not _note(harvest, one, admission.rejection(task, [*failing, *passing])):
                harvest.tasks.append(task)
                say(f"{one.name}: {len(failing)} tests fail without it")
    if harvest.tasks:
        folder.mkdir(parents=True, exist_ok=True)
        keep(folder, home.manifest, source)
        write_tasks(folder / TASKS, harvest.tasks)
        write_json(folder / "refused.json", harvest.refused)
    return harvest


def taken_of(repo: Path) -> Iterator[Taken]:
    """The sessions on a checkout that have taken changes, without what was undone; oldest first."""
    for name, _ in reversed(list(sessions(repo))):
        path = state_dir("sessions", name)
        rows = list(read_jsonl(path / LOG))
        leaf: int | None = int(rows[-1]["to"] if rows[-1]["type"] == "leaf" else rows[-1]["id"])
        branch = []
        while leaf is not None:
            branch.append(rows[leaf])
            leaf = rows[leaf]["parent"]
        state = State()
        for row in reversed(branch):
            state.add(row)
        changes: dict[str, tuple[bytes | None, bytes | None]] = {}
        for row in state.applied:
            for file, (before, after) in row["changes"].items():
                first = changes[file][0] if file in changes else _blob(path, before)
                changes[file] = (first, _blob(path, after))
        changes = {file: pair for file, pair in changes.items() if pair[0] != pair[1]}
        if changes:
            yield Taken(name, tuple(str(row["text"]) for row in state.prompts), changes)


def statement(requests: Sequence[str], repo: Path) -> str:
    """The requests in the user's words, without personal data, keys, and paths of the machine."""
    text = "\n\n".join(requests).replace(f"{repo}/", "").replace(str(repo), "the repository")
    return scrub(text.replace(str(Path.home()), "~"))[0].strip()


def _blob(folder: Path, name: str | None) -> bytes | None:
    return None if name is None else (folder / "blobs" / name).read_bytes()


def _doubt(one: Taken, repo: Path) -> str:
    for path, (before, after) in one.changes.items():
        target = repo / path
        if (target.read_bytes() if target.is_file() else None) != after:
            return f"{path} has been changed since"
        try:
            text = (before or b"").decode() + (after or b"").decode()
        except UnicodeDecodeError:
            return f"{path} is no text"
        if scrub(text)[1]:
            return f"{path} holds personal data or keys"
    if all(is_test_file(path) for path in one.changes):
        return "only tests were changed"
    return "the statement names a path of the machine" if names_machine(statement(one.requests, repo)) else ""


def _note(harvest: Harvest, one: Taken, why: str) -> bool:
    if why:
        harvest.refused[one.name] = why
    return bool(why)


def _task(one: Taken, text: str, admission: Admission, failing: list[str], passing: list[str]) -> Task:
    source = admission.layer.source
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    for path, (old, new) in one.changes.items():
        if not is_test_file(path):
            before.update({} if old is None else {path: old.decode()})
            after.update({} if new is None else {path: new.decode()})
    bug, gold = make_patch(after, before), make_patch(before, after)
    return Task(
        id=f"{source.name}-{FAMILY}-{digest([source.env, bug, gold], 10)}", family="repair", stage=FAMILY,
        env=source.env, repo=source.name, split=source.role, licence=source.licence, problem_statement=text,
        bug_patch=bug, gold_patch=gold, FAIL_TO_PASS=failing, PASS_TO_PASS=passing, test=admission.spec,
        difficulty={"files": float(len(before.keys() | after.keys()))},
        provenance={"generator": "vivace.tasks.from_sessions/1", "session": one.name},
    )  # fmt: skip
