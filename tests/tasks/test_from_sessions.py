"""Taken changes of sessions as task rows: judged like every task, without the user's secrets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.calc_repo import FILES, write_tree
from vivace.core.errors import BadInput
from vivace.harness.sessions.changes import Change
from vivace.harness.sessions.session import Session
from vivace.sandbox import open_sandbox
from vivace.tasks.from_sessions import Harvest, statement, taken_of, tasks_from_sessions
from vivace.tasks.produce import TASKS
from vivace.tasks.registry import read_tasks

PROJECT = '[project]\nname = "calc"\nversion = "1"\nlicense = { text = "MIT" }\n'
OPS = "calc/ops.py"
OLD = FILES[OPS]
NEW = OLD.replace("a - b", "a + b")
TOKEN = "ghp_" + "a1B2" * 9


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIVACE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("VIVACE_CACHE", str(tmp_path / "cache"))
    return write_tree(tmp_path / "calc", {**FILES, "pyproject.toml": PROJECT})


def held(repo: Path, request: str, **files: tuple[str | None, str]) -> str:
    """A session in which these changes were taken; the name of a file has _ for / in it."""
    with Session.create(repo) as session:
        session.begin(request, {})
        changes = {}
        for path, (before, after) in files.items():
            changes[path] = Change(None if before is None else before.encode(), after.encode())
        session.apply(changes, {})
        return session.log.name


def make(repo: Path, **more: object) -> Harvest:
    return tasks_from_sessions(repo, repo.parent / "out", open_sandbox(), python=Path(sys.executable), **more)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_taken_fix_is_a_task(repo: Path) -> None:
    """Also when it came with a test of its own; what was undone or refused is none."""
    test = FILES["tests/test_ops.py"]
    name = held(repo, f"add is wrong in {repo}/{OPS}; my key is {TOKEN}, mail me@firm.com", **{
        OPS: (OLD, NEW), "tests/test_ops.py": (test, test + "\n\ndef test_more():\n    assert add(5, 5) == 10\n")})
    unneeded = held(repo, "say more", **{"README.md": (FILES["README.md"], "more\n")})
    with Session.create(repo) as session:
        session.begin("undone", {})
        session.apply({"calc/new.py": Change(None, b"x = 1\n")}, {})
        session.undo()
    assert {one.name for one in taken_of(repo)} == {name, unneeded}
    found = make(repo)
    assert found.refused == {unneeded: "no test tells the files before from those after"}
    task, = read_tasks(repo.parent / "out" / TASKS)
    assert task == found.tasks[0]
    assert set(task.FAIL_TO_PASS) == {f"tests/test_ops.py::{one}" for one in ("test_add", "test_mean", "test_more")}
    assert task.PASS_TO_PASS == ["tests/test_ops.py::TestZero::test_zero"]
    assert "-    return a - b" in task.gold_patch
    assert "test_more" not in task.gold_patch  # tests are the judge's
    assert task.problem_statement == f"add is wrong in {OPS}; my key is <KEY>, mail user@example.com"
    assert (task.provenance["session"], task.licence) == (name, "MIT")


def test_what_makes_no_task(repo: Path) -> None:
    changed = held(repo, "fix add", **{OPS: (OLD, NEW)})
    (repo / OPS).write_text(OLD)
    secret = held(repo, "add a key", **{"calc/key.py": (None, f'KEY = "{TOKEN}"\n')})
    tests = held(repo, "test more", **{"tests/test_x.py": (None, "def test_x():\n    pass\n")})
    found = make(repo)
    assert found.refused == {changed: f"{OPS} has been changed since", tests: "only tests were changed",
                             secret: "calc/key.py holds personal data or keys"}
    assert not found.tasks
    with pytest.raises(BadInput, match="has changes that were taken"):
        make(repo, only=["nothing"])


def test_statements_lose_what_is_private() -> None:
    home = str(Path.home())
    text = statement([f"see {home}/work/calc/a.py and {home}/.netrc", "then 8.8.44.99"], Path(home) / "work/calc")
    assert text == "see a.py and ~/.netrc\n\nthen 192.0.2.1"
