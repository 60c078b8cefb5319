"""Bugs in two files at once: half of the fix is not enough."""

from __future__ import annotations

from dataclasses import replace

import pytest
from demonstrations import demonstrated

from vivace.sandbox import apply_patch, make_patch
from vivace.tasks.admission import Refused
from vivace.tasks.families import PRODUCERS, Bench
from vivace.tasks.families.repair import CrossFile, maker_of
from vivace.tasks.grade import grade
from vivace.tasks.make import Planted
from vivace.tasks.workspaces import buggy_files

LABELS = "tests/test_labels.py"
TESTS = {
    "short": (f"{LABELS}::ShortTest::test_short", f"{LABELS}::ShortTest::test_fits"),
    "gross": (f"{LABELS}::LabelTest::test_label", f"{LABELS}::LabelTest::test_nameless",
              "tests/test_prices.py::TestDiscount::test_ten"),
}  # fmt: skip


def _bug(name: str, bench: Bench) -> Planted:
    for candidate in PRODUCERS["repair"].candidates(bench):
        if candidate.function.name == name:
            try:
                return maker_of(bench).plant(replace(candidate, tests=TESTS[name]))
            except Refused:
                continue
    raise AssertionError(f"no bug of {name}")


@pytest.mark.slow
def test_half_of_the_fix_is_not_enough(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bugs = [_bug("short", bench), _bug("gross", bench)]
    monkeypatch.setattr(CrossFile, "_bugs", staticmethod(lambda bench: bugs))
    family = PRODUCERS["cross-file"]
    [pair] = family.candidates(bench)
    task = family.make(pair, bench)
    assert (task.family, task.stage) == ("repair", "cross_file")
    broken = {path: text or "" for path, text in buggy_files(task, bench.layer).items()}
    fixed = {path: text or "" for path, text in apply_patch(broken, task.gold_patch).items()}
    assert sorted(broken) == ["src/wares/labels.py", "src/wares/prices.py"]
    for path in broken:
        half = make_patch(broken, {**broken, path: fixed[path]})
        assert grade(task, bench.layer, half, bench.sandbox).status == "failed"
    assert not family.rejection(task, bench.layer, bench.sandbox)
    assert demonstrated(task, bench, "read", "nano")[1].solved
