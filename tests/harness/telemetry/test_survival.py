"""How much of an edit is left, and when it is looked at."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.calc_repo import FILES, write_tree
from vivace.harness.hunks import pieces
from vivace.harness.sessions.changes import Change
from vivace.harness.sessions.deciding import settle
from vivace.harness.sessions.session import Session
from vivace.harness.telemetry import store
from vivace.harness.telemetry.survival import hunks, survival

OPS = "calc/ops.py"
OLD = FILES[OPS]
NEW = OLD.replace("    return a - b\n", "    result = a + b\n    return result\n")


@pytest.mark.parametrize(("now", "grams", "kept"), [
    (NEW, 1.0, 1.0), (OLD, (0.1, 0.8), 0.0), ("# a remark\n" + NEW + "# more\n", 1.0, 1.0), (None, 0.0, 0.0),
    (NEW.replace("result", "total"), (0.2, 0.8), (0.5, 1.0)),
    (NEW.replace("    return result\n", ""), (0.4, 0.6), (0.4, 1.0)),
    (NEW.replace("total", "all_of_them"), 1.0, 1.0),  # elsewhere in the file
])  # fmt: skip
def test_what_is_left(now: str | None, grams: float | tuple[float, float], kept: float | tuple[float, float]) -> None:
    (span, old), = hunks(OLD, NEW)
    assert old == "    return a - b\n"
    found = survival(NEW, now, span, old)
    for value, wanted in ((found.four_gram, grams), (found.no_revert, kept)):
        low, high = wanted if isinstance(wanted, tuple) else (wanted, wanted)
        assert low <= value <= high


def test_a_deletion_survives_until_the_lines_are_back() -> None:
    shorter = OLD.replace('    """Sum of two numbers."""\n', "")
    (span, old), = hunks(OLD, shorter)
    assert survival(shorter, shorter, span, old).four_gram == 1.0
    back = survival(shorter, OLD, span, old)
    assert (back.four_gram, back.no_revert) == (0.0, 0.0)


def git(repo: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", *arguments]
    subprocess.run(command, cwd=repo, check=True, capture_output=True)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setenv("VIVACE_STATE", str(tmp_path / "state"))
    repo = write_tree(tmp_path / "calc", FILES)
    git(repo, "init", "-q")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "one")
    return Session.create(repo)


def test_from_decision_to_commit(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moments are looked at when they come, once; missed ones are left out; the commit when there is one."""
    repo = session.repo
    changed = {OPS: Change(OLD.encode(), NEW.encode()), "README.md": Change(FILES["README.md"].encode(), b"other\n")}
    session._append("applied", files=session._pairs(changed))
    first, second = pieces(session.pending())
    clock = [1000.0]
    monkeypatch.setattr(store.time, "time", lambda: clock[0])
    settle(session, [second], [first], [], telemetry=True)
    assert (repo / OPS).read_text() == NEW
    found = store.summary()
    assert (found["taken"], found["left"]) == (1, 1)
    assert found["survival"] == {0: {"n": 1, "four_gram": 1.0, "no_revert": 1.0}}
    clock[0] += 31
    (repo / OPS).write_text(OLD)
    assert (store.measure(), store.measure()) == (1, 0)
    assert store.summary()["survival"][30]["no_revert"] == 0.0
    clock[0] += 500  # 120 and 300 have gone by unseen
    assert store.measure() == 0
    assert store.next_moment(clock[0]) == 69.0
    (repo / OPS).write_text(NEW)
    git(repo, "commit", "-qam", "two")
    (repo / OPS).write_text(OLD)
    assert store.measure() == 1
    assert store.summary()["survival"]["commit"] == {"n": 1, "four_gram": 1.0, "no_revert": 1.0}
    text = "".join(path.read_text() for path in (store.state_dir("telemetry")).iterdir())
    assert "result" not in text  # no code in it
    store.forget()
    assert store.summary()["taken"] == 0


def test_nothing_is_noted_unless_it_is_wanted(session: Session) -> None:
    session._append("applied", files=session._pairs({OPS: Change(OLD.encode(), NEW.encode())}))
    settle(session, pieces(session.pending()), [], [])
    assert not list(store.state_dir("telemetry").iterdir())


def test_git_of_a_repository_runs_nothing(session: Session, tmp_path: Path) -> None:
    """A repository's configuration names programs; none of them is started."""
    repo, marker = session.repo, tmp_path / "ran"
    script = tmp_path / "evil.sh"
    script.write_text(f"#!/bin/sh\ntouch {marker}\n")
    script.chmod(0o755)
    for key in ("core.fsmonitor", "diff.external", "core.pager", "filter.x.smudge", "diff.x.textconv"):
        git(repo, "config", key, str(script))
    (repo / ".gitattributes").write_text("* filter=x diff=x\n")
    since = store.head(repo)
    git(repo, "commit", "-q", "--allow-empty", "--no-verify", "-m", "two")
    marker.unlink(missing_ok=True)  # what the tests' own git has started
    assert store.committed(repo, since, OPS) is None  # not touched by it
    assert not marker.exists()
