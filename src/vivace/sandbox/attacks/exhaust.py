"""The attacks that use things up or stay behind: each is one command under small limits.

All of them end by themselves within some seconds, so that a machine that does not stop them survives the question.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vivace.sandbox.host import own_interpreter
from vivace.sandbox.limits import ExecLimits, ExecResult
from vivace.sandbox.workspace import Workspace

_WALL_S = 150.0


@dataclass(frozen=True)
class Exhaust:
    """`code` runs inside with `os`, `sys`, `time`, `mmap`, `socket`, `signal` imported. It is held off if the command
    was `killed` for one of these reasons, or if it printed "held" (what it tried was refused)."""

    guarantee: str
    code: str
    limits: ExecLimits
    killed: tuple[str, ...] = ()
    also: Callable[[ExecResult], bool] | None = None
    """Held off, too, if this says so."""
    self_test: bool = False


def _limits(**wanted: float) -> ExecLimits:
    return ExecLimits.model_validate({"wall_s": _WALL_S, "memory_mb": 256, "processes": 40, "disk_mb": 16, **wanted})


_FORKS = """
made = 0
for _ in range(300):
    try:
        if os.fork() == 0:
            time.sleep(6)
            os._exit(0)
        made += 1
    except OSError:
        break
print(made, flush=True)
time.sleep(6 if made > 100 else 0)
"""
_THREADS = """
import threading
threading.stack_size(1 << 16)
made = 0
for _ in range(300):
    try:
        threading.Thread(target=time.sleep, args=(6,), daemon=True).start()
        made += 1
    except RuntimeError:
        break
print(made, flush=True)
time.sleep(6 if made > 100 else 0)
os._exit(0)
"""
_MEMORY = """
for _ in range(8):
    if os.fork() == 0:
        block = bytearray(os.urandom(4096)) * (60 << 8)
        time.sleep(6)
        os._exit(0)
time.sleep(6)
"""
# Pages of a shared mapping belong to no process once the one that touched them has let go of them.
_SHARED = """
keepers = []
for _ in range(8):
    area = mmap.mmap(-1, 60 << 20)
    if os.fork() == 0:
        time.sleep(6)
        os._exit(0)
    for at in range(0, 60 << 20, 4096):
        area[at] = 1
    area.close()
time.sleep(6)
"""
_SOCKETS = """
for _ in range(8):
    if os.fork() == 0:
        held = []
        try:
            while True:
                pair = socket.socketpair()
                held.append(pair)
                for one in pair:
                    one.setblocking(False)
                    try:
                        while True:
                            one.send(bytes(1 << 16))
                    except BlockingIOError:
                        pass
        except OSError:
            pass
        time.sleep(6)
        os._exit(0)
time.sleep(6)
"""
_FILES = """
held = []
for number in range(40):
    held.append(open(f"fill{number}", "wb", buffering=0))
    held[-1].write(bytes(2 << 20))
    if UNLINK:
        os.unlink(f"fill{number}")
time.sleep(6)
"""
_HIDDEN = """
os.mkdir("closed")
fd = os.open("closed", os.O_RDONLY)
files = [os.open(f"closed/fill{n}", os.O_WRONLY | os.O_CREAT, 0o600) for n in range(40)]
os.fchmod(fd, 0)
for file in files:
    os.write(file, bytes(2 << 20))
    os.close(file)
time.sleep(6)
"""
_DEEP = """
for _ in range(60):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
for number in range(40):
    with open(f"fill{number}", "wb", buffering=0) as file:
        file.write(bytes(2 << 20))
time.sleep(6)
"""
_LARGE = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with open("large", "wb", buffering=0) as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
except OSError as error:
    print("held" if os.stat("large").st_size <= 8 << 20 else "reached")
"""
_ENTRIES = """
try:
    os.mkdir(PLACE)
    for number in range(120_000):
        os.close(os.open(f"{PLACE}/{number}", os.O_WRONLY | os.O_CREAT))
except OSError:
    print("held")
    sys.exit()
time.sleep(6)
"""
_ROOM = """
try:
    for number in range(12):
        with open(f"{PLACE}/fill{number}", "wb", buffering=0) as file:
            for _ in range(40):
                if file.write(bytes(1 << 20)) < 1 << 20:
                    raise OSError
except OSError:
    print("held")
"""
_DAEMON = """
for _ in range(2):
    if os.fork():
        break
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    os.close(0); os.close(1); os.close(2)
    time.sleep(6)
"""


def _few(result: ExecResult) -> bool:
    """A printed number of processes that is near the limit. Under one's own uid it counts beside what runs anyway."""
    return result.output.strip().isdigit() and int(result.output) <= 100


EXHAUST: dict[str, Exhaust] = {
    "fork_bomb": Exhaust("processes bounded", _FORKS, _limits(), ("processes",), _few, True),
    "thread_bomb": Exhaust("processes bounded", _THREADS, _limits(), ("processes",), _few),
    "memory_of_many_processes": Exhaust("memory bounded", _MEMORY, _limits(), ("memory",), None, True),
    "memory_of_one_process": Exhaust("memory bounded", "x = bytearray(1 << 30)", _limits(), ("memory",),
                                     lambda result: "MemoryError" in result.output),
    "memory_left_by_a_mapping": Exhaust("memory bounded", _SHARED, _limits(), ("memory",)),
    "memory_in_sockets": Exhaust("memory bounded", _SOCKETS, _limits(), ("memory",)),
    "fill_the_disk": Exhaust("disk bounded", _FILES.replace("UNLINK", "False"), _limits(), ("disk",), None, True),
    "fill_it_with_unlinked_files": Exhaust("disk bounded", _FILES.replace("UNLINK", "True"), _limits(), ("disk",)),
    "fill_it_in_a_closed_folder": Exhaust("disk bounded", _HIDDEN, _limits(), ("disk",)),
    "fill_it_in_a_deep_folder": Exhaust("disk bounded", _DEEP, _limits(), ("disk",)),
    "fill_it_with_one_file": Exhaust("disk bounded", _LARGE, _limits(file_mb=8, disk_mb=200)),
    "fill_it_with_names": Exhaust("disk bounded", _ENTRIES.replace("PLACE", "'names'"), _limits(disk_mb=4096),
                                  ("disk",)),
    "fill_tmp": Exhaust("disk bounded", _ROOM.replace("{PLACE}", "/tmp"),
                        _limits(disk_mb=4096)),
    "fill_tmp_with_names": Exhaust("disk bounded", _ENTRIES.replace("PLACE", "'/tmp/names'"), _limits(disk_mb=4096),
                                   ("disk",)),
    "fill_shared_memory": Exhaust("disk bounded", _ROOM.replace("{PLACE}", "/dev/shm"), _limits(disk_mb=4096)),
    "flood_the_output": Exhaust("output bounded", "while True: os.write(1, bytes(65536))",
                                _limits(output_bytes=4096, wall_s=6), ("output",)),
    "loop_that_ignores_signals": Exhaust(
        "time bounded", "for s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
        _limits(wall_s=0.6), ("time",), lambda result: False),
    "burn_processor_time": Exhaust("time bounded", "while time.process_time() < 5: pass",
                                   _limits(cpu_s=1, wall_s=90), (), lambda result: result.exit_code == 137),
    "daemon_that_stays": Exhaust("nothing survives", _DAEMON, _limits(), (), None, True),
}  # fmt: skip


def try_one(workspace: Workspace, attack: Exhaust) -> str | None:
    """What the attack reached; None if it was held off."""
    mark = secrets.token_hex(12)
    code = f"import mmap, os, signal, socket, sys, time  # {mark}\n{attack.code}"
    result = workspace.exec([own_interpreter(), "-I", "-S", "-c", code], limits=attack.limits)
    if left := _left(mark):
        return f"{len(left)} processes are left"
    if attack.guarantee == "nothing survives" and result.exit_code == 0:
        return None
    if result.killed in attack.killed or result.output.strip() == "held" or (attack.also and attack.also(result)):
        return None
    return f"killed {result.killed}, exit {result.exit_code}, {result.output[-120:]!r}"


def _left(mark: str) -> list[str]:
    """Processes that still run the attack, after a moment to vanish."""
    end, found = time.monotonic() + 4, ["?"]
    while found and time.monotonic() < end:
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if mark.encode() in Path(f"/proc/{name}/cmdline").read_bytes():
                    found.append(name)
            except OSError:
                continue
        if found:
            time.sleep(0.02)
    return found
