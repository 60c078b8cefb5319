"""Making, interrupted in every way: nothing is decided twice and nothing is lost."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vivace.core.errors import BadInput, InfraError, SandboxError
from vivace.core.files import read_jsonl
from vivace.core.types import Task
from vivace.sandbox import Sandbox
from vivace.tasks import produce as producing
from vivace.tasks.families import PRODUCERS, Bench
from vivace.tasks.forge import forge
from vivace.tasks.produce import LEDGER, TASKS, Ledger, produce, wanted_counts
from vivace.tasks.registry import read_tasks


def _keys(folder: Path) -> list[tuple[str, str]]:
    return [(row["producer"], row["key"]) for row in read_jsonl(folder / LEDGER)]


def test_a_sitting_goes_on_where_the_last_one_ended(bench: Bench, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    produce(bench, {"question": 6}, whole)
    for stops in ([False, True], [False, False, False, True], [False]):
        answers = iter(stops)
        produce(bench, {"question": 6}, parts, stop=partial(next, answers, len(stops) > 1))
        made = len(read_tasks(parts / TASKS))
        assert made == 6 if len(stops) == 1 else made < 6
    assert [task.id for task in read_tasks(parts / TASKS)] == [task.id for task in read_tasks(whole / TASKS)]
    assert len(_keys(parts)) == len(set(_keys(parts)))
    assert json.loads((whole / "report.json").read_text())["made"] == {"question": 6}


def test_killed_in_the_middle_of_a_line(bench: Bench, tmp_path: Path) -> None:
    produce(bench, {"question": 4}, tmp_path)
    before = [task.id for task in read_tasks(tmp_path / TASKS)]
    for name in (TASKS, LEDGER):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text[:-20])
    produce(bench, {"question": 4}, tmp_path)
    assert [task.id for task in read_tasks(tmp_path / TASKS)] == before
    assert len(_keys(tmp_path)) == len(set(_keys(tmp_path)))


def test_a_row_without_its_line_in_the_ledger_is_not_made_twice(bench: Bench, tmp_path: Path) -> None:
    produce(bench, {"question": 2}, tmp_path)
    lines = (tmp_path / LEDGER).read_text().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if '"task"' in line)
    (tmp_path / LEDGER).write_text("".join(lines[:last]))
    produce(bench, {"question": 2}, tmp_path)
    ids = [task.id for task in read_tasks(tmp_path / TASKS)]
    assert len(ids) == len(set(ids))
    assert len(Ledger(tmp_path).of("question")) == 2


@pytest.mark.slow
def test_combined_bugs_come_from_single_ones_of_earlier_sittings(bench: Bench, tmp_path: Path) -> None:
    produce(bench, {"repair": 6}, tmp_path)
    report = produce(bench, {"repair": 6, "combined": 1}, tmp_path)
    assert report.made == {"repair": 6, "combined": 1}
    task = read_tasks(tmp_path / TASKS)[-1]
    assert (task.family, task.stage, task.difficulty["bugs"]) == ("repair", "complex", 2)


def test_a_failing_machine_decides_nothing(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(candidate: object, bench: Bench) -> Task:
        raise SandboxError("no room")

    monkeypatch.setattr(PRODUCERS["question"], "make", broken)
    with pytest.raises(InfraError, match="no room"):
        produce(bench, {"question": 2}, tmp_path)
    assert not (tmp_path / LEDGER).exists()
    monkeypatch.undo()
    assert produce(bench, {"question": 2}, tmp_path).made == {"question": 2}


def test_one_odd_file_does_not_bar_the_way(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, odd = PRODUCERS["question"].make, iter([True])

    def sometimes(candidate: object, bench: Bench) -> Task:
        if next(odd, False):
            raise UnicodeDecodeError("utf-8", b"x", 0, 1, "odd")
        return make(candidate, bench)

    monkeypatch.setattr(PRODUCERS["question"], "make", sometimes)
    report = produce(bench, {"question": 2}, tmp_path)
    assert report.made == {"question": 2}
    assert report.refused["question"]["its source cannot be worked on"] == 1


def test_a_suite_that_cannot_run_is_told_with_what_to_do(tmp_path: Path, sandbox: Sandbox) -> None:
    for name, text in {"pkg/__init__.py": "", "tests/test_a.py": "import nothing_of_that_name\n"}.items():
        (tmp_path / "odd" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "odd" / name).write_text(text)
    with pytest.raises(BadInput, match=r"no test passes in the sandbox; name the tests with --tests"):
        forge(tmp_path / "odd", tmp_path / "out", sandbox, {"question": 1}, python=Path(sys.executable))


def test_running_out_is_told(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def few(bench: Bench) -> Iterator[object]:
        yield from ()

    monkeypatch.setattr(PRODUCERS["question"], "candidates", few)
    assert produce(bench, {"question": 2}, tmp_path).exhausted == ["question"]


def test_how_many_of_each() -> None:
    counts = wanted_counts(200)
    assert list(counts) == list(producing.PRODUCERS)
    assert (counts["repair"], counts["combined"]) == (200, 50)
    assert wanted_counts(10, {"question": None, "repair": 7}) == {"repair": 7, "question": 4}


def test_one_command(checkout: Path, tmp_path: Path, sandbox: Sandbox) -> None:
    from vivace.cli import app

    out = tmp_path / "out"
    command = ["tasks", "make", str(checkout), "--python", sys.executable, "--out", str(out), "--html",
               "--family", "question=3", "--family", "implement=1", "--workers", "1"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "4 tasks in" in done.output
    rows = read_tasks(out / TASKS)
    assert {row.family for row in rows} == {"question", "implement"}
    page = (out / "gallery.html").read_text()
    assert all(row.id in page for row in rows)
    before = (out / TASKS).read_bytes()
    assert CliRunner().invoke(app, command).exit_code == 0
    assert (out / TASKS).read_bytes() == before
    shown = CliRunner().invoke(app, ["tasks", "show", str(out)])
    assert "implement" in shown.output
    one = CliRunner().invoke(app, ["tasks", "show", str(out), rows[0].id])
    assert rows[0].problem_statement in one.output
    assert "## Reference" in one.output
    with pytest.raises(BadInput, match="other code or made with other settings"):
        forge(checkout, out, sandbox, {"question": 1}, seed=5, python=Path(sys.executable))
    bad = CliRunner().invoke(app, [*command, "--family", "cooking"])
    assert isinstance(bad.exception, BadInput)
