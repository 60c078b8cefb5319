"""What untrusted code may try: every attack of the matrix, as root and as an ordinary user, on both backends."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pydantic
import pytest
from bare import Bare

from vivace.sandbox import ExecLimits, Sandbox, Workspace, backend, supervise
from vivace.sandbox.attacks.exhaust import EXHAUST
from vivace.sandbox.attacks.inside import ATTACKS
from vivace.sandbox.attacks.matrix import GUARANTEE, SELF_TEST, carry_out
from vivace.sandbox.cgroup import Cage, controllers
from vivace.sandbox.host import own_interpreter

SLOW = ("fill_it_with_names", "fill_tmp_with_names", "burn_processor_time")
SOURCE = Path(backend.__file__).parents[2]
# What cannot succeed against this test itself, whoever runs it: it leaves no secrets or descriptors, and a machine may
# have no IPv6, way out, disk of a known name, or right to its kernel.
NOT_HERE = {
    "tcp_over_ipv6", "dns_query", "vsock", "look_for_secrets_in_the_environment", "look_for_open_descriptors",
    "read_memory_or_log_of_the_kernel", "read_a_disk", "change_settings_of_the_kernel", "write_to_the_system",
    "pin_a_process_of_the_host", "enter_by_the_32_bit_door", "type_into_the_terminal", "change_attributes_outside",
    "open_performance_counters", "use_io_uring", "handle_page_faults", "load_a_kernel", "set_the_clock",
    "read_the_hosts_passwords", "raw_packets", "trace_a_process_of_the_host", "mount_something", "change_root",
    "load_a_bpf_program", "load_a_module", "open_by_file_handle", "enter_a_namespace", "make_a_namespace",
    "clone_into_a_namespace",
}  # fmt: skip


@cache
def reached(sandbox: Sandbox) -> dict[str, str | None]:
    return carry_out(sandbox, ATTACKS)


def test_there_are_many() -> None:
    assert len(ATTACKS) >= 65
    assert len(GUARANTEE) >= 85
    assert set(GUARANTEE) == set(ATTACKS) | set(EXHAUST)


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_is_reached(sandbox: Sandbox, name: str) -> None:
    assert reached(sandbox)[name] is None


def named(names: tuple[str, ...]) -> list[object]:
    return [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in names]


@pytest.mark.parametrize("name", named(tuple(EXHAUST)))
def test_nothing_is_used_up_or_left(sandbox: Sandbox, name: str) -> None:
    assert carry_out(sandbox, [name]) == {name: None}


@pytest.mark.parametrize("name", [name for name, attack in EXHAUST.items()
                                  if attack.guarantee in ("memory bounded", "processes bounded")])  # fmt: skip
def test_the_same_without_control_groups(sandbox: Sandbox, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivace.sandbox.cgroup.controllers", tuple)
    assert not Cage(1 << 30, 10)
    assert carry_out(sandbox, [name]) == {name: None}


@pytest.mark.skipif(not any(each.memory for each in controllers()), reason="no control group can be made here")
def test_control_groups_hold_where_nobody_looks(
    sandbox: Sandbox, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "_TICK", 60.0)
    code = """
import mmap, os, time
for _ in range(12):
    if os.fork() == 0:
        area = mmap.mmap(-1, 60 << 20)
        for _ in range(60):
            area.write(bytes(1 << 20))
        time.sleep(5)
        os._exit(0)
for _ in range(12):
    os.wait()
"""
    before = own_groups()  # of servers that other tests keep
    with Workspace(base, sandbox) as workspace:
        limits = ExecLimits(memory_mb=128, disk_mb=16, wall_s=60)
        result = workspace.exec([own_interpreter(), "-I", "-S", "-c", code], limits=limits)
        assert result.killed == "memory"
        assert workspace.exec(["true"]).killed is None
    assert own_groups() <= before


def own_groups() -> set[Path]:
    return {path for each in controllers() for path in each.parent.glob(f"vivace-{os.getpid()}-*")}


def test_every_attack_works_where_nothing_confines() -> None:
    """Else the matrix would prove nothing."""
    found = carry_out(Bare(), ATTACKS)
    assert [name for name, what in found.items() if what is None and name not in NOT_HERE] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fork_bomb", "memory_of_one_process", "fill_the_disk", "fill_it_in_a_deep_folder",
                                  "daemon_that_stays"])  # fmt: skip
def test_what_uses_things_up_works_where_nothing_confines(name: str) -> None:
    assert carry_out(Bare(), [name])[name]


def interpreter_for_anyone() -> str | None:
    """An interpreter of our version that a user without rights can start."""
    usual = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/local/bin:/usr/bin")
    for python in (own_interpreter(), usual):
        folders = Path(python or "/nonexistent").parents
        if python and os.path.exists(python) and all(folder.stat().st_mode & 1 for folder in folders):
            return python
    return None


def as_an_ordinary_user(name: str, attacks: tuple[str, ...]) -> dict[str, str | None]:
    python, setpriv = interpreter_for_anyone(), shutil.which("setpriv")
    if python is None or setpriv is None:
        pytest.skip("needs setpriv and an interpreter outside root's home")
    libraries = Path(pydantic.__file__).parents[1]
    if not all(folder.stat().st_mode & 1 for folder in [SOURCE, *SOURCE.parents, libraries, *libraries.parents]):
        pytest.skip("the source tree or the environment is closed to other users")
    environment = {"PYTHONPATH": os.pathsep.join([str(SOURCE), str(libraries)]), "VIVACE_CACHE": "/nonexistent"}
    command = [setpriv, "--reuid", "1234", "--regid", "1234", "--clear-groups", python, "-B", "-m",
               "vivace.sandbox.attacks", name, *attacks]  # fmt: skip
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    found: dict[str, str | None] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests already run as an ordinary user")
@pytest.mark.parametrize("name", ["bubblewrap", "landlock"])
def test_the_self_test_passes_as_an_ordinary_user(sandbox: Sandbox, name: str) -> None:
    if sandbox.name != name:
        pytest.skip("the other backend")
    # Opening the sandbox is refused if anything gets through.
    assert as_an_ordinary_user(name, SELF_TEST[:1]) == {SELF_TEST[0]: None}


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests already run as an ordinary user")
@pytest.mark.parametrize("name", ["bubblewrap", "landlock"])
def test_nothing_is_reached_or_used_up_as_an_ordinary_user(sandbox: Sandbox, name: str) -> None:
    if sandbox.name != name:
        pytest.skip("the other backend")
    found = as_an_ordinary_user(name, ())
    assert set(found) == set(GUARANTEE)
    assert {attack: what for attack, what in found.items() if what is not None} == {}


def test_a_closed_folder_is_no_offence(workspace: Workspace) -> None:
    """Tests of packages close folders to see what happens; only who fills the disk behind it is stopped."""
    result = workspace.exec(["sh", "-c", "mkdir d && echo x > d/f && chmod 0 d && sleep 0.4 && chmod 700 d && cat d/f"],
                            limits=ExecLimits(disk_mb=64))
    assert (result.killed, result.output) == (None, "x\n")


def test_a_tree_deeper_than_any_path_is_removed(workspace: Workspace) -> None:
    code = "import os\nfor _ in range(40):\n os.mkdir('d' * 200)\n os.chdir('d' * 200)\nopen('bottom', 'w').close()"
    assert workspace.exec([own_interpreter(), "-I", "-S", "-c", code]).exit_code == 0
    home = workspace.root.parent
    workspace.close()
    assert not home.exists()


def test_no_privileges_inside(sandbox: Sandbox, workspace: Workspace) -> None:
    if sandbox.name != "bubblewrap":
        pytest.skip("/proc is closed there")
    result = workspace.exec(["cat", "/proc/self/status"])
    status = dict(line.split(":\t", 1) for line in result.output.splitlines() if ":\t" in line)
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert status["Uid"].split()[0] != "0"


def test_secrets_of_the_caller_do_not_get_in(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = secrets.token_hex(16)
    monkeypatch.setenv("VIVACE_TEST_SECRET", marker)
    result = workspace.exec(["sh", "-c", "env; cat /proc/1/environ /proc/1/cmdline 2>/dev/null | tr '\\0' '\\n'"])
    assert "PATH=" in result.output
    assert marker not in result.output
