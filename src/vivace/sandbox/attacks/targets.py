"""What the attacks reach for, set up on the host: files, sockets, a process, queues. And what became of it."""

from __future__ import annotations

import ctypes
import os
import resource
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_VICTIMS = ("overwritten", "truncated", "removed", "moved", "mode", "times", "attributes")
_VICTIM_OF = {
    "overwrite_a_file_outside": "overwritten", "truncate_a_file_by_its_path": "truncated",
    "remove_a_file_outside": "removed", "move_a_file_in": "moved", "change_permissions_outside": "mode",
    "change_times_outside": "times", "change_attributes_outside": "attributes",
}  # fmt: skip
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Targets:
    """`facts` is what the attacker is told; `base` the tree of its workspace."""

    outside: Path
    facts: dict[str, Any]
    udp: socket.socket
    before: dict[str, object] = field(default_factory=dict)

    @property
    def base(self) -> Path:
        return self.outside / "base"

    def reached(self) -> dict[str, str]:
        """{attack: what can be seen of it from here}, of those that need not notice themselves."""
        after = self._state()
        found = {name: "the file is not what it was" for name, victim in _VICTIM_OF.items()
                 if after[victim] != self.before[victim]}  # fmt: skip
        found |= {name: "the process is not what it was" for name in _PROCESS if after[name] != self.before[name]}
        for name, path in (("create_a_file_outside", "created"), ("make_a_folder_outside", "made"),
                           ("change_the_base_tree", "base/new")):  # fmt: skip
            if (self.outside / path).exists():
                found[name] = "it is there"
        with suppress(BlockingIOError):
            if self.facts["marker"].encode() in self.udp.recv(1000):
                found["udp_to_the_hosts_loopback"] = "received"
        return found

    def remember(self) -> None:
        """What is to be found again by `reached`."""
        self.before = self._state()

    def _state(self) -> dict[str, object]:
        state: dict[str, object] = {name: _looks(Path(path)) for name, path in self.facts["victims"].items()}
        for name, look in _PROCESS.items():
            with suppress(OSError):
                state[name] = look(self.facts["pid"])
            state.setdefault(name, None)
        return state


def _looks(path: Path) -> object:
    try:
        info = path.lstat()
        return path.read_text(), info.st_mode, info.st_mtime_ns, info.st_ino, os.listxattr(path)
    except OSError as error:
        return error.errno


def _disk_priority(pid: int) -> int:
    return int(_libc.syscall({"x86_64": 252, "aarch64": 31}.get(os.uname().machine, 252), 1, pid))


_PROCESS = {
    "change_limits_of_a_process": lambda pid: resource.prlimit(pid, resource.RLIMIT_NOFILE),
    "change_priority_of_a_process": lambda pid: os.getpriority(os.PRIO_PROCESS, pid),
    "pin_a_process_of_the_host": os.sched_getaffinity,
    "change_scheduling_of_a_process": os.sched_getscheduler,
    "change_disk_priority_of_a_process": _disk_priority,
}


@contextmanager
def targets() -> Iterator[Targets]:
    """Everything is open to anybody: what stops an attack must be the sandbox, not the mode of a file."""
    marker = secrets.token_hex(16)
    with ExitStack() as stack:
        outside = Path(tempfile.mkdtemp(prefix="vivace-probe-"))
        stack.callback(shutil.rmtree, outside, ignore_errors=True)
        outside.chmod(0o777)
        (outside / "secret").write_text(marker)
        (outside / "base").mkdir()
        victims = {name: str(outside / name) for name in _VICTIMS}
        for path in victims.values():
            Path(path).write_text("as it was")
            os.chmod(path, 0o666)
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        facts = {"marker": marker, "secret": str(outside / "secret"), "outside": str(outside), "victims": victims,
                 "base": str(outside / "base"), "udp": udp.getsockname(), **_listeners(stack, outside),
                 **_queues(stack, marker), "pid": _neighbour(stack, marker)}  # fmt: skip
        made = Targets(outside, facts, udp)
        made.remember()
        yield made


def _listeners(stack: ExitStack, outside: Path) -> dict[str, Any]:
    tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    found: dict[str, Any] = {"tcp": tcp.getsockname(), "tcp6": ["::1", 1]}
    with suppress(OSError):
        tcp6 = stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
        found["tcp6"] = tcp6.getsockname()[:2]
    found["abstract"], found["unix"] = f"vivace-{secrets.token_hex(8)}", str(outside / "socket")
    for address in ("\0" + found["abstract"], found["unix"]):
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(address)
        server.listen()
    os.chmod(found["unix"], 0o777)
    return found


def _neighbour(stack: ExitStack, marker: str) -> int:
    """A process with a secret in its environment."""
    process = subprocess.Popen(["sleep", "600"], env={**os.environ, "VIVACE_PROBE": marker})
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process.pid


def _queues(stack: ExitStack, marker: str) -> dict[str, Any]:
    """Shared memory, a message queue, semaphores and a named queue; -1 for what this kernel has not got."""
    shm = int(_libc.shmget(0, 4096, 0o1666))
    if shm >= 0:
        stack.callback(_libc.shmctl, shm, 0, None)
        _libc.shmat.restype = ctypes.c_void_p
        address = _libc.shmat(shm, None, 0)
        ctypes.memmove(address, marker.encode(), len(marker))
        _libc.shmdt(ctypes.c_void_p(address))
    queue, semaphore = int(_libc.msgget(0, 0o1666)), int(_libc.semget(0, 1, 0o1666))
    if queue >= 0:
        stack.callback(_libc.msgctl, queue, 0, None)
        _libc.msgsnd(queue, ctypes.create_string_buffer((1).to_bytes(8, "little") + b"x" * 16), 16, 0)
    if semaphore >= 0:
        stack.callback(_libc.semctl, semaphore, 0, 0)
    name = f"vivace-{secrets.token_hex(8)}"
    number = {"x86_64": (240, 241), "aarch64": (180, 181)}.get(os.uname().machine, (240, 241))
    fd = int(_libc.syscall(number[0], name.encode(), os.O_CREAT | os.O_RDWR, 0o666, None))
    if fd >= 0:
        os.close(fd)
        stack.callback(_libc.syscall, number[1], name.encode())
    return {"shm": shm, "queue": queue, "semaphore": semaphore, "mq": name}
