"""What stands around the package: the Makefile's rules and the script that checks everything in a fresh environment."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKE = """#!/bin/sh
echo "$1 $VENV $(stat -c %a "$(dirname "$VENV")")" >> "$CALLS"
test "$1" = check || exit 7
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_bench_runs_every_script_and_keeps_its_rows() -> None:
    done = subprocess.run(["make", "-n", "bench"], cwd=ROOT, capture_output=True, text=True, check=True)
    for script in (ROOT / "benchmarks").glob("*.py"):
        assert f"benchmarks/{script.name}" in done.stdout
    assert "--json build/bench/" in done.stdout


def test_the_checks_leave_no_environment_and_keep_their_exit_code(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "bin" / "make").write_text(MAKE)
    (tmp_path / "bin" / "make").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(tmp_path / "tmp"),
                   "CALLS": str(tmp_path / "calls")}
    environment.pop("VENV", None)
    done = subprocess.run([str(ROOT / ".ci" / "run")], env=environment, capture_output=True, text=True)
    assert done.returncode == 7
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    assert [(name, mode) for name, _, mode in calls] == [("check", "755"), ("test", "755")]
    assert Path(calls[0][1]).parent.parent == tmp_path / "tmp"
    assert not list((tmp_path / "tmp").iterdir())
