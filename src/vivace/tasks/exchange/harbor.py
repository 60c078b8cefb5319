"""Harbor (Terminal-Bench 2): a directory a task. Judged by tests or by files; both run where the agent cannot reach.

instruction.md, task.toml, environment/ (Dockerfile and the tree), tests/test.sh (with what it needs),
solution/solve.sh. `tests` is laid over the container after the agent has ended; it writes reward.txt. TESTS and LOGS
name other places than /tests and /logs/verifier, for a check without a container.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.core.files import atomic_write_text, read_json
from vivace.core.types import Task
from vivace.tasks import statecheck
from vivace.tasks.chores import DESK
from vivace.tasks.exchange import parts
from vivace.tasks.layers import Layer

SCHEMA = "1.1"
_HEAD = '#!/bin/bash\nset -u\nTESTS="${TESTS:-/tests}"\nLOGS="${LOGS:-/logs/verifier}"\nmkdir -p "$LOGS"\n'
_TAIL = 'if [ "$solved" = 0 ]; then echo 1; else echo 0; fi > "$LOGS/reward.txt"\n'


def write(task: Task, layer: Layer, requirements: list[str], out: Path) -> Path:
    """The directory `out/ID`.

    Raises:
        BadInput: the format has no place for the task.
    """
    if task.family != "terminal":
        parts.refuse_unfit(task)
    folder = out / task.id
    if folder.exists():
        raise BadInput(f"{folder} exists; export into an empty folder")
    parts.write_tree(task, layer, folder / "environment" / "repo", hide=task.family != "terminal")
    texts = {
        "instruction.md": task.problem_statement + "\n", "task.toml": _toml(task), "tests/test.sh": _test(task, layer),
        f"tests/{parts.OWN}.json": parts.own(task) + "\n",
        "environment/requirements.txt": "".join(f"{one}\n" for one in requirements),
        "environment/Dockerfile": "FROM python:3.11-slim\nRUN apt-get update && apt-get install -y git\n"
        "COPY requirements.txt /tmp/\nRUN pip install --no-cache-dir -r /tmp/requirements.txt\nCOPY repo /workspace\n"
        "WORKDIR /workspace\n",
        "solution/solve.sh": f"#!/bin/bash\ngit apply - <<'EOF_GOLD'\n{task.gold_patch}EOF_GOLD\n",
    }  # fmt: skip
    if task.family == "terminal":
        texts["tests/statecheck.py"] = Path(statecheck.__file__).read_text()
        texts["tests/wishes.json"] = json.dumps(task.check["wishes"], indent=1) + "\n"
    else:
        texts |= {f"tests/files/{path}": text for path, text in parts.hidden_tests(task, layer).items()}
        texts["tests/expected.json"] = json.dumps([*task.FAIL_TO_PASS, *task.PASS_TO_PASS]) + "\n"
    for name, text in texts.items():
        atomic_write_text(folder / name, text)
        if name.endswith(".sh"):
            (folder / name).chmod(0o755)
    return folder


def read(folder: Path) -> Task:
    """The task of a directory that was written here.

    Raises:
        BadInput: it was made by others: what decides there is a script that only a container can run.
    """
    kept = folder / "tests" / f"{parts.OWN}.json"
    if not kept.exists():
        raise BadInput(f"{folder} was not made here; its tests need its own container, which Vivace does not run")
    row: dict[str, Any] = read_json(kept, "export it again")
    statement = (folder / "instruction.md").read_text().removesuffix("\n")
    return parts.taken_back(json.dumps(row), {"instance_id": folder.name, "problem_statement": statement})


def _toml(task: Task) -> str:
    words = json.dumps(sorted({task.family, task.stage, task.repo}))
    return (f'schema_version = "{SCHEMA}"\n\n[task]\nname = {json.dumps(f"vivace/{task.id}")}\ndescription = '
            f"{json.dumps(' '.join(task.problem_statement.split())[:120], ensure_ascii=True)}\nkeywords = {words}\n\n"
            f"[metadata]\nlicence = {json.dumps(task.licence)}\n\n[agent]\ntimeout_sec = 1800.0\n\n[verifier]\n"
            'timeout_sec = 600.0\nenvironment_mode = "separate"\n\n[environment]\nbuild_timeout_sec = 600.0\ncpus = 1\n'
            "memory_mb = 2048\nstorage_mb = 4096\nallow_internet = false\n")  # fmt: skip


def _test(task: Task, layer: Layer) -> str:
    if task.family == "terminal":
        return f'{_HEAD}python3 "$TESTS/statecheck.py" {DESK} "$TESTS/wishes.json"\nsolved=$?\n{_TAIL}'
    files = sorted(parts.hidden_tests(task, layer))
    args = " ".join(f"'{one}'" for one in [*task.test.args, *files])
    copies = "".join(f"mkdir -p '{Path(path).parent}'; cp -f \"$TESTS/files/{path}\" '{path}'\n" for path in files)
    # Every expected test passed by name, and one of a random name, which must fail, did: who prints results or ends the
    # run early does not know it.
    judge = ("import json, sys; lines = open(sys.argv[2]).read().splitlines(); "
             "good = {one[7:] for one in lines if one.startswith('PASSED ')}; "
             "bad = [one for one in lines if one.startswith('FAILED ') and sys.argv[3] in one]; "
             "sys.exit(0 if set(json.load(open(sys.argv[1]))) <= good and bad and sys.argv[4] == '1' else 1)")
    canary = Path(files[0]).parent / "test_$name.py"
    return (f"{_HEAD}{copies}export PYTHONPATH=\"{parts.python_path(layer)}\" PYTHONHASHSEED=0 "
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1\n"
            'name="n$(od -An -N8 -tx8 /dev/urandom | tr -d " ")"\n'
            f'printf "def test_%s():\\n    assert False\\n" "$name" > "{canary}"\n'
            f'python -m pytest -rA -o addopts= -p no:cacheprovider --no-header {args} "{canary}" > "$LOGS/log.txt" '
            "2>&1\n"
            f'python -I -c "{judge}" "$TESTS/expected.json" "$LOGS/log.txt" "test_$name" $?\nsolved=$?\n{_TAIL}')
