"""What isolation costs: a workspace and a command in it, and a test run, beside the same without any isolation.

The tree is made here: 120 files, 1 MB, one small test. Rounds alternate; the figure is the median. "Plain" copies the
tree with `shutil.copytree` and runs the command with `subprocess`, as whoever has no sandbox would.

    python benchmarks/sandbox.py [--rounds 15] [--backend auto] [--json rows.json]
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from rows import Row, finish, parser, row
from vivace.sandbox import WarmTests, Workspace, open_sandbox, run_pytest
from vivace.sandbox.host import own_interpreter

PYTHON = Path(sys.executable)
TEST = "test_one.py::test_one"
THREADS, PER_THREAD = 8, 4
Timed = Callable[[], object]


def make_tree(root: Path) -> Path:
    for number in range(119):
        folder = root / f"part{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"module{number}.py").write_text(f"VALUE = {number}\n" * 640)
    (root / "test_one.py").write_text("def test_one():\n    assert 1 + 1 == 2\n")
    return root


def plain(tree: Path, argv: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(tree, copy)
        environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        subprocess.run(argv, cwd=copy, env=environment, stdout=subprocess.DEVNULL, check=True)


def medians(rounds: int, *actions: Timed) -> list[float]:
    """Median milliseconds of each action, all of them in turn in every round."""
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(rounds + 1):  # the first round only warms up
        for taken, action in zip(times, actions, strict=True):
            start = time.perf_counter()
            action()
            taken.append((time.perf_counter() - start) * 1e3)
    return [statistics.median(taken[1:]) for taken in times]


def in_threads(action: Timed) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(action) for _ in range(THREADS * PER_THREAD)]:
            done.result()


def measure(tree: Path, backend: str, rounds: int) -> list[Row]:
    sandbox = open_sandbox(backend)
    rows: list[Row] = []

    def add(name: str, ours: float, peer: float, peer_name: str = "plain") -> None:
        rows.append(row(f"{sandbox.name}: {name}", ours, peer, peer_name, "ms"))

    def ours(argv: list[str]) -> None:
        with Workspace(tree, sandbox) as workspace:
            assert workspace.exec(argv).exit_code == 0

    def opened() -> None:
        Workspace(tree, sandbox).close()

    def copied() -> None:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(tree, Path(folder) / "tree")

    mine, theirs = medians(rounds, opened, copied)
    add("workspace opened and closed", mine, theirs, "copytree, rmtree")

    true, python = ["/bin/true"], [own_interpreter(), "-I", "-c", "pass"]
    for name, argv in (("true", true), ("python -c pass", python)):
        mine, theirs = medians(rounds, partial(ours, argv), partial(plain, tree, argv))
        add(f"workspace and {name}", mine, theirs)
    few = max(3, rounds // 4)
    both = partial(ours, true), partial(plain, tree, true)
    mine, theirs = medians(few, *(partial(in_threads, action) for action in both))
    add(
        f"the same by {THREADS} threads, each", mine / (THREADS * PER_THREAD), theirs / (THREADS * PER_THREAD)
    )
    pytest = [str(PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider", TEST]
    with Workspace(tree, sandbox) as workspace, WarmTests(lambda: Workspace(tree, sandbox), PYTHON) as pool:
        cold_ms, warm_ms, plain_ms = medians(
            few,
            lambda: run_pytest(workspace, PYTHON, [TEST]),
            lambda: pool.run_pytest(workspace, [TEST]),
            partial(plain, tree, pytest),
        )
    add("one test, cold", cold_ms, plain_ms, "plain pytest")
    add("one test, warm", warm_ms, plain_ms, "plain pytest")
    return rows


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--rounds", type=int, default=15)
    options_of.add_argument("--backend", default="auto")
    options = options_of.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        finish(measure(make_tree(Path(folder) / "tree"), options.backend, options.rounds), options.json)


if __name__ == "__main__":
    main()
