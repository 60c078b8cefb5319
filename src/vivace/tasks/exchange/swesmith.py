"""SWE-smith: rows whose `patch` makes the bug; the fix is its reverse. Tests are in the tree and seen by the agent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.files import digest
from vivace.core.types import Task
from vivace.tasks.exchange import parts
from vivace.tasks.exchange.swebench import CREATED
from vivace.tasks.layers import Layer
from vivace.tasks.sources import Manifest

COLUMNS = ("instance_id", "patch", "FAIL_TO_PASS", "PASS_TO_PASS", "image_name", "repo", "problem_statement")
_KINDS = {"simple": "pm", "complex": "combine_file", "cross_file": "combine_module", "function": "func_rm",
          "feature": "feature_rm"}  # fmt: skip


def row_of(task: Task, layer: Layer) -> dict[str, Any]:
    """A task as a row; `instance_id` is repository.commit.kind__hash, as there.

    Raises:
        BadInput: the format has no place for it.
    """
    parts.refuse_unfit(task)
    mirror = f"vivace__{task.repo}.{digest(task.env, 8)}"
    kind = _KINDS.get(task.stage, task.stage)
    if kind == "pm":
        kind = f"func_pm_{(task.provenance.get('operators') or ['change'])[0]}"
    return {
        "instance_id": f"{mirror}.{kind}__{digest(task.bug_patch, 8)}", "repo": f"swesmith/{mirror}",
        "patch": task.bug_patch, "FAIL_TO_PASS": list(task.FAIL_TO_PASS), "PASS_TO_PASS": list(task.PASS_TO_PASS),
        "created_at": CREATED, "image_name": f"swesmith.x86_64.{mirror.lower()}", "base_commit": parts.commit(task),
        "problem_statement": task.problem_statement, parts.OWN: parts.own(task),
    }  # fmt: skip


def task_of(row: Mapping[str, Any], manifest: Manifest, layers: Mapping[str, Layer]) -> Task:
    """The task of a row: one of ours whole, another's on the layer of its package, if its patch fits that version.

    Raises:
        BadInput: a column is missing, there is no layer for it, or the patch does not fit.
    """
    if missing := [name for name in COLUMNS if name not in row]:
        raise BadInput(f"no SWE-smith row: {missing[0]} is missing")
    if row.get(parts.OWN):
        return parts.taken_back(row[parts.OWN], row)
    env = parts.layer_of(manifest, row["repo"], "")
    told = dict(row) | {"FAIL_TO_PASS": _listed(row["FAIL_TO_PASS"]), "PASS_TO_PASS": _listed(row["PASS_TO_PASS"])}
    return parts.foreign(told, env, manifest, bug=row["patch"], gold=parts.fixing(layers[env], row["patch"]),
                         family="repair")


def _listed(value: Any) -> list[str]:
    return list(json.loads(value)) if isinstance(value, str) else list(value)
