"""A task as the harness sees it: a workspace whose base is the layer with the bug in it, and its tests."""

from __future__ import annotations

from vivace.core.errors import BadInput
from vivace.core.types import Task
from vivace.harness.environment import Environment, TestCache, task_environment
from vivace.sandbox import Sandbox, WarmTests, Workspace, apply_patch
from vivace.sandbox.patch import patched_paths
from vivace.tasks.layers import Layer


def open_task(
    task: Task, layer: Layer, sandbox: Sandbox, *, cache: TestCache | None = None, warm: WarmTests | None = None
) -> Environment:
    """A fresh environment for one attempt; the caller closes `environment.workspace`.

    The bug is part of the base, so `workspace.diff()` shows only what the agent did. There is no history, no bytecode
    of the clean source and no other copy of the package to look the answer up in. Tests are visible, and restored by
    grading.

    Raises:
        BadInput: the task is of another layer, or its bug does not fit.
    """
    workspace = open_workspace(layer, sandbox, buggy_files(task, layer))
    return task_environment(workspace, task, layer.python, cache=cache, warm=warm)


def open_workspace(layer: Layer, sandbox: Sandbox, files: dict[str, str | None]) -> Workspace:
    """The layer's tree with these files instead of its own (None: without that file), as the base."""
    present = {path: text.encode() for path, text in files.items() if text is not None}
    workspace = layer.workspace(sandbox, overlay=present)
    for path, text in files.items():
        if text is None and workspace.exists(path):
            workspace.delete(path)
    return workspace


def buggy_files(task: Task, layer: Layer) -> dict[str, str | None]:
    """The files that the task's bug changes, with their text as the agent finds it."""
    if task.env != layer.env:
        raise BadInput(f"task {task.id} belongs to {task.env}, not to {layer.env}; build the layers of its manifest")
    return apply_patch(layer_files(layer, patched_paths(task.bug_patch)), task.bug_patch)


def layer_files(layer: Layer, paths: list[str]) -> dict[str, str]:
    """Texts of those of `paths` that the clean tree has."""
    inside = [path for path in paths if not path.startswith("/") and ".." not in path.split("/")]
    return {path: _text(layer, path) for path in inside if (layer.root / path).is_file()}


def _text(layer: Layer, path: str) -> str:
    try:
        return (layer.root / path).read_bytes().decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text; only text files can be patched") from error
