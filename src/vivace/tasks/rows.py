"""Make the shipped task rows: `python -m vivace.tasks.rows recipes/packages.toml train --simple 16 --complex 8`.

Rows are appended package by package to recipes/tasks/ROLE.jsonl; a package that has rows there already is left alone,
so the command can be interrupted and run again, or run after a package was added to the manifest. With --check nothing
is made: every row is put to the test of admission again (the empty patch fails, the gold patch passes).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from vivace.core.errors import VivaceError
from vivace.core.progress import Progress
from vivace.core.types import Task
from vivace.sandbox import Sandbox, open_sandbox
from vivace.tasks.candidates import PER_FUNCTION
from vivace.tasks.checking import check_tasks
from vivace.tasks.cover import survey
from vivace.tasks.layers import Layer, build_layers
from vivace.tasks.make import Maker, Yield
from vivace.tasks.registry import read_tasks, write_tasks
from vivace.tasks.sources import load_manifest


def package_rows(layer: Layer, sandbox: Sandbox, simple: int, double: int, *, seed: int, tally: Yield,
                 per_function: int = PER_FUNCTION) -> list[Task]:
    """Up to `simple` tasks with one bug and `double` with two, of different bugs, from one layer."""
    rows: list[Task] = []
    with (Maker(layer, survey(layer, sandbox), sandbox, seed=seed, tally=tally, per_function=per_function) as maker,
          Progress(f"tasks of {layer.name}", simple + double) as bar):
        bugs = maker.planted()
        for task in maker.simple(simple, bugs):
            rows.append(task)
            bar.advance(1)
        for task in maker.complex(double, bugs):
            rows.append(task)
            bar.advance(1)
        bugs.close()
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("role", choices=("train", "eval"))
    parser.add_argument("--simple", type=int, default=16)
    parser.add_argument("--complex", type=int, default=8)
    parser.add_argument("--per-function", type=int, default=PER_FUNCTION, help="most bugs tried in one function")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", action="store_true", help="verify the rows that are there, make none")
    parser.add_argument("--out", type=Path, help="default: tasks/ROLE.jsonl beside the manifest")
    options = parser.parse_args(arguments)
    out = options.out or options.manifest.parent / "tasks" / f"{options.role}.jsonl"
    manifest, sandbox = load_manifest(options.manifest), open_sandbox()
    if options.check:
        return min(1, check_tasks(out, manifest, sandbox))
    for package in manifest.role(options.role):
        held = read_tasks(out, options.role) if out.exists() else []
        if package.name in {task.repo for task in held}:
            continue
        tally = Yield()
        layer = build_layers(manifest, [package])[package.env]
        made = package_rows(layer, sandbox, options.simple, options.complex, seed=options.seed, tally=tally,
                            per_function=options.per_function)
        write_tasks(out, [*held, *made])
        print(json.dumps({"package": package.name, **tally.row()}), flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except VivaceError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
