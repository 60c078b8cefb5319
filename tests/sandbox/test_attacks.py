"""What untrusted code may try, on both backends. Every attack reaches for something that really is there."""

import json
import os
import secrets
import socket
import textwrap
import time
from pathlib import Path

import pytest

from vivace.sandbox import ExecLimits, ExecResult, Sandbox, Workspace
from vivace.sandbox.host import own_interpreter


def attack(workspace: Workspace, code: str, limits: ExecLimits | None = None, **facts: object) -> ExecResult:
    """Run a script that finds `facts` in the variable `facts`."""
    script = (
        f"import json, os, socket, sys, time\nfacts = json.loads({json.dumps(facts)!r})\n"
        + textwrap.dedent(code)
    )
    return workspace.exec(
        [own_interpreter(), "-I", "-S", "-c", script], limits=limits or ExecLimits(wall_s=180)
    )


def processes_with(marker: str) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if marker.encode() in Path(f"/proc/{name}/cmdline").read_bytes():
                found.append(int(name))
        except OSError:
            continue
    return found


def none_left(marker: str) -> bool:
    end = time.monotonic() + 10
    while processes_with(marker) and time.monotonic() < end:
        time.sleep(0.02)
    return not processes_with(marker)


def test_no_connection_leaves(workspace: Workspace) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        name = "\0vivace-" + secrets.token_hex(8)
        abstract.bind(name)
        abstract.listen()
        code = """
        def closed(family, kind, address):
            try:
                with socket.socket(family, kind) as s:
                    s.settimeout(1)
                    s.connect(tuple(address) if isinstance(address, list) else address)
                    s.send(b"x")
            except OSError:
                return True
        print(
            closed(socket.AF_INET, socket.SOCK_STREAM, facts["tcp"]),
            closed(socket.AF_INET, socket.SOCK_DGRAM, ["192.0.2.1", 53]),
            closed(socket.AF_UNIX, socket.SOCK_STREAM, facts["abstract"]),
            closed(40, socket.SOCK_STREAM, [2, 1024]),
        )
        """
        result = attack(workspace, code, tcp=server.getsockname(), abstract=name)
    assert result.output.split() == ["True"] * 4, result.output


def test_host_files_cannot_be_read(workspace: Workspace, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    tmp_path.chmod(0o755)
    places = [str(secret), "/etc/shadow", str(Path(__file__)), f"/proc/{os.getpid()}/cwd/pyproject.toml"]
    code = """
    os.symlink(facts["places"][0], "trap")
    for place in [*facts["places"], "trap", "/proc/1/root" + facts["places"][0]]:
        try:
            print("LEAK", place, open(place).read()[:20])
        except OSError:
            print("refused")
    """
    result = attack(workspace, code, places=places)
    assert result.output.split() == ["refused"] * 6, result.output


def test_host_processes_are_out_of_reach(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = secrets.token_hex(16)
    monkeypatch.setenv("VIVACE_TEST_SECRET", marker)
    code = """
    try:
        os.kill(facts["pid"], 0)
        print("LEAK signal")
    except OSError:
        pass
    try:
        pids = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        pids = []
    for pid in pids:
        for name in "environ", "cmdline":
            try:
                if facts["marker"][::-1] in open(f"/proc/{pid}/{name}").read():
                    print("LEAK", pid, name)
            except OSError:
                pass
    print(len(pids) < 8, facts["marker"][::-1] in str(os.environ))
    """
    result = attack(workspace, code, pid=os.getpid(), marker=marker[::-1])
    assert result.output.split() == ["True", "False"], result.output


def test_writes_stay_in_the_workspace(workspace: Workspace, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    before = (workspace.base / "README.md").read_text()
    places = [
        str(tmp_path / "new"),
        str(workspace.base / "README.md"),
        "/usr/new",
        "/etc/new",
        "/new",
        "/dev/new",
    ]
    code = """
    for place in facts["places"]:
        try:
            open(place, "w").close()
            print("LEAK", place)
        except OSError:
            pass
    try:
        os.chmod(facts["places"][1], 0)
    except OSError:
        pass
    """
    result = attack(workspace, code, places=places)
    assert result.output == ""
    assert (workspace.base / "README.md").read_text() == before
    assert os.stat(workspace.base / "README.md").st_mode & 0o777
    assert not (tmp_path / "new").exists()


def test_fork_bomb(workspace: Workspace) -> None:
    marker = secrets.token_hex(8)
    code = """
    made = 0
    for _ in range(600):
        try:
            if os.fork() == 0:
                time.sleep(100)
                os._exit(0)
            made += 1
        except OSError:
            break
    print(made, flush=True)
    """
    result = attack(workspace, code, ExecLimits(processes=32, wall_s=180), marker=marker)
    assert result.killed == "processes" or int(result.output) <= 64  # the user's other processes may end meanwhile
    assert none_left(marker)


@pytest.mark.parametrize("unlinked", [False, True])
def test_disk_fill(workspace: Workspace, unlinked: bool) -> None:
    code = """
    held = []
    for number in range(40):
        held.append(open(f"fill{number}", "wb", buffering=0))
        held[-1].write(bytes(2 << 20))
        if facts["unlinked"]:
            os.unlink(f"fill{number}")
    time.sleep(150)
    """
    result = attack(workspace, code, ExecLimits(disk_mb=16, wall_s=180), unlinked=unlinked)
    assert result.killed == "disk"


def test_one_large_file(workspace: Workspace) -> None:
    code = """
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with open("large", "wb", buffering=0) as file:
            for _ in range(64):
                file.write(bytes(1 << 20))
    except OSError as error:
        print(error.errno, os.stat("large").st_size)
    """
    result = attack(workspace, code, ExecLimits(file_mb=8, disk_mb=200))
    assert result.output.split() == ["27", str(8 << 20)], result.output  # EFBIG


def test_memory_of_the_whole_tree(workspace: Workspace) -> None:
    code = """
    for _ in range(8):
        if os.fork() == 0:
            block = bytearray(os.urandom(4096)) * (100 << 8)
            time.sleep(150)
            os._exit(0)
    time.sleep(150)
    """
    result = attack(workspace, code, ExecLimits(memory_mb=400, wall_s=180))
    assert result.killed == "memory"


def test_memory_of_one_process(workspace: Workspace) -> None:
    result = attack(workspace, "x = bytearray(1 << 30)", ExecLimits(memory_mb=256))
    assert "MemoryError" in result.output


def test_output_flood(workspace: Workspace) -> None:
    result = workspace.exec(["yes"], limits=ExecLimits(output_bytes=4096, wall_s=180))
    assert result.killed == "output"
    assert result.truncated
    assert len(result.output) < 4096 + 100


def test_loop_that_ignores_sigterm(workspace: Workspace) -> None:
    result = workspace.exec(
        ["sh", "-c", "trap '' TERM INT HUP; while :; do :; done"], limits=ExecLimits(wall_s=0.5)
    )
    assert result.timed_out
    assert result.exit_code == 137
    assert result.duration_s < 5


def test_daemon_does_not_survive(workspace: Workspace) -> None:
    marker = secrets.token_hex(8)
    code = """
    import signal
    for _ in range(2):
        if os.fork():
            break
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        time.sleep(100)
    """
    result = attack(workspace, code, marker=marker)
    assert result.exit_code == 0
    assert result.duration_s < 60
    assert none_left(marker)


def test_dangerous_calls_are_refused(workspace: Workspace) -> None:
    code = """
    import ctypes, platform
    libc = ctypes.CDLL(None, use_errno=True)
    table = {"x86_64": [272, 308, 165, 155, 321, 425, 250, 298, 101, 310, 323, 304, 246, 435],
             "aarch64": [97, 268, 40, 41, 280, 425, 219, 241, 117, 270, 282, 265, 104, 435]}[platform.machine()]
    for number in table:
        ctypes.set_errno(0)
        libc.syscall(number, 0, 0, 0, 0, 0)
        print(ctypes.get_errno(), end=" ")
    print(libc.syscall({"x86_64": 56, "aarch64": 220}[platform.machine()], 0x10000000 | 17, 0, 0, 0, 0))
    os.mkfifo("pipe")
    try:
        os.mknod("device", 0o60666, os.makedev(8, 0))
    except OSError as error:
        print(error.errno)
    """
    result = attack(workspace, code)
    assert result.output.split() == ["1"] * 13 + ["38", "-1", "1"], result.output


def test_no_privileges_inside(sandbox: Sandbox, workspace: Workspace) -> None:
    if sandbox.name != "bubblewrap":
        pytest.skip("/proc is closed there")
    result = workspace.exec(["cat", "/proc/self/status"])
    status = dict(line.split(":\t", 1) for line in result.output.splitlines() if ":\t" in line)
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert status["Uid"].split()[0] != "0"
