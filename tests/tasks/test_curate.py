"""What is published: each step drops what it says, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import toy_package as toy

from vivace.core.errors import BadInput
from vivace.core.files import append_jsonl
from vivace.core.types import Task
from vivace.tasks.curate import (
    Caps,
    Grams,
    borrowed_from,
    curate,
    function_digests,
    largest_cap,
    normalised,
    statistics,
)
from vivace.tasks.forge import manifest_text
from vivace.tasks.layers import Layer
from vivace.tasks.pack import pack
from vivace.tasks.registry import read_tasks, write_tasks
from vivace.tasks.sources import Manifest, load_manifest, sdist_name

PATCH = "--- a/m.py\n+++ b/m.py\n@@ -1,1 +1,1 @@\n-    return {}\n+    return {}\n"
LOOSE = Caps(function=99, same_tests=99, operator_share=1.0, repo_share=1.0)


def _task(name: str, repo: str = "one", old: str = "a", new: str = "b", function: str = "f", test: str = "t",
          operator: str = "swap", statement: str = "Fix it.", split: str = "train") -> Task:
    return Task(id=name, env=f"{repo}-1", repo=repo, split=split, licence="MIT",  # type: ignore[arg-type]
                problem_statement=statement, bug_patch=PATCH.format(old, new), gold_patch=PATCH.format(new, old),
                FAIL_TO_PASS=[test], PASS_TO_PASS=["u"],
                provenance={"functions": [function], "files": ["m.py"], "operators": [operator]})  # fmt: skip


def _many(repo: str, count: int, operator: str = "swap") -> list[Task]:
    return [_task(f"{repo}-{n}", repo, "a" + " + a" * n, "b", f"f{n}", f"t{n}", operator) for n in range(count)]


def test_doubles_and_functions() -> None:
    same = [_task("1"), _task("2"), _task("3", old="x", new="y"), _task("4", old="x and z", new="y"),
            _task("5", function="g", old="not x", new="y")]  # fmt: skip
    found = curate(same, LOOSE)
    assert [task.id for task in found.parts["train"]] == ["1", "4", "5"]
    assert found.dropped == {"the same task": 1, "the same edit but for names and values": 1}
    tight = curate([*_many("one", 1), *(_task(f"x{n}", old="c" + " - c" * n, test=f"u{n}") for n in range(5))],
                   Caps(function=3, same_tests=9, operator_share=1, repo_share=1))  # fmt: skip
    assert tight.dropped == {"enough of that function": 2}
    alike = curate([_task(f"x{n}", old="a" + " - a" * n) for n in range(5)],
                   Caps(function=9, same_tests=2, operator_share=1, repo_share=1))  # fmt: skip
    assert alike.dropped == {"enough with these failing tests": 3}


def test_repositories_are_on_one_side_and_benchmarks_on_none() -> None:
    rows = [*_many("one", 3), *_many("two", 2), *_many("Django", 2), _task("e", "held", split="eval")]
    found = curate(rows, LOOSE, valid=["two"])
    assert {part: {task.repo for task in tasks} for part, tasks in found.parts.items()} == {
        "train": {"one"}, "valid": {"two"}}
    assert found.dropped == {"a benchmark's repository": 2, "of the evaluation split": 1}


def test_no_repository_and_no_operator_has_more_than_its_share() -> None:
    rows = [*_many("big", 60, "swap"), *_many("mid", 20, "drop"), *_many("small", 10, "flip")]
    found = curate(rows, Caps(99, 99, operator_share=1.0, repo_share=0.5))
    counts = {repo: sum(task.repo == repo for task in found.parts["train"]) for repo in ("big", "mid", "small")}
    assert counts == {"big": 30, "mid": 20, "small": 10}
    assert found.dropped == {"over the share of its repository": 30}
    assert curate(rows, Caps(99, 99, 0.5, 1.0)).dropped == {"over the share of its operator": 30}
    few = curate(rows, Caps(99, 99, 1.0, 0.2))
    assert few.dropped == {}
    assert few.notes == ["no cap by repository: 3 cannot each have at most 20%"]
    assert curate(rows[::-1], Caps(99, 99, 1.0, 0.5)).parts == found.parts  # their order says nothing


@pytest.mark.parametrize(("counts", "share", "cap"), [
    ([10, 10], 0.5, 10), ([30, 10], 0.5, 10), ([5, 5, 5], 0.2, None), ([100, 1, 1], 0.4, 1), ([7], 1.0, 7),
])  # fmt: skip
def test_the_largest_cap(counts: list[int], share: float, cap: int | None) -> None:
    assert largest_cap(counts, share) == cap


def test_runs_of_tokens_in_common(tmp_path: Path) -> None:
    long = "sum(x for x in values if x > low and x < high)"
    told = "The parser loses the last line of every file that ends without a newline"
    path = tmp_path / "rows.jsonl"
    append_jsonl(path, {"patch": f"+++ b/q.py\n+    total = {long}\n", "problem_statement": told})
    append_jsonl(path, {"gold_patch": "", "problem_statement": "Our own words, as all rows have them, word by word.",
                        "provenance": {}})  # fmt: skip
    grams = Grams.of_files([path])
    rows = [_task("code", old="0", new=long), _task("prose", old="1", new="2", statement=f"Please: {told}."),
            _task("short", old="3", new="sum(x for x in values)", function="g", statement="The parser loses a line."),
            _task("ours", old="4 and 4", new="5", statement="Our own words, as all rows have them, word by word.")]
    found = curate(rows, LOOSE, grams=grams)
    assert [task.id for task in found.parts["train"]] == ["ours", "short"]
    assert found.dropped == {"shares code with a benchmark": 1, "shares prose with a benchmark": 1}
    with pytest.raises(BadInput, match="no rows at"):
        Grams.of_files([tmp_path / "none.jsonl"])


def test_borrowed_functions(layer: Layer, tmp_path: Path) -> None:
    known = function_digests(layer)
    copy = layer.root / "src/toy/stats.py"
    assert len({known["src/toy/stats.py", name] for name in ("mean", "clamp", "longest")}) == 3
    renamed = copy.read_text().replace("value", "item").replace("low=0", "low=7").replace("return low", "return low")
    home = tmp_path / "other"
    (home / "tree/src/toy").mkdir(parents=True)
    (home / "tree/src/toy/stats.py").write_text(renamed.split("def longest")[0])
    other = Layer(layer.source, home, layer.python)
    borrowed = borrowed_from({layer.env: layer}, [other])
    row = _task("x").model_copy(update={"env": layer.env})

    def asked(name: str) -> bool:
        where = {"files": ["src/toy/stats.py"], "functions": [name]}
        return borrowed(row.model_copy(update={"provenance": where}))

    assert asked("clamp")
    assert not asked("longest")


def test_a_folder_becomes_a_registry(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sdist = toy.pack(tmp_path)
    source = toy.source(sdist)
    sdist.rename(tmp_path / sdist_name(source))
    (tmp_path / "packages.toml").write_text(manifest_text(Manifest(requirements=[], package=[source])))
    monkeypatch.setattr("vivace.tasks.layers.build_environment", lambda manifest: Path(sys.executable))
    row = task.model_copy(update={"env": source.env})
    (tmp_path / "farm" / "toy").mkdir(parents=True)
    write_tasks(tmp_path / "farm" / "toy" / "tasks.jsonl", [row, row.model_copy(update={"id": "again"})])
    report = pack([tmp_path / "farm"], tmp_path / "out", load_manifest(tmp_path / "packages.toml"))
    assert report["tasks"] == {"train": 1, "valid": 0}
    assert report["dropped"] == {"the same task": 1}
    [back] = read_tasks(tmp_path / "out" / "train")
    assert back.id in (row.id, "again")
    assert set(back.PASS_TO_PASS) == set(row.PASS_TO_PASS)
    again = pack([tmp_path / "farm"], tmp_path / "twice", load_manifest(tmp_path / "packages.toml"))
    assert again["digest"] == report["digest"]
    with pytest.raises(BadInput, match="no task rows in"):
        pack([tmp_path / "nothing"], tmp_path / "out", load_manifest(tmp_path / "packages.toml"))


def test_shapes_of_patches_and_counts() -> None:
    assert normalised(PATCH.format("a + 1", "'x'")) == normalised(PATCH.format("b + 22", '"yy"'))
    assert normalised(PATCH.format("a + 1", "b")) != normalised(PATCH.format("a - 1", "b"))
    assert normalised(PATCH.format("a and b", "a")) != normalised(PATCH.format("a or b", "a"))
    counted = statistics(curate(_many("one", 3), LOOSE))
    assert counted["tasks"] == {"train": 3, "valid": 0}
    assert counted["family"] == {"repair/simple": 3}
    assert counted["operator"] == {"swap": 3}
