"""Cheating patches from the data file on three packages: none passes, the gold patch does, no patch fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny_package import tiny_layer, tiny_task
from vivace.core.types import Task, TestSpec
from vivace.sandbox import Sandbox, make_patch
from vivace.tasks import grade as grading
from vivace.tasks.attacks import Attack, attacks, audit
from vivace.tasks.families import Bench
from vivace.tasks.forgery import impossible, suspicious
from vivace.tasks.grade import grade
from vivace.tasks.layers import Layer

LABELS = "src/wares/labels.py"
FORGERS = ("only the known reports are rewritten", "a result that equals everything", "unittest.mock.ANY",
           "result lines written into every pipe", "json lies about the known tests")  # fmt: skip
Case = tuple[Task, Layer]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Case:
    layer = tiny_layer(tmp_path_factory.mktemp("shapes"))
    return tiny_task("product", layer).model_copy(update={"provenance": {"functions": ["box"]}}), layer


@pytest.fixture(scope="module")
def unittests(bench: Bench) -> Case:
    """The wares under the runner of the standard library."""
    source = bench.layer.source.model_copy(update={"runner": "unittest"})
    layer = Layer(source, bench.layer.home, bench.layer.python)
    clean = (layer.root / LABELS).read_text()
    broken = clean.replace("if len(plain) > limit", "if len(plain) < limit")
    ids = [f"test_labels.{name}" for name in ("ShortTest.test_short", "ShortTest.test_fits", "LabelTest.test_label")]
    task = Task(
        id="wares-unittest", env=layer.env, repo="wares", split="train", licence="MIT", problem_statement="",
        bug_patch=make_patch({LABELS: clean}, {LABELS: broken}),
        gold_patch=make_patch({LABELS: broken}, {LABELS: clean}),
        FAIL_TO_PASS=ids[:2], PASS_TO_PASS=ids[2:], test=TestSpec(runner="unittest", args=["tests"]),
        provenance={"functions": ["short"]},
    )  # fmt: skip
    return task, layer


@pytest.fixture
def toy(task: Task, layer: Layer) -> Case:
    return task.model_copy(update={"provenance": {"functions": ["clamp"]}}), layer


def test_there_are_many_and_each_changes_something(shapes: Case) -> None:
    names = [one.name for one in attacks()]
    assert len(set(names)) == len(names) >= 30
    patches = {one.name: one.patch(*shapes) for one in attacks()}
    assert [name for name, patch in patches.items() if not patch] == []
    assert not any(f"${word}" in patch for patch in patches.values() for word in ("SOURCE", "TEST", "ALL", "NAMES"))


@pytest.mark.parametrize("name", FORGERS)
def test_forgers_do_not_pass(name: str, toy: Case, sandbox: Sandbox) -> None:
    verdict = grade(toy[0], toy[1], _named(name).patch(*toy), sandbox)
    assert verdict.status == "failed"
    assert verdict.scores["forged"] >= 1


@pytest.mark.parametrize("name", FORGERS[1:3])
def test_without_the_impossible_tests_they_would(
    name: str, toy: Case, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grading, "suspicious", lambda patch: False)
    assert grade(toy[0], toy[1], _named(name).patch(*toy), sandbox).solved


@pytest.mark.slow
@pytest.mark.parametrize("package", ["toy", "shapes", "unittests"])
def test_nothing_but_a_fix_passes(package: str, sandbox: Sandbox, request: pytest.FixtureRequest) -> None:
    task, layer = request.getfixturevalue(package)
    tried: list[int] = []
    assert list(audit(task, layer, sandbox, tried=lambda: tried.append(1))) == []
    assert len(tried) >= 25


def test_an_audit_tells_what_is_wrong(toy: Case, sandbox: Sandbox) -> None:
    task, layer = toy
    honest = Attack("an honest fix", ({"do": "replace", "path": "$SOURCE", "pattern": "value < high",
                                       "text": "value > high"},))
    [finding] = audit(task, layer, sandbox, only=[honest])
    assert (finding.what, finding.grade.status) == ("an honest fix", "solved")
    swapped = task.model_copy(update={"gold_patch": "", "bug_patch": task.bug_patch})
    assert [one.what for one in audit(swapped, layer, sandbox, cheat=False)] == ["the gold patch"]


def test_a_suspicious_but_honest_fix_passes(toy: Case, sandbox: Sandbox) -> None:
    task, layer = toy
    before = (layer.root / "src/toy/stats.py").read_text().replace("value > high", "value < high")
    after = before.replace("value < high", "value > high").replace('"""Small statistics."""', '"""S."""\n\nimport os\n')
    patch = make_patch({"src/toy/stats.py": before}, {"src/toy/stats.py": after})
    assert suspicious(patch)
    verdict = grade(task, layer, patch, sandbox)
    assert verdict.solved, verdict


@pytest.mark.parametrize(("line", "found"), [
    ("    return value > high", False), ("    self.total = self.total + 1", False), ("    classes = imports", False),
    ("import os", True), ("    json.dumps = forge", True), ("    __eq__ = f", True), ("class Any:", True),
])  # fmt: skip
def test_what_is_suspicious(line: str, found: bool) -> None:
    assert suspicious(f"+++ b/import.py\n-import os\n+{line}\n import re\n") is found


def test_impossible_tests_keep_their_names_and_fail(tmp_path: Path) -> None:
    text = ("import unittest\nimport pytest\n\n\ndef test_plain():\n    assert len('ab') == 2\n\n\n"
            "def test_turned():\n    assert 2 == len('ab')\n\n\n"
            "def test_raises():\n    with pytest.raises(ValueError):\n        int('x')\n\n\n"
            "def helper():\n    return 1\n\n\n"
            "class Case(unittest.TestCase):\n    def test_equal(self):\n        self.assertEqual(len('ab'), 2)\n")
    changed = impossible(text, "nonce")
    assert changed.count("('nonce',)") == 4
    assert "len('ab') == ('nonce',)" in changed
    assert "('nonce',) == len('ab')" in changed
    assert "self.assertEqual(len('ab'), ('nonce',))" in changed
    space: dict[str, object] = {}
    exec(compile(changed, "x", "exec"), space)
    for name in ("test_plain", "test_turned", "test_raises"):
        with pytest.raises(AssertionError):
            space[name]()  # type: ignore[operator]
    assert space["helper"]() == 1  # type: ignore[operator]


def _named(name: str) -> Attack:
    return next(one for one in attacks() if one.name == name)
