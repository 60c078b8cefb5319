import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from vivace.sandbox import Sandbox, Workspace, scratch


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the one in memory, with all the room there is."""
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(scratch, "MEMORY", folder)
    monkeypatch.setattr(scratch, "SPARE_BYTES", 0)
    monkeypatch.delenv("TMPDIR", raising=False)
    return folder


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_small_trees_live_in_memory(base: Path, memory: Path, disk: Path) -> None:
    assert scratch.make_home(base, mounted=True).parent == memory


def test_without_a_mount_of_its_own_a_workspace_stays_in_the_temporary_folder(
    base: Path, memory: Path, disk: Path
) -> None:
    assert scratch.make_home(base, mounted=False).parent == disk


def test_who_sets_tmpdir_has_chosen(
    base: Path, memory: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(disk))
    assert scratch.make_home(base, mounted=True).parent == disk


def test_large_trees_and_short_memory_go_to_disk(
    base: Path, memory: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "SPARE_BYTES", 1 << 60)
    assert scratch.make_home(base, mounted=True).parent == disk
    monkeypatch.setattr(scratch, "SPARE_BYTES", 0)
    monkeypatch.setattr(scratch, "MOST_BYTES", 4096)
    scratch._small.cache_clear()
    assert scratch.make_home(base, mounted=True).parent == disk
    scratch._small.cache_clear()


def test_a_memory_that_may_not_hold_programs_is_not_used(
    base: Path, memory: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs

    def noexec(path: Path) -> os.statvfs_result:
        fields = list(real(path))
        return os.statvfs_result((*fields[:8], fields[8] | os.ST_NOEXEC, *fields[9:]))

    monkeypatch.setattr(os, "statvfs", noexec)
    assert scratch.make_home(base, mounted=True).parent == disk


def test_homes_of_killed_processes_are_swept(base: Path, memory: Path, disk: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from vivace.sandbox import scratch; "
        "scratch.MEMORY, scratch.SPARE_BYTES = Path(sys.argv[1]), 0; "
        "(scratch.make_home(Path(sys.argv[2]), mounted=True) / 'tree').mkdir(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(memory), str(base)], check=False)
    (left,) = memory.iterdir()
    mine = scratch.make_home(base, mounted=True)
    elsewhere = memory / f"vivace-{scratch._space() + 1}-1-x"
    elsewhere.mkdir()
    assert scratch.sweep() == 1
    assert not left.exists()
    assert mine.exists()
    assert elsewhere.exists(), "a process of another namespace cannot be seen from here"


def test_commands_run_in_a_workspace_wherever_it_lives(base: Path, sandbox: Sandbox) -> None:
    with Workspace(base, sandbox) as workspace:
        assert workspace.exec(["./run.sh"]).output == "ran\n"
        kept = workspace.root
    assert not kept.exists()
