"""What stands around the package: the Makefile's rules and the script that checks everything in a fresh environment."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKE = """#!/bin/sh
echo "$1 $VENV" >> "$CALLS"
mkdir -p "$VENV"
test "$1" = check || exit 7
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_bench_runs_every_script_and_keeps_its_rows() -> None:
    done = subprocess.run(["make", "-n", "bench"], cwd=ROOT, capture_output=True, text=True, check=True)
    for script in {*(ROOT / "benchmarks").glob("*.py")} - {ROOT / "benchmarks" / "rows.py"}:
        assert f"benchmarks/{script.name}" in done.stdout
    assert "--json build/bench/" in done.stdout


def test_the_checks_leave_no_environment_and_keep_their_exit_code(tmp_path: Path) -> None:
    """On a copy: the script clears the environment it uses, which may be the one these tests run in."""
    for folder in ("bin", "home/.ci"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", tmp_path / "home" / ".ci" / "run")
    (tmp_path / "bin" / "make").write_text(MAKE)
    (tmp_path / "bin" / "make").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}
    environment.pop("VENV", None)
    done = subprocess.run(["bash", str(tmp_path / "home" / ".ci" / "run")], env=environment, capture_output=True,
                          text=True)  # fmt: skip
    assert done.returncode == 7
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    venv = tmp_path / "home" / "build" / "ci-venv"
    assert calls == [["check", str(venv)], ["test", str(venv)]]
    assert not venv.exists()
