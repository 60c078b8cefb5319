"""A control group for one command, where this process may make one: the only limit that sees all memory.

Looking at processes (`watch`) misses what is used and given back between two looks, and memory that the kernel holds
for them. Version 1 and 2 of the interface; what is not to be had is left out. Sources: the kernel's
admin-guide/cgroup-v1/memory.rst, cgroup-v1/pids.rst and cgroup-v2.rst.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from vivace.sandbox.watch import descendants

_NUMBERS = itertools.count()
_PATIENCE = 1.0  # seconds for what was killed to vanish from the group


@dataclass(frozen=True)
class Controller:
    """A folder of the kernel's in which groups can be made, and what its files are called."""

    parent: Path
    memory: str | None
    processes: str | None
    events: str | None
    """File that counts the kernel's kills for want of memory, in a line that starts with `oom_kill`."""


@lru_cache(maxsize=1)
def controllers() -> tuple[Controller, ...]:
    """What can be limited here; found by making a group and limiting it."""
    found = []
    for parent, names in _hierarchies():
        kinds = [Controller(parent, "memory.limit_in_bytes", None, "memory.oom_control"),
                 Controller(parent, None, "pids.max", None)]  # fmt: skip
        if names == {""}:
            with suppress(OSError):
                (parent / "cgroup.subtree_control").write_text("+memory +pids")
            kinds = [Controller(parent, "memory.max", "pids.max", "memory.events")]
        found += [kind for kind in kinds if ("memory" in names if kind.memory else "pids" in names) or names == {""}]
    return tuple(kind for kind in found if _works(kind))


def _hierarchies() -> list[tuple[Path, set[str]]]:
    """(our group's folder, controllers it has) of every hierarchy; {""} for version 2."""
    try:
        ours = [line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines()]
        mounts = [line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    except OSError:
        return []
    found = []
    for names, group in ours:
        for place, kind in mounts:
            root, point = place.split()[3:5]
            filesystem, _, options = kind.split(" ", 2)
            fits = filesystem == "cgroup" and set(names.split(",")) <= set(options.split(","))
            if (fits and names) or (filesystem == "cgroup2" and not names):
                found.append((Path(point) / os.path.relpath(group, root), set(names.split(","))))
                break
    return found


def _works(controller: Controller) -> bool:
    try:
        group = _Group(controller, f"vivace-{os.getpid()}-try", 1 << 30, 1000)
    except OSError:
        return False
    group.remove()
    return True


class _Group:
    def __init__(self, controller: Controller, name: str, memory: int, processes: int) -> None:
        self._controller, self.path = controller, controller.parent / name
        self.path.mkdir()
        try:
            if controller.memory:
                (self.path / controller.memory).write_text(str(memory))
            if controller.processes:
                (self.path / controller.processes).write_text(str(processes))
        except OSError:
            self.path.rmdir()
            raise

    def members(self) -> list[int]:
        return [int(pid) for pid in (self.path / "cgroup.procs").read_text().split()]

    def kills(self) -> int:
        """How often the kernel has killed in here for want of memory."""
        if self._controller.events:
            for line in (self.path / self._controller.events).read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0

    def remove(self) -> None:
        """End what is left in the group, and the group."""
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                self.path.rmdir()
                return
            except OSError:
                if time.monotonic() > end:
                    return  # `sweep` takes it at a later start
            with suppress(OSError):
                for pid in self.members():
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)


class Cage:
    """The groups of one command; empty where there are no control groups. Close it when the command has ended."""

    def __init__(self, memory: int, processes: int) -> None:
        """Args: memory: bytes in all, of the kernel's for them too. processes: and threads, at once."""
        self._groups: list[_Group] = []
        name = f"vivace-{os.getpid()}-{next(_NUMBERS)}"
        for controller in controllers():
            with suppress(OSError):  # taken away meanwhile: what looks at the processes is still there
                self._groups.append(_Group(controller, name, memory, processes))

    def __bool__(self) -> bool:
        return bool(self._groups)

    def hold(self, pid: int) -> None:
        """Take in a process that was just started, with what it has started since."""
        held: set[int] = set()
        while self._groups and (new := set(descendants(pid)) - held):
            for group in self._groups:
                for each in new:
                    with suppress(OSError):  # it ended
                        (group.path / "cgroup.procs").write_text(str(each))
            held |= new

    def burst(self) -> bool:
        """Whether the kernel had to kill something for want of memory."""
        for group in self._groups:
            with suppress(OSError):
                if group.kills():
                    return True
        return False

    def close(self) -> None:
        """Remove the groups; what is still in them is killed."""
        for group in self._groups:
            group.remove()
        self._groups = []


def sweep() -> None:
    """Remove groups whose process was killed before it could."""
    for controller in controllers():
        for group in controller.parent.glob("vivace-*-*"):
            pid = group.name.split("-")[1]
            if pid.isdigit() and not Path("/proc", pid).exists():
                with suppress(OSError):
                    group.rmdir()
