import shutil
import struct
from errno import EAFNOSUPPORT, ENOSYS, EPERM
from pathlib import Path

import pytest
from bare import Bare

from vivace.core.errors import BadInput, SandboxError
from vivace.sandbox import (
    Guarantees,
    Sandbox,
    Workspace,
    backend,
    landlock_launcher,
    open_sandbox,
)
from vivace.sandbox import probe as probe_module
from vivace.sandbox.attacks.inside import ATTACKS
from vivace.sandbox.attacks.matrix import GUARANTEE
from vivace.sandbox.bubblewrap import Bubblewrap
from vivace.sandbox.probe import MANDATORY, probe, probe_once
from vivace.sandbox.seccomp import ABSENT, AUDIT_ARCH, DENIED, METADATA, PERMISSIONS, build_filter

SOURCE = Path(backend.__file__).parents[2]


def test_the_self_test_refuses_what_does_not_isolate() -> None:
    with pytest.raises(SandboxError) as caught:
        probe(Bare())
    tried = {GUARANTEE[name] for name in ATTACKS}
    assert tried < set(MANDATORY)
    # Of one's own environment and descriptors this test cannot know.
    for name in tried - {"environment clean"}:
        assert name in str(caught.value)


def test_what_the_self_test_found_is_kept_until_something_changes(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Sandbox] = []

    def probe(asked: Sandbox) -> Guarantees:
        tried.append(asked)
        if len(tried) == 1:
            raise SandboxError("it got through")
        return Guarantees(asked.name, ("held",), ("missing",))

    monkeypatch.setenv("VIVACE_CACHE", str(tmp_path))
    monkeypatch.setattr(probe_module, "probe", probe)
    with pytest.raises(SandboxError, match="it got through"):
        probe_once(sandbox)
    for _ in range(3):
        assert probe_once(sandbox) == Guarantees(sandbox.name, ("held",), ("missing",))
    assert len(tried) == 2, "failures are not kept, successes are"
    for place, name in ((probe_module, "_sources"), (probe_module, "_text")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, lambda *args: "other")
            probe_once(sandbox)
    assert len(tried) == 4
    for file in tmp_path.glob("sandbox/*"):
        file.write_text("{}")
    probe_once(sandbox)
    assert len(tried) == 5, "what cannot be read is no proof"


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
    program = build_filter([1, 2], shared=True, freeze_permissions=True, machine=machine)
    for numbers in DENIED.values():
        assert verdict(program, machine, numbers[column]) == 0x50000 | EPERM
    for numbers in ABSENT.values():
        assert verdict(program, machine, numbers[column]) == 0x50000 | ENOSYS
    for numbers in ALLOWED.values():
        assert verdict(program, machine, numbers[column]) == 0x7FFF0000
    for known in [*METADATA.values(), *PERMISSIONS.values()]:
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
