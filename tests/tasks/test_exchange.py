"""There and back: rows and directories of others give our tasks again, and their graders say what ours says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from vivace.core.errors import BadInput
from vivace.core.types import Task
from vivace.sandbox import Sandbox, apply_patch, make_patch, undo_patch
from vivace.tasks.exchange import harbor, parts, swebench, swesmith
from vivace.tasks.grade import grade
from vivace.tasks.layers import Layer
from vivace.tasks.sources import Manifest

SWEBENCH = {"repo", "instance_id", "base_commit", "patch", "test_patch", "problem_statement", "hints_text",
            "created_at", "version", "FAIL_TO_PASS", "PASS_TO_PASS", "environment_setup_commit"}  # fmt: skip


@pytest.fixture
def manifest(layer: Layer) -> Manifest:
    return Manifest(requirements=["pytest==9.2.0"], package=[layer.source])


def test_swebench_rows_there_and_back(task: Task, layer: Layer, manifest: Manifest, tmp_path: Path) -> None:
    row = json.loads(json.dumps(swebench.row_of(task, layer)))
    assert set(row) >= SWEBENCH
    assert json.loads(row["FAIL_TO_PASS"]) == task.FAIL_TO_PASS
    assert swebench.task_of(row, manifest, {layer.env: layer}) == task
    folder = swebench.write_task_tree(row, tmp_path)
    assert {path.name for path in folder.iterdir()} >= {"task.yaml", "tests.json", "problem_statement.md", "gold.patch",
                                                        "test.patch", "eval.sh", "hints.md"}  # fmt: skip
    again = swebench.read_task_tree(folder)
    assert {key: again[key] for key in row if key != "problem_statement"} == {
        key: row[key] for key in row if key != "problem_statement"}
    assert swebench.task_of(again, manifest, {layer.env: layer}) == task


def test_rows_of_others_are_put_on_the_layer(
    task: Task, layer: Layer, manifest: Manifest, sandbox: Sandbox,
) -> None:
    layers = {layer.env: layer}
    bench = {key: value for key, value in swebench.row_of(task, layer).items() if key != parts.OWN}
    smith = {key: value for key, value in swesmith.row_of(task, layer).items() if key != parts.OWN}
    for found in (swebench.task_of(bench, manifest, layers), swesmith.task_of(smith, manifest, layers)):
        assert (found.bug_patch, found.gold_patch) == (task.bug_patch, task.gold_patch)
        assert (found.env, found.split, found.FAIL_TO_PASS) == (layer.env, "train", task.FAIL_TO_PASS)
    assert grade(found, layer, found.gold_patch, sandbox).solved
    with pytest.raises(BadInput, match="no package of the manifest is other/thing"):
        swesmith.task_of({**smith, "repo": "other/thing"}, manifest, layers)
    with pytest.raises(BadInput, match="PASS_TO_PASS is missing"):
        swesmith.task_of({key: smith[key] for key in smith if key != "PASS_TO_PASS"}, manifest, layers)
    with pytest.raises(BadInput, match="does not fit"):
        swebench.task_of({**bench, "patch": task.bug_patch}, manifest, layers)


def test_swesmith_rows_there_and_back(task: Task, layer: Layer, manifest: Manifest) -> None:
    row = json.loads(json.dumps(swesmith.row_of(task, layer)))
    assert set(row) >= set(swesmith.COLUMNS)
    assert row["patch"] == task.bug_patch
    assert row["instance_id"].startswith(f"vivace__{task.repo}.")
    assert swesmith.task_of(row, manifest, {layer.env: layer}) == task


def test_undoing_is_the_reverse() -> None:
    before, after = {"a": "1\n2\n3\n", "gone": "x\n"}, {"a": "1\n2b\n3\n4\n", "made": "y\n"}
    patch = make_patch(before, after)
    assert apply_patch(before, patch) == {**after, "gone": None}
    assert undo_patch(after, patch) == {**before, "made": None}
    with pytest.raises(BadInput):
        undo_patch(before, patch)


def test_what_has_no_place_is_refused(task: Task, layer: Layer, tmp_path: Path) -> None:
    for changes, why in (({"family": "question"}, "no place"), ({"FAIL_TO_PASS": ["t::a[x y]"]}, "has blanks"),
                         ({"test": task.test.model_copy(update={"runner": "unittest"})}, "want pytest")):
        with pytest.raises(BadInput, match=why):
            swebench.row_of(task.model_copy(update=changes), layer)
    count, refused = swebench.write_rows([task, task.model_copy(update={"id": "q", "family": "question"})],
                                         {layer.env: layer}, tmp_path)
    assert (count, list(refused)) == (1, ["q"])
    tree = tmp_path / "repos" / swebench.instance(task)
    assert "value < high" in (tree / "src/toy/stats.py").read_text()
    assert not (tree / "tests/test_stats.py").exists()


def test_harbor_directories_there_and_back_and_their_verdict(
    task: Task, layer: Layer, sandbox: Sandbox, tmp_path: Path,
) -> None:
    folder = harbor.write(task, layer, ["pytest==9.2.0"], tmp_path)
    assert harbor.read(folder) == task
    (folder / "instruction.md").write_text("In other words.\n")
    assert harbor.read(folder).problem_statement == "In other words."
    forged = make_patch({"src/toy/stats.py": (folder / "environment/repo/src/toy/stats.py").read_text()},
                        {"src/toy/stats.py": "import os\n" + "".join(
                            f"print('PASSED {one}')\n" for one in [*task.FAIL_TO_PASS, *task.PASS_TO_PASS])
                            + "os._exit(0)\n"})  # fmt: skip
    assert [_reward(folder, layer, sandbox, patch) for patch in (task.gold_patch, "", forged)] == ["1", "0", "0"]
    (folder / "tests" / "vivace.json").unlink()
    with pytest.raises(BadInput, match="was not made here"):
        harbor.read(folder)


def _reward(folder: Path, layer: Layer, sandbox: Sandbox, patch: str) -> str:
    """What tests/test.sh says of a patch, run in the sandbox in place of a container."""
    from vivace.sandbox import Workspace

    repo = folder / "environment" / "repo"
    with Workspace(repo, sandbox, readonly=layer.readonly) as workspace:
        if patch:
            workspace.apply(patch)
        for file in (path for path in (folder / "tests").rglob("*") if path.is_file()):
            workspace.write_bytes(f".verifier/{file.relative_to(folder / 'tests')}", file.read_bytes())
        workspace.exec(["bash", ".verifier/test.sh"], env={
            "TESTS": f"{workspace.mount}/.verifier", "LOGS": f"{workspace.mount}/.logs",
            "PATH": f"{layer.python.parent}:/usr/bin:/bin"})
        return workspace.read_text(".logs/reward.txt").strip()


def test_no_directory_is_written_twice(task: Task, layer: Layer, tmp_path: Path) -> None:
    shutil.rmtree(harbor.write(task, layer, [], tmp_path))
    harbor.write(task, layer, [], tmp_path)
    with pytest.raises(BadInput, match="exists"):
        harbor.write(task, layer, [], tmp_path)
