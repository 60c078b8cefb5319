"""Every family on one package: what is made holds, the expert solves it, what only looks like a solution does not."""

from __future__ import annotations

import pytest
from demonstrations import demonstrated, first

from vivace.core.errors import BadInput
from vivace.core.types import Grade, Task
from vivace.sandbox import apply_patch, make_patch
from vivace.tasks.families import FAMILIES, Bench, family_of
from vivace.tasks.families.question import matches
from vivace.tasks.grade import grade
from vivace.tasks.workspaces import buggy_files, layer_files

PRICES, LABELS = "src/wares/prices.py", "src/wares/labels.py"


def _edited(task: Task, bench: Bench, *changes: tuple[str, str, str]) -> str:
    """A patch on the task's tree: (path, old, new)."""
    paths = sorted({path for path, _, _ in changes})
    before = layer_files(bench.layer, paths) | {k: v for k, v in buggy_files(task, bench.layer).items() if v}
    after = dict(before)
    for path, old, new in changes:
        assert old in after.get(path, ""), old
        after[path] = after[path].replace(old, new)
    return make_patch(before, after)


def _verdict(task: Task, bench: Bench, patch: str) -> Grade:
    return grade(task, bench.layer, patch, bench.sandbox)


def _check_ends(task: Task, bench: Bench) -> None:
    assert _verdict(task, bench, task.gold_patch).solved
    assert _verdict(task, bench, "").status == "failed"
    assert not family_of(task).rejection(task, bench.layer, bench.sandbox)


def test_an_unknown_family_is_refused(bench: Bench) -> None:
    task = first(bench, "question", "definition")
    with pytest.raises(BadInput, match="no family 'cooking'"):
        family_of(task.model_copy(update={"family": "cooking"}))


def test_repair_and_its_expert(bench: Bench) -> None:
    task = first(bench, "repair")
    assert (task.family, task.stage, task.repo, task.split) == ("repair", "simple", "wares", "train")
    assert task.provenance["generator"] == "vivace.tasks.make/1"
    _check_ends(task, bench)
    trajectory, verdict = demonstrated(task, bench, "direct", "nano")
    assert verdict.solved, trajectory.messages


def test_implement_one_function(bench: Bench) -> None:
    task = first(bench, "implement", "function", lambda hole: [body.name for body in hole.bodies] == ["discount"])
    broken = buggy_files(task, bench.layer)[PRICES] or ""
    assert '    """Price less a discount, never below 1."""\n    raise NotImplementedError\n' in broken
    assert "left = price - less" not in broken
    assert len(task.FAIL_TO_PASS) == 2
    assert all("TestDiscount" in test for test in task.FAIL_TO_PASS)
    _check_ends(task, bench)
    half = _edited(task, bench, (PRICES, "raise NotImplementedError", "return price"))
    assert _verdict(task, bench, half).scores["f2p"] == 0.5
    other = _edited(task, bench, (PRICES, "raise NotImplementedError", "return max(1, price - _share(price, percent))"))
    assert _verdict(task, bench, other).solved
    assert demonstrated(task, bench, "read", "nano")[1].solved


@pytest.mark.slow
def test_implement_a_feature(bench: Bench) -> None:
    task = first(bench, "implement", "feature", lambda hole: hole.group)
    assert len(task.provenance["functions"]) >= 2
    assert (buggy_files(task, bench.layer)[LABELS] or "").count("raise NotImplementedError") >= 2
    _check_ends(task, bench)
    assert demonstrated(task, bench, "direct", "copilot")[1].solved


@pytest.mark.slow
def test_rename(bench: Bench) -> None:
    task = first(bench, "refactor", "rename", lambda change: (change.kind, change.name) == ("rename", "_share"))
    new = task.check["new"]
    assert new not in "".join(bench.grounds.texts.values())
    assert task.bug_patch == ""
    after = apply_patch(layer_files(bench.layer, [PRICES]), task.gold_patch)[PRICES] or ""
    assert after.count(new) == 3
    assert "_share(" not in after.replace(new, "")
    _check_ends(task, bench)
    head = (PRICES, "def _share", f"def {new}")
    assert "still there" in _verdict(task, bench, _edited(task, bench, head)).detail
    alias = _edited(task, bench, head, (PRICES, "\n\ndef gross", f"\n\n_share = {new}\n\n\ndef gross"))
    assert _verdict(task, bench, alias).scores == {**_verdict(task, bench, alias).scores, "static": 0.0, "p2p": 1.0}
    looked_up = _edited(task, bench, head, (PRICES, "_share(net", f"{new}(net"),
                        (PRICES, "_share(price", f"{new}(price"),
                        (PRICES, "\n\ndef gross", f"\n\nglobals()['_share'] = {new}\n\n\ndef gross"))
    assert not _verdict(task, bench, looked_up).solved
    wrapped = _edited(task, bench, ("src/wares/prices.py", "_share", new), (PRICES, f"def {new}(amount, percent)",
                                                                           f"def {new}(amount, percent, *more)"))
    assert "signature" in _verdict(task, bench, wrapped).detail
    assert demonstrated(task, bench, "read", "nano")[1].solved


@pytest.mark.slow
def test_a_parameter_becomes_keyword_only(bench: Bench) -> None:
    task = first(bench, "refactor", "keyword_only",
                 lambda change: (change.kind, change.name) == ("keyword_only", "_joined"))
    after = apply_patch(layer_files(bench.layer, [LABELS]), task.gold_patch)[LABELS] or ""
    assert "def _joined(parts, *, sep):" in after
    assert 'amount], sep=" ")' in after
    _check_ends(task, bench)
    definition = (LABELS, "_joined(parts, sep)", "_joined(parts, *, sep)")
    assert not _verdict(task, bench, _edited(task, bench, definition)).solved  # the caller breaks
    loose = _edited(task, bench, (LABELS, "_joined(parts, sep)", '_joined(parts, *, sep=" ")'),
                    (LABELS, 'amount], " ")', "amount])"))
    assert _verdict(task, bench, loose).scores["static"] == 0.0
    assert demonstrated(task, bench, "direct", "nano")[1].solved


def test_what_tests_name_is_not_refactored(bench: Bench) -> None:
    names = {change.name for change in FAMILIES["refactor"].candidates(bench)}
    assert names == {"_share", "_joined"}


@pytest.mark.slow
def test_test_writing(bench: Bench) -> None:
    task = first(bench, "test-writing", where=lambda one: one.function.name == "short")
    file = task.check["test_file"]
    assert file.startswith("tests/test_short_case")
    assert not (bench.layer.root / file).exists()
    _check_ends(task, bench)

    def verdict(text: str, path: str = file) -> Grade:
        return _verdict(task, bench, make_patch({}, {path: text}))

    assert "does not pass" in verdict("def test_it():\n    assert 1 == 2\n").detail
    assert "does not fail" in verdict("def test_it():\n    assert 1 == 1\n").detail
    assert verdict("x = 1\n").status == "failed"
    assert "there is no" in verdict("def test_it():\n    assert 1 == 1\n", "tests/test_other.py").detail
    peek = ("import inspect\nfrom wares import labels\n\n\n"
            "def test_it():\n    assert 'limit' in inspect.getsource(labels)\n")
    assert "look at it" in verdict(peek).detail
    broken_import = "from wares.labels import nothing\n\n\ndef test_it():\n    assert nothing\n"
    assert verdict(broken_import).status == "failed"
    assert demonstrated(task, bench, "read", "nano")[1].solved


@pytest.mark.parametrize("stage", ["definition", "callers", "default", "returns"])
def test_questions(stage: str, bench: Bench) -> None:
    task = first(bench, "question", stage, lambda fact: fact.kind == stage)
    assert (task.bug_patch, task.gold_patch, task.FAIL_TO_PASS) == ("", "", [])
    trajectory, verdict = demonstrated(task, bench, "direct", "nano-ask")
    assert verdict.solved, trajectory.answer()
    wrong = trajectory.model_copy(update={"messages": trajectory.messages[:-1]})
    from vivace.tasks.grade import grade_trajectory

    assert not grade_trajectory(task, bench.layer, wrong, bench.sandbox).solved
    touched = trajectory.model_copy(update={"patch": "anything"})
    assert "changed" in grade_trajectory(task, bench.layer, touched, bench.sandbox).detail


def test_answers_are_facts_of_the_package(bench: Bench) -> None:
    from vivace.tasks.families.question import Question

    facts = {(fact.kind, fact.name, fact.detail): fact.answer for fact in Question().candidates(bench)}
    assert facts["callers", "_share", ""] == (f"{PRICES}:gross", f"{PRICES}:discount")
    line = (bench.layer.root / LABELS).read_text().split("\n").index("def short(name, limit=5):") + 1
    assert facts["definition", "short", ""] == (f"{LABELS}:{line}",)
    assert facts["default", "short", "limit"] == ("5",)
    assert facts["default", "gross", "kind"] == ("'other'",)
    task = first(bench, "question", "returns", lambda fact: (fact.kind, fact.name) == ("returns", "gross"))
    assert task.check["answer"][0] in ("107", "119", "219")
    assert "gross(" in task.problem_statement


@pytest.mark.parametrize(("answer", "want", "mode", "right"), [
    ("`a/b.py:3`.", ["a/b.py:3"], "exact", True), ("It is\na/b.py:3", ["a/b.py:3"], "exact", True),
    ("a/b.py:33", ["a/b.py:3"], "exact", False), ("", ["x"], "exact", False),
    ('"x"', ["'x'"], "value", True), ("1", ["True"], "value", False), ("1.0", ["1"], "value", False),
    ("{'b': 1, 'a': 2}", ["{'a': 2, 'b': 1}"], "value", True), ("[1, 2", ["[1, 2]"], "value", False),
    ("- a:f\n- a:g", ["a:g", "a:f"], "set", True), ("The callers:\n1. `a:f`", ["a:f"], "set", True),
    ("a:f\na:g\na:h", ["a:f", "a:g"], "set", False), ("a:f", ["a:f", "a:g"], "set", False), ("", ["a:f"], "set", False),
])  # fmt: skip
def test_matching(answer: str, want: list[str], mode: str, right: bool) -> None:
    assert matches(answer, want, mode) is right
