"""What all formats need of a task: its tree without the tests that judge it, these tests as a patch, the row itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.files import digest
from vivace.core.types import Task, TestSpec
from vivace.sandbox import apply_patch, make_patch
from vivace.sandbox.patch import patched_paths, undo_patch
from vivace.tasks.forgery import test_path
from vivace.tasks.layers import Layer
from vivace.tasks.sources import Manifest
from vivace.tasks.workspaces import buggy_files, layer_files

META = ".meta"
"""Folder with the distribution's metadata, which packages ask for their version and entry points."""
OWN = "vivace"
"""Column or file with what a format has no place for, so that our own tasks come back whole."""
BY_TESTS = frozenset({"repair", "implement", "complete"})


def refuse_unfit(task: Task) -> None:
    """
    Raises:
        BadInput: tests alone do not decide, or are not pytest's, or have names that the parsers of others cut.
    """
    if task.family not in BY_TESTS:
        raise BadInput(f"{task.id}: of the family {task.family}, of which tests alone do not decide; this format has "
                       "no place for it")
    if task.test.runner != "pytest":
        raise BadInput(f"{task.id}: its tests run under {task.test.runner}; these formats want pytest")
    if spaced := [one for one in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS) if any(map(str.isspace, one))]:
        raise BadInput(f"{task.id}: the test id {spaced[0]!r} has blanks, at which log parsers cut it")


def hidden_tests(task: Task, layer: Layer) -> dict[str, str]:
    """{path: text} of the test files that judge it."""
    ids = (*task.FAIL_TO_PASS, *task.PASS_TO_PASS)
    return layer_files(layer, sorted({test_path(task, layer, one) for one in ids}))


def test_patch(task: Task, layer: Layer) -> str:
    """The patch that adds these files to the exported tree, which lacks them."""
    return make_patch({}, hidden_tests(task, layer))


def commit(task: Task) -> str:
    """A name of the state in the form of a commit: there is no history."""
    return digest([task.env, task.bug_patch], 40)


def write_tree(task: Task, layer: Layer, target: Path, *, hide: bool = True) -> None:
    """The tree as the agent is to find it, with the package's metadata in `META`; `hide`: without the judging tests."""
    shutil.copytree(layer.root, target, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
    shutil.copytree(layer.home / "meta", target / META)
    hidden = hidden_tests(task, layer) if hide else {}
    for path in hidden:
        (target / path).unlink()
    for path, text in buggy_files(task, layer).items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            (target / path).unlink(missing_ok=True)
        else:
            (target / path).write_bytes(text.encode())


def python_path(layer: Layer) -> str:
    """PYTHONPATH of a shell in the root of the tree."""
    parts = [str(PurePosixPath("$PWD") / part) if part != "." else "$PWD" for part in layer.source.python_path]
    return ":".join([*parts, f"$PWD/{META}"])


def own(task: Task) -> str:
    """The whole row, as text."""
    return task.model_dump_json()


def taken_back(text: str, row: Mapping[str, Any]) -> Task:
    """The row that an export kept; what the format itself says of it goes first.

    Raises:
        BadInput: damaged, or changed so that both do not agree.
    """
    try:
        task = Task.model_validate(json.loads(text))
    except ValueError as error:
        raise BadInput(f"{row.get('instance_id')}: its column {OWN} is damaged; export it again") from error
    return task.model_copy(update={"problem_statement": str(row["problem_statement"])})


def layer_of(manifest: Manifest, repo: str, version: str) -> str:
    """The environment that a foreign row of this repository belongs to.

    Raises:
        BadInput: the manifest has no such package.
    """
    name = repo.rsplit("/", 1)[-1].split("__")[-1].split(".")[0].lower()
    for package in manifest.package:
        if package.name.lower() == name and version in ("", package.version):
            return package.env
    raise BadInput(f"no package of the manifest is {repo} {version}".rstrip() + "; add it, with its sources pinned")


def foreign(row: Mapping[str, Any], env: str, manifest: Manifest, *, bug: str, gold: str, family: str) -> Task:
    """A task of a row that was not made here."""
    source = manifest.by_env(env)
    lists = [json.loads(row[key]) if isinstance(row[key], str) else list(row[key])
             for key in ("FAIL_TO_PASS", "PASS_TO_PASS")]  # fmt: skip
    return Task(
        id=str(row["instance_id"]), family=family, stage="imported", env=env, repo=source.name, split=source.role,
        licence=source.licence, problem_statement=str(row["problem_statement"]), bug_patch=bug, gold_patch=gold,
        FAIL_TO_PASS=lists[0], PASS_TO_PASS=lists[1], test=TestSpec(args=[*source.args]),
        provenance={"generator": "import", "instance_id": row["instance_id"]},
    )  # fmt: skip


def undoing(layer: Layer, patch: str) -> str:
    """The patch that takes a fix, which is in the layer's clean tree, out of it.

    Raises:
        BadInput: it is not in there.
    """
    fixed = layer_files(layer, patched_paths(patch))
    broken = {path: text for path, text in undo_patch(fixed, patch).items() if text is not None}
    return make_patch(fixed, broken)


def fixing(layer: Layer, patch: str) -> str:
    """The patch that leads from the tree that `patch` broke back to the layer's clean one.

    Raises:
        BadInput: it does not apply.
    """
    clean = layer_files(layer, patched_paths(patch))
    broken = {path: text for path, text in apply_patch(clean, patch).items() if text is not None}
    return make_patch(broken, clean)
