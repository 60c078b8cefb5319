from collections import Counter
from collections.abc import Iterator

import pytest

from vivace.sandbox import Sandbox, apply_patch, make_patch
from vivace.tasks import make
from vivace.tasks.candidates import Grounds
from vivace.tasks.cover import Survey, survey
from vivace.tasks.grade import grade
from vivace.tasks.layers import Layer
from vivace.tasks.make import Yield, make_tasks, ordered_map
from vivace.tasks.rows import package_rows
from vivace.tasks.statements import Suspect, leaks, names_machine, suspects
from vivace.tasks.workspaces import buggy_files, layer_files

STATS = "src/toy/stats.py"


def test_the_survey_keeps_what_passes_twice(layer: Layer, surveyed: Survey, sandbox: Sandbox) -> None:
    names = Counter(test.split("::")[1].split("[")[0] for test in surveyed.green)
    assert names["test_mean"] == 3
    assert not {"test_depends_on_the_hash_seed", "test_skipped"} & set(names)
    assert len(surveyed.green) == 15
    assert survey(layer, sandbox) == surveyed  # from the cache


def test_lines_are_known_by_whole_test_ids(layer: Layer, surveyed: Survey) -> None:
    line = (layer.root / STATS).read_text().split("\n").index("        return None") + 1
    assert surveyed.tests(STATS, line) == ["tests/test_stats.py::test_mean_of_nothing"]
    total = {test.split("[")[-1] for test in surveyed.tests(STATS, line + 1)}
    assert total == {"values0-3]", "values1-5]", "values2-2]"}
    assert line in surveyed.lines(STATS)
    assert 1 not in surveyed.lines(STATS)


def test_candidates_are_balanced_and_covered(layer: Layer, surveyed: Survey) -> None:
    found = list(Grounds(layer, surveyed).candidates(0))
    assert found == list(Grounds(layer, surveyed).candidates(0))
    assert len({(c.path, c.site) for c in found}) == len(found)
    assert max(Counter(c.function.qualname for c in found).values()) <= 4
    assert {c.function.name for c in found} == {"mean", "clamp", "longest", "shout", "initials"}
    assert all(c.tests and c.site.line in surveyed.lines(c.path) for c in found)
    assert len({c.site.operator for c in found}) >= 8


def test_simple_tasks(layer: Layer, surveyed: Survey, sandbox: Sandbox) -> None:
    tally = Yield()
    tasks = list(make_tasks(layer, surveyed, sandbox, 3, seed=1, tally=tally))
    assert len(tasks) == len({task.id for task in tasks}) == tally.admitted == 3
    assert tally.row()["candidates"] >= 3
    for task in tasks:
        [place] = suspects(task.problem_statement)
        assert (task.split, task.repo, task.stage, task.licence) == ("train", "toy-stats", "simple", "MIT")
        assert place.path == task.provenance["files"][0]
        assert place.name == task.provenance["functions"][0]
        assert task.FAIL_TO_PASS[0].split("[")[0] in task.problem_statement
        assert task.PASS_TO_PASS
        assert not set(task.FAIL_TO_PASS) & set(task.PASS_TO_PASS)
        clean = layer_files(layer, [place.path])
        buggy = buggy_files(task, layer)
        assert buggy != clean
        assert apply_patch({p: t for p, t in buggy.items() if t}, task.gold_patch) == clean


@pytest.mark.slow
def test_complex_tasks_need_both_fixes(layer: Layer, surveyed: Survey, sandbox: Sandbox) -> None:
    [task] = make_tasks(layer, surveyed, sandbox, 1, seed=2, stage="complex")
    names = [place.name for place in suspects(task.problem_statement)]
    assert set(task.provenance["functions"]) <= set(names)
    assert len(set(task.provenance["functions"])) == 2
    path, line = task.provenance["files"][0], task.provenance["lines"][0] - 1
    clean = layer_files(layer, [path])[path]
    buggy = buggy_files(task, layer)[path]
    assert buggy is not None
    half = buggy.split("\n")
    half[line] = clean.split("\n")[line]
    verdict = grade(task, layer, make_patch({path: buggy}, {path: "\n".join(half)}), sandbox)
    assert verdict.status == "failed"
    assert 0.0 < verdict.scores["f2p"] < 1.0


@pytest.mark.slow
def test_rows_of_a_package_use_different_bugs(layer: Layer, surveyed: Survey, sandbox: Sandbox) -> None:
    tally = Yield()
    rows = package_rows(layer, sandbox, 2, 1, seed=3, tally=tally)
    assert [row.stage for row in rows] == ["simple", "simple", "complex"]
    places = [(path, line) for row in rows for path, line in zip(row.provenance["files"], row.provenance["lines"])]
    assert len(places) == 4
    assert len({row.bug_patch for row in rows}) == 3
    assert tally.admitted == 3


def test_statements_do_not_tell_the_fix() -> None:
    assert leaks("it should be upper_bound", ["    return upper_bound"], "def f(low): return low")
    assert not leaks("it should be upper_bound", ["    return upper_bound"], "upper_bound = 3")
    assert not leaks("`f` in a.py is wrong", ["    return a < b"], "return a > b")


@pytest.mark.parametrize("text", [
    "fails with FileNotFoundError: '/home/ann/layers/toy-1/src/toy/data.txt'", "E /tmp/pytest-of-root/x", "(/srv/a/b)",
    "No module at file:///root/src/toy", "/opt/x/y.py:3: ValueError", "/workspaces/me/toy/a.py",
])  # fmt: skip
def test_a_path_of_the_machine_is_seen(text: str) -> None:
    assert names_machine(text)


@pytest.mark.parametrize("text", [
    "`f` in src/toy/a.py", "/workspace/src/toy/a.py:3: ValueError", "https://example.org/a/b", "assert 3 / 2 == 1.5",
    "../up/a/b", "either/or/both", "~/a/b/c", "assert '/' == '/a'", "tests/test_x.py::test_y[a/b/c]",
])  # fmt: skip
def test_other_slashes_are_not(text: str) -> None:
    assert not names_machine(text)


def test_a_statement_with_a_path_of_the_machine_is_rejected(
    layer: Layer, surveyed: Survey, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "simple_statement", lambda *_: "`f` in a.py fails: no file /home/ann/toy/data")
    candidate = next(Grounds(layer, surveyed).candidates(0))
    tally = Yield()
    with make.Maker(layer, surveyed, sandbox, tally=tally) as maker:
        bug = make.Planted(candidate, {candidate.tests[0]: "FileNotFoundError"}, ("tests/test_stats.py::test_mean",))
        assert list(maker.simple(1, [bug])) == []
    assert tally.rejected == {"statement holds a path of the machine": 1}


def test_places_are_found_in_a_statement() -> None:
    text = "x: y. Suspects: `one` in src/a.py, `two` in src/b-c/d.py, `one` in src/a.py. Or `three`."
    assert suspects(text) == [Suspect("one", "src/a.py"), Suspect("two", "src/b-c/d.py")]


def test_results_come_in_order_and_only_a_few_ahead() -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            asked.append(number)
            yield number

    results = ordered_map(lambda n: n * n, items(), 2)
    assert [next(results) for _ in range(4)] == [0, 1, 4, 9]
    results.close()
    assert len(asked) < 10
