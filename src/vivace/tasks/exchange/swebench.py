"""SWE-bench: rows (the twelve columns, and those that swebench 5 adds) and the task tree of swebench 5.

The tests that judge a task are not in the exported tree; `test_patch` brings them, over whatever the agent put there.
`vivace eval swebench-verified --data FOLDER` plays and grades an exported folder, with upstream's verdict on the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.files import atomic_write_text, read_json
from vivace.core.types import Task
from vivace.tasks.exchange import parts
from vivace.tasks.layers import Layer
from vivace.tasks.sources import Manifest

ROWS, REPOS = "data.jsonl", "repos"
CREATED = "2026-11-25T00:00:00Z"
MARK = "EOF_114329324912"
COLUMNS = ("repo", "instance_id", "base_commit", "patch", "test_patch", "problem_statement", "hints_text", "created_at",
           "version", "FAIL_TO_PASS", "PASS_TO_PASS", "environment_setup_commit")  # fmt: skip


def row_of(task: Task, layer: Layer) -> dict[str, Any]:
    """A task as a row.

    Raises:
        BadInput: the format has no place for it.
    """
    parts.refuse_unfit(task)
    tests = parts.test_patch(task, layer)
    return {
        "repo": f"vivace/{task.repo}", "instance_id": instance(task), "base_commit": parts.commit(task),
        "patch": task.gold_patch, "test_patch": tests, "problem_statement": task.problem_statement, "hints_text": "",
        "created_at": CREATED, "version": layer.source.version, "FAIL_TO_PASS": json.dumps(task.FAIL_TO_PASS),
        "PASS_TO_PASS": json.dumps(task.PASS_TO_PASS), "environment_setup_commit": parts.commit(task), "image": "",
        "eval_script": script(task, layer, tests), "log_parser": "parse_log_pytest", "eval_type": "pass_and_fail",
        parts.OWN: parts.own(task),
    }  # fmt: skip


def instance(task: Task) -> str:
    return f"vivace__{task.id}"


def script(task: Task, layer: Layer, tests: str) -> str:
    """What swebench runs in a workspace with the patch in it."""
    files = sorted(parts.hidden_tests(task, layer))
    wanted = " ".join(map(_quoted, [*task.test.args, *files]))
    return "\n".join([
        "#!/bin/bash", "set -uxo pipefail", f"rm -f {' '.join(map(_quoted, files))}",
        f"git apply -v - <<'{MARK}'", tests.rstrip("\n"), MARK, f'export PYTHONPATH="{parts.python_path(layer)}"',
        "export PYTHONHASHSEED=0 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1", ": '>>>>> Start Test Output'",
        f"python -m pytest -rA -o addopts= -p no:cacheprovider --no-header {wanted}", "SWEBENCH_TEST_EXIT_CODE=$?",
        ": '>>>>> End Test Output'", 'echo ">>>>> Test Exit Code: $SWEBENCH_TEST_EXIT_CODE"', "",
    ])  # fmt: skip


def task_of(row: Mapping[str, Any], manifest: Manifest, layers: Mapping[str, Layer]) -> Task:
    """The task of a row: one of ours whole, another's on the layer of its package, whose clean tree has to be the fixed
    state with the tests in it.

    Raises:
        BadInput: a column is missing, or there is no layer for it.
    """
    if missing := [name for name in COLUMNS if name not in row]:
        raise BadInput(f"no SWE-bench row: {missing[0]} is missing")
    if row.get(parts.OWN):
        return parts.taken_back(row[parts.OWN], row)
    env = parts.layer_of(manifest, row["repo"], str(row["version"]))
    return parts.foreign(row, env, manifest, bug=parts.undoing(layers[env], row["patch"]), gold=row["patch"],
                         family="repair")


def write_rows(tasks: Iterable[Task], layers: Mapping[str, Layer], out: Path) -> tuple[int, dict[str, str]]:
    """`data.jsonl` and a tree for each row in `repos`; how many, and {task: why it has no row}."""
    rows, refused = [], {}
    for task in tasks:
        try:
            rows.append(row_of(task, layers[task.env]))
        except BadInput as error:
            refused[task.id] = str(error).partition(": ")[2]
            continue
        target = out / REPOS / instance(task)
        if not target.exists():
            parts.write_tree(task, layers[task.env], target)
    atomic_write_text(out / ROWS, "".join(json.dumps(row) + "\n" for row in rows))
    return len(rows), refused


def write_task_tree(row: Mapping[str, Any], out: Path) -> Path:
    """`tasks/ID` of swebench 5, from a row."""
    folder = out / "tasks" / str(row["instance_id"])
    facts = {"instance_id": row["instance_id"], "repo": row["repo"], "version": row["version"],
             "base_commit": row["base_commit"], "split": "test", "image": row["image"],
             "log_parser": row["log_parser"], "eval_type": row["eval_type"], "datasets": ["vivace"]}
    texts = {
        "task.yaml": "".join(f"{key}: {json.dumps(value)}\n" for key, value in facts.items()),  # JSON is YAML
        "tests.json": json.dumps({key: json.loads(row[key]) for key in ("FAIL_TO_PASS", "PASS_TO_PASS")}, indent=1),
        "problem_statement.md": row["problem_statement"] + "\n", "hints.md": "", "gold.patch": row["patch"],
        "test.patch": row["test_patch"], "eval.sh": row["eval_script"], f"{parts.OWN}.json": row[parts.OWN],
    }  # fmt: skip
    for name, text in texts.items():
        atomic_write_text(folder / name, text)
    return folder


def read_task_tree(folder: Path) -> dict[str, Any]:
    """The row of a `tasks/ID` folder that was written here."""
    lines = (line.partition(": ") for line in (folder / "task.yaml").read_text().splitlines())
    facts = {key: json.loads(value) for key, _, value in lines}
    tests = read_json(folder / "tests.json", "export it again")
    texts = {"patch": "gold.patch", "test_patch": "test.patch", "hints_text": "hints.md", "eval_script": "eval.sh",
             parts.OWN: f"{parts.OWN}.json"}  # fmt: skip
    return {**{key: facts[key] for key in ("instance_id", "repo", "version", "base_commit", "image", "log_parser",
                                           "eval_type")},
            **{key: (folder / name).read_text() for key, name in texts.items()},
            **{key: json.dumps(tests[key]) for key in tests}, "created_at": CREATED,
            "environment_setup_commit": facts["base_commit"],
            "problem_statement": (folder / "problem_statement.md").read_text().removesuffix("\n")}  # fmt: skip


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
