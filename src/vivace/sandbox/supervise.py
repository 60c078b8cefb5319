"""Run one launcher process to its end: read what it writes, hold its limits, leave nothing behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from vivace.core.errors import SandboxError
from vivace.sandbox.cgroup import Cage
from vivace.sandbox.limits import ExecLimits, ExecResult
from vivace.sandbox.watch import descendants, held_bytes, memory_bytes, private_entries, tasks, tree_usage, used_bytes

_TICK = 0.1  # seconds between looks at memory, processes and disk
_SHARE, _LONGEST = 30, 0.5  # looks that take long are spaced out by that factor, up to so many seconds
_GRACE = 2.0  # seconds for a killed tree to vanish
_EXTRA_ENTRIES = 50_000  # files a command may add to its workspace
_FLOOD = 16  # times the kept output that may be written in all before the writer is stopped
_MOST_CHANNEL = 64 << 20
_OVERHEAD_MB = 64  # for the kernel's own bookkeeping, where control groups count it
_LAUNCHERS = 3  # the launcher, its helper and the init of the process namespace


@contextmanager
def machinery(what: str) -> Iterator[None]:
    """Whatever the machine refuses us in here (descriptors, processes, an answer in time) comes out as a SandboxError.

    Callers tell from it that nothing was learnt about the command. A TimeoutError is an OSError too.
    """
    try:
        yield
    except OSError as error:
        raise SandboxError(f"{what}: {str(error) or type(error).__name__}; try again on a quieter machine") from error


@dataclass
class Launch:
    """A launcher about to be started, and how to look after it."""

    command: Sequence[str]
    limits: ExecLimits
    stop: Callable[[subprocess.Popen[bytes], bytes], None]
    """Kill everything the launcher started; gets the process and what it wrote to its status pipe so far."""
    disks: Sequence[Path]
    base_usage: tuple[int, int]
    stdin: bytes | None = None
    pass_fds: Sequence[int] = ()
    """Descriptors the launcher inherits; closed here once it has started."""
    cancel: int | None = None
    """When this becomes readable, everything is killed; the caller closes it."""
    status: int | None = None
    channel: int | None = None
    """Read ends of the launcher's status pipe and of the command's result pipe; closed here at the end."""
    keyboard: int | None = None
    """Becomes the launcher's standard input; the caller closes it."""
    listen: Callable[[bytes], None] | None = None
    """Told every piece of output as it comes."""
    private: Mapping[str, int] = field(default_factory=dict)
    """File systems in memory that only the command sees: {where: bytes}."""

    def cage(self) -> Cage:
        """Control groups with room for all that the limits allow, the files that are kept in memory included.

        It is a ceiling for what happens between two looks: the kernel kills some process of the group, while a look
        that finds too much ends them all and says why.
        """
        megabytes = 2 * self.limits.memory_mb + self.limits.disk_mb + _OVERHEAD_MB
        return Cage((megabytes << 20) + sum(self.private.values()), self.limits.processes + _LAUNCHERS)


@dataclass
class Ended:
    """What the supervisor saw of a launcher."""

    returncode: int
    output: str
    truncated: bool
    killed: str | None
    duration_s: float
    status: bytes
    channel: bytes

    def result(self, code: int) -> ExecResult:
        """As callers see it, `code` being what the launcher says of the command."""
        code = code if code >= 0 else 128 - code
        return ExecResult(
            exit_code=code,
            output=self.output,
            timed_out=self.killed == "time",
            truncated=self.truncated,
            duration_s=self.duration_s,
            signal=code - 128 if 128 < code <= 128 + 64 else None,
            killed=self.killed,
            channel=self.channel,
        )


@dataclass
class KeptOutput:
    """The head and the tail of a stream within `cap` bytes."""

    cap: int
    head: bytearray = field(default_factory=bytearray)
    tail: bytearray = field(default_factory=bytearray)
    seen: int = 0

    @property
    def flooded(self) -> bool:
        """So much was written that the writer should be stopped."""
        return self.seen > _FLOOD * self.cap

    def add(self, data: bytes) -> None:
        """Take in more of the stream."""
        self.seen += len(data)
        room = self.cap * 3 // 4 - len(self.head)
        if room > 0:
            self.head += data[:room]
            data = data[room:]
        self.tail += data
        if len(self.tail) > self.cap:
            del self.tail[: len(self.tail) - self.cap // 4]

    def text(self) -> tuple[str, bool]:
        """(what was kept, whether anything was dropped)."""
        tail = self.tail[-(self.cap - len(self.head)) :]
        dropped = self.seen - len(self.head) - len(tail)
        middle = f"\n[... {dropped} bytes of output dropped ...]\n" if dropped else ""
        return self.head.decode(errors="replace") + middle + tail.decode(errors="replace"), dropped > 0


def memory_file(data: bytes) -> int:
    """A descriptor from which exactly `data` can be read."""
    fd = os.memfd_create("vivace")
    os.write(fd, data) if len(data) < 1 << 16 else _write_all(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


@machinery("the sandbox could not be looked after")
def supervise(launch: Launch) -> Ended:
    """Start the launcher, wait for its end or its limits, and return what happened.

    Raises:
        SandboxError: the launcher could not be started, or the machine had no room to look after it.
    """
    with ExitStack() as ours:
        for fd in (launch.status, launch.channel):
            if fd is not None:
                ours.callback(os.close, fd)
        start = time.monotonic()
        cage = launch.cage()
        ours.callback(cage.close)
        process, output = _start(launch, ours)
        try:
            cage.hold(process.pid)
            supervisor = _Supervisor(launch, process, output, start, ours, cage)
        except BaseException:
            _abandon(launch, process)
            raise
        return supervisor.run()


def _start(launch: Launch, ours: ExitStack) -> tuple[subprocess.Popen[bytes], int]:
    """The launcher and the read end of its output, which `ours` closes."""
    with ExitStack() as theirs:
        for fd in launch.pass_fds:
            theirs.callback(os.close, fd)
        output, write_end = os.pipe()
        ours.callback(os.close, output)
        theirs.callback(os.close, write_end)
        stdin = subprocess.DEVNULL if launch.keyboard is None else launch.keyboard
        if launch.stdin is not None:
            stdin = memory_file(launch.stdin)
            theirs.callback(os.close, stdin)
        try:
            process = subprocess.Popen(
                launch.command,
                stdin=stdin,
                stdout=write_end,
                stderr=write_end,
                pass_fds=tuple(launch.pass_fds),
                cwd="/",
                env={},  # a launcher's own environment can be read from inside through /proc/1/environ
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxError(f"cannot start {launch.command[0]}: {error.strerror}; reinstall it") from error
        return process, output


def _abandon(launch: Launch, process: subprocess.Popen[bytes]) -> None:
    """End a launcher that cannot be watched."""
    launch.stop(process, b"")
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class _Supervisor:
    def __init__(
        self, launch: Launch, process: subprocess.Popen[bytes], output: int, start: float, ours: ExitStack, cage: Cage
    ) -> None:
        self.launch, self.process, self.start, self.cage = launch, process, start, cage
        self.used = {disk: used_bytes(disk) for disk in launch.disks}
        self.output = KeptOutput(launch.limits.output_bytes)
        self.status, self.channel = bytearray(), bytearray()
        self.killed: str | None = None
        self.cancelled = False
        self.output_fd = output
        self.exit_fd = os.pidfd_open(process.pid)
        ours.callback(os.close, self.exit_fd)
        self.selector = ours.enter_context(selectors.DefaultSelector())
        for fd in (output, launch.status, launch.channel, launch.cancel):
            if fd is not None:
                os.set_blocking(fd, False)
                self.selector.register(fd, selectors.EVENT_READ)
        self.selector.register(self.exit_fd, selectors.EVENT_READ)

    def run(self) -> Ended:
        try:
            self._watch()
        except BaseException:
            self._stop("interrupt")
            raise
        duration = time.monotonic() - self.start
        if self.killed is None and self.cage.burst():
            self.killed = "memory"
        text, truncated = self.output.text()
        code = self.process.returncode
        return Ended(code, text, truncated, self.killed, duration, bytes(self.status), bytes(self.channel))

    def _watch(self) -> None:
        deadline = self.start + self.launch.limits.wall_s
        look = self.start + _TICK
        while self.process.returncode is None:
            if self.cancelled:
                return self._stop("cancelled")
            now = time.monotonic()
            if now >= deadline:
                return self._stop("time")
            if now >= look:
                if reason := self._over_limit():
                    return self._stop(reason)
                took = time.monotonic() - now
                look = time.monotonic() + min(max(_TICK, _SHARE * took), _LONGEST)
            self._pump(max(0.0, min(deadline, look) - time.monotonic()))
            if self.output.flooded or len(self.channel) > _MOST_CHANNEL:
                return self._stop("output")
        self._drain()
        return None

    def _pump(self, timeout: float) -> bool:
        """Read whatever is ready; True if anything was."""
        got = False
        for key, _ in self.selector.select(timeout):
            fd = key.fd
            if fd == self.exit_fd:
                self.process.wait()
                self.selector.unregister(fd)
                continue
            if fd == self.launch.cancel:
                self.cancelled = True
                self.selector.unregister(fd)
                continue
            data = os.read(fd, 1 << 16)
            got = True
            if not data:
                self.selector.unregister(fd)
            elif fd == self.output_fd:
                self.output.add(data)
                if self.launch.listen:
                    self.launch.listen(data)
            else:
                (self.status if fd == self.launch.status else self.channel).extend(data)
        return got

    def _drain(self) -> None:
        """Take what is left in the pipes; a survivor that still holds one must not keep us."""
        end = time.monotonic() + _GRACE
        while time.monotonic() < end and self._pump(0):
            pass

    def _over_limit(self) -> str | None:
        limits = self.launch.limits
        pids = descendants(self.process.pid)
        held = held_bytes(pids)
        in_use = max(held.memory, memory_bytes(pids, limits.memory_mb << 20))
        if in_use > limits.memory_mb << 20 or self.cage.burst():
            return "memory"
        if tasks(pids) > limits.processes + _LAUNCHERS:
            return "processes"
        most = self.launch.base_usage[1] + _EXTRA_ENTRIES
        used = [tree_usage(disk, most) for disk in self.launch.disks]
        names = max(sum(each.entries for each in used), private_entries(pids, self.launch.private))
        nbytes, hidden = sum(each.nbytes for each in used) + held.disk, any(each.hidden for each in used)
        return "disk" if names > most or self._grown(nbytes, hidden) else None

    def _grown(self, nbytes: int, hidden: bool) -> bool:
        """Whether more was written than may be. Behind a door that is closed to us, the whole disk tells."""
        most = self.launch.limits.disk_mb << 20
        if nbytes - self.launch.base_usage[0] > most:
            return True
        return hidden and any(used_bytes(disk) - before > most for disk, before in self.used.items())

    def _stop(self, reason: str) -> None:
        self.killed = reason
        self.launch.stop(self.process, bytes(self.status))
        end = time.monotonic() + _GRACE
        while self.process.returncode is None and time.monotonic() < end:
            self._pump(0.05)
        if self.process.returncode is None:
            for pid in reversed(descendants(self.process.pid)):
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
        self._drain()
