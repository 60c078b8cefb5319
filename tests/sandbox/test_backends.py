import os
import shutil
import struct
import subprocess
import sys
from errno import EAFNOSUPPORT, ENOSYS, EPERM
from pathlib import Path

import pydantic
import pytest

from vivace.core.errors import BadInput, SandboxError
from vivace.sandbox import (
    ExecResult,
    Guarantees,
    Sandbox,
    Workspace,
    backend,
    landlock_launcher,
    open_sandbox,
)
from vivace.sandbox.bubblewrap import Bubblewrap
from vivace.sandbox.host import own_interpreter
from vivace.sandbox.limits import Job
from vivace.sandbox.probe import MANDATORY, probe
from vivace.sandbox.seccomp import ABSENT, AUDIT_ARCH, DENIED, METADATA, build_filter

SOURCE = Path(backend.__file__).parents[2]


class Bare:
    """No isolation at all; what the self-test is for."""

    name = "bare"

    def owner_for(self, readonly: object) -> None:
        return None

    def mount_point(self, root: Path) -> str:
        return str(root)

    def describe(self) -> Guarantees:
        return Guarantees(self.name, ())

    def run(self, job: Job) -> ExecResult:
        fills = job.stdin is None  # then it sleeps: whatever it wrote, nobody stopped it
        try:
            done = subprocess.run(
                job.argv,
                cwd=job.root,
                input=job.stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=1 if fills else 60,
            )
        except subprocess.TimeoutExpired:
            return ExecResult(137, "", timed_out=True, killed="time")
        return ExecResult(done.returncode, done.stdout.decode())


def test_the_self_test_refuses_what_does_not_isolate() -> None:
    with pytest.raises(SandboxError) as caught:
        probe(Bare())
    for name in MANDATORY:
        if (
            name != "environment clean"
        ):  # the marker is planted in a neighbour, whose environment `bare` can read
            assert name in str(caught.value)


def test_opened_once_and_described(sandbox: Sandbox) -> None:
    assert open_sandbox(sandbox.name) is sandbox
    guarantees = sandbox.describe()
    assert set(MANDATORY) <= set(guarantees.held)
    assert guarantees.backend == sandbox.name
    assert "network closed" in str(guarantees)


def test_nothing_runs_without_a_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_opened", {})
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(landlock_launcher, "landlock_version", lambda: 0)
    with pytest.raises(SandboxError, match="install the package `bubblewrap`"):
        open_sandbox()
    with pytest.raises(BadInput, match="choose auto"):
        open_sandbox("bare")


def test_falls_back_to_landlock_without_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    if landlock_launcher.landlock_version() < 6:
        pytest.skip("no Landlock here")
    monkeypatch.setattr(backend, "_opened", {})
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert open_sandbox().name == "landlock"


def test_a_broken_launcher_is_infrastructure_not_a_failed_command(base: Path, any_sandbox: Sandbox) -> None:
    if any_sandbox.name != "bubblewrap":
        pytest.skip("no bubblewrap here")
    broken = Bubblewrap()
    broken.filter = b"not a filter"
    with Workspace(base, broken) as workspace, pytest.raises(SandboxError, match="could not set up"):
        workspace.exec(["true"])
    broken.program = "/nonexistent/bwrap"
    with Workspace(base, broken) as workspace, pytest.raises(SandboxError, match="cannot start"):
        workspace.exec(["true"])


def interpreter_for_anyone() -> str | None:
    """An interpreter of our version that a user without rights can start."""
    for python in (
        own_interpreter(),
        shutil.which(f"python3.{sys.version_info.minor}", path="/usr/local/bin:/usr/bin"),
    ):
        folders = Path(python or "/nonexistent").parents
        if python and os.path.exists(python) and all(folder.stat().st_mode & 1 for folder in folders):
            return python
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests already run as an ordinary user")
@pytest.mark.parametrize("name", ["bubblewrap", "landlock"])
def test_an_ordinary_user_is_isolated_as_well(sandbox: Sandbox, name: str) -> None:
    python, setpriv = interpreter_for_anyone(), shutil.which("setpriv")
    if sandbox.name != name or python is None or setpriv is None:
        pytest.skip("needs setpriv and an interpreter outside root's home")
    libraries = Path(pydantic.__file__).parents[1]
    if not all(folder.stat().st_mode & 1 for folder in [SOURCE, *SOURCE.parents, libraries, *libraries.parents]):
        pytest.skip("the source tree or the environment is closed to other users")
    path = os.pathsep.join([str(SOURCE), str(libraries)])
    # Under one's own uid the limit is added to what runs already, some of which may end meanwhile: hence 80, not 40.
    code = f"""
from pathlib import Path
from vivace.sandbox import *
sandbox = open_sandbox({name!r})
print(sandbox.describe())
import tempfile
with tempfile.TemporaryDirectory() as base, Workspace(Path(base), sandbox) as workspace:
    bomb = "import os, time\\nfor n in range(600):\\n  try:\\n    if os.fork() == 0: time.sleep(100); os._exit(0)\\n"
    bomb += "  except OSError: break\\nprint(n)\\n"
    result = workspace.exec(["{python}", "-c", bomb], limits=ExecLimits(processes=40, wall_s=120))
    print(result.killed == "processes" or int(result.output) <= 80)
    print(workspace.exec(["sh", "-c", "echo x > made; id -u; exit 4"]).exit_code, workspace.files())
"""
    command = [setpriv, "--reuid", "1234", "--regid", "1234", "--clear-groups", python, "-B", "-c", code]
    done = subprocess.run(
        command, env={"PYTHONPATH": path}, cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    described, bounded, rest = done.stdout.splitlines()
    assert all(guarantee in described for guarantee in MANDATORY)
    assert bounded == "True"
    assert rest == "4 ['made']"


# --- the filter, judged by a small interpreter of its instructions, for both architectures ---

ALLOWED = {
    "read": (0, 63),
    "write": (1, 64),
    "openat": (257, 56),
    "execve": (59, 221),
    "kill": (62, 129),
    "exit": (60, 93),
}


def verdict(program: bytes, machine: str, number: int, *arguments: int) -> int:
    """What the kernel would return for one call (seccomp return value)."""
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<IIQ6Q", number, AUDIT_ARCH[machine], 0, *padded)
    instructions = list(struct.iter_unpack("<HBBI", program))
    at = accumulator = 0
    while True:
        code, yes, no, k = instructions[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif code == 0x06:
            return int(k)
        else:
            taken = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[code]
            at += yes if taken else no


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_filter(machine: str, column: int) -> None:
    program = build_filter([1, 2], freeze_metadata=True, machine=machine)
    for numbers in DENIED.values():
        assert verdict(program, machine, numbers[column]) == 0x50000 | EPERM
    for numbers in ABSENT.values():
        assert verdict(program, machine, numbers[column]) == 0x50000 | ENOSYS
    for numbers in ALLOWED.values():
        assert verdict(program, machine, numbers[column]) == 0x7FFF0000
    for known in METADATA.values():
        if known[column] is not None:
            assert verdict(program, machine, known[column] or 0) == 0x50000
    socket, clone, ioctl, mknodat = ((41, 198), (56, 220), (16, 29), (259, 33))
    assert verdict(program, machine, socket[column], 2) == 0x7FFF0000
    assert verdict(program, machine, socket[column], 40) == 0x50000 | EAFNOSUPPORT
    assert verdict(program, machine, clone[column], 0x1200011) == 0x7FFF0000
    assert verdict(program, machine, clone[column], 0x10000011) == 0x50000 | EPERM
    assert verdict(program, machine, ioctl[column], 0, 0x5401) == 0x7FFF0000
    assert verdict(program, machine, ioctl[column], 0, 0x5412) == 0x50000 | EPERM
    assert verdict(program, machine, mknodat[column], 0, 0, 0o10644) == 0x7FFF0000
    assert verdict(program, machine, mknodat[column], 0, 0, 0o60644) == 0x50000 | EPERM
    other = "aarch64" if machine == "x86_64" else "x86_64"
    assert verdict(program, other, 0) == 0x80000000


def test_unknown_processors_are_refused() -> None:
    with pytest.raises(SandboxError, match="riscv64"):
        build_filter([], machine="riscv64")
