"""Chores: solved by commands in the real harness, and by nothing that only looks like it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from demonstrations import demonstrated, first

from vivace.core.types import Task
from vivace.sandbox import apply_patch, make_patch
from vivace.tasks import statecheck
from vivace.tasks.chores import DESK, KINDS
from vivace.tasks.families import FAMILIES, Bench
from vivace.tasks.grade import grade
from vivace.tasks.workspaces import buggy_files

QUICK = ("log", "history", "program")


def _task(kind: str, bench: Bench) -> Task:
    return first(bench, "terminal", where=lambda order: order.kind == kind)


@pytest.mark.parametrize("kind", [*QUICK, *(pytest.param(one, marks=pytest.mark.slow) for one in (*KINDS, "census")
                                            if one not in QUICK)])  # fmt: skip
def test_the_expert_does_it_with_either_shell(kind: str, bench: Bench) -> None:
    task = _task(kind, bench)
    assert all(path.startswith(f"{DESK}/") for path in buggy_files(task, bench.layer))
    for style, profile in (("read", "copilot"), ("direct", "mini")):
        trajectory, verdict = demonstrated(task, bench, style, profile)
        assert verdict.solved, (verdict.detail, trajectory.messages)
    assert grade(task, bench.layer, "", bench.sandbox).status == "failed"


@pytest.mark.parametrize("kind", QUICK)
def test_cheats_do_not_pass(kind: str, bench: Bench) -> None:
    task = _task(kind, bench)
    before = {path: text or "" for path, text in buggy_files(task, bench.layer).items()}
    gold = {path: text or "" for path, text in apply_patch(dict(before), task.gold_patch).items()}
    right = {**before, **gold}
    kept = next(iter(before))
    cheats = {
        "an input changed": {**right, kept: right[kept] + "\n#"},
        "an input deleted": {path: text for path, text in right.items() if path != kept},
        "the right text in another place": {**before, **{f"other/{path}": text for path, text in gold.items()}},
        "the package changed too": {**right, "src/wares/new.py": "x = 1\n"},
        "results empty": {**before, **dict.fromkeys(gold, "")},
        "results doubled": {**before, **{path: text + text for path, text in gold.items() if kind != "program"}},
    }
    for name, after in cheats.items():
        assert grade(task, bench.layer, make_patch(before, after), bench.sandbox).status == "failed", name


def test_a_program_is_tried_on_files_that_were_not_shown(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivace.tasks.families.terminal.SECONDS", 0.5)
    task = _task("program", bench)
    before = {path: text or "" for path, text in buggy_files(task, bench.layer).items()}
    shown = "print(open(__import__('sys').argv[1]).read())\n"
    loud = "import sys\nprint('{}')\nsys.exit(3)\n"
    for code in (shown, loud, "while True: pass\n"):
        verdict = grade(task, bench.layer, make_patch(before, {**before, f"{DESK}/totals.py": code}), bench.sandbox)
        assert verdict.status == "failed"
        assert "totals.py" in verdict.detail


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_chore(kind: str) -> None:
    one, two, other = (KINDS[kind](random.Random(seed)) for seed in (3, 3, 4))
    assert one == two
    assert one.files != other.files or one.wishes != other.wishes
    texts = {**one.files, **{path: text for path, text in one.after.items() if text is not None}}
    texts = {path: text for path, text in texts.items() if one.after.get(path, "") is not None}
    assert [statecheck.problem(texts, wish) for wish in one.wishes if "run" not in wish and
            statecheck.problem(texts, wish)] == []  # fmt: skip


@pytest.mark.parametrize(("text", "wish", "right"), [
    ("a \nb\n\n", {"text": "a\nb"}, True), ("a\nc", {"text": "a\nb"}, False),
    ("b\na\n", {"lines": ["a", "b"]}, True), ("a\na\nb", {"lines": ["a", "b"]}, False),
    ("[1.0, true]", {"json": [1, True]}, True), ("[1, 1]", {"json": [1, True]}, False),
    ('{"a": 1, "b": 2}', {"json": {"a": 1}}, False), ("nope", {"json": {}}, False),
    ("[" * 100_000, {"json": []}, False),
    ("a,b\r\n\r\n1,2\n", {"csv": [["a", "b"], ["1", "2"]]}, True), ("a,b\n", {"csv": [["a"]]}, False),
])  # fmt: skip
def test_wishes(text: str, wish: dict[str, object], right: bool) -> None:
    assert (statecheck.wrong(text, wish) == "") is right
    assert (statecheck.problem({"x": text}, {"path": "x", **wish}) == "") is right


def test_the_check_stands_alone(tmp_path: Path) -> None:
    chore = KINDS["program"](random.Random(0))
    desk, wishes = tmp_path / "desk", tmp_path / "wishes.json"
    desk.mkdir()
    wishes.write_text(json.dumps(list(chore.wishes)))
    for path, text in chore.files.items():
        (desk / path).write_text(text)
    command = [sys.executable, "-I", statecheck.__file__, str(desk), str(wishes)]
    assert subprocess.run(command, capture_output=True).returncode == 1
    (desk / "totals.py").write_text(chore.after["totals.py"] or "")
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "all as it should be\n")


def test_a_package_with_such_a_folder_gets_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivace.tasks.families.terminal.DESK", "tests")
    assert list(FAMILIES["terminal"].candidates(bench)) == []
