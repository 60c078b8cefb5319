"""What a command may use, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

OPEN_FILES = 512
"""Descriptors a process may hold."""


class ExecLimits(BaseModel):
    """Bounds of one command. Passing one of them ends the whole process tree with SIGKILL."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wall_s: float = Field(default=60.0, gt=0)
    """Wall-clock seconds."""
    cpu_s: float | None = Field(default=None, gt=0)
    """Processor seconds of one process; None: twice `wall_s`. A limit that a busy machine does not make tighter."""
    memory_mb: int = Field(default=2048, ge=64)
    """MiB resident in the whole tree (watched), and of address space per process (RLIMIT_AS)."""
    processes: int = Field(default=128, ge=1)
    """Processes and threads alive at once."""
    output_bytes: int = Field(default=1 << 20, ge=256)
    """Bytes of output kept: the first three quarters and the last quarter; the middle is dropped."""
    disk_mb: int = Field(default=256, ge=1)
    """MiB the workspace may grow by."""
    file_mb: int = Field(default=64, ge=1)
    """MiB of one file (RLIMIT_FSIZE)."""

    @property
    def processor_seconds(self) -> int:
        """What RLIMIT_CPU is set to."""
        return int(self.cpu_s if self.cpu_s is not None else self.wall_s * 2) + 1


@dataclass(frozen=True)
class ExecResult:
    """Outcome of one command."""

    exit_code: int
    """As a shell reports it: 128 + n when signal n ended the command."""
    output: str
    """stdout and stderr, merged as they came."""
    timed_out: bool = False
    truncated: bool = False
    """Some output was dropped."""
    duration_s: float = 0.0
    signal: int | None = None
    killed: str | None = None
    """Which limit ended the command: "time", "memory", "processes", "disk", "output"; None if none did."""
    channel: bytes = b""
    """What the command wrote to its private result pipe, when the caller asked for one."""


@dataclass(frozen=True)
class Job:
    """One command as a backend sees it."""

    argv: Sequence[str]
    root: Path
    """Host directory that the command sees, writable, as its workspace."""
    cwd: str
    """Working directory relative to the workspace."""
    limits: ExecLimits
    env: Mapping[str, str]
    readonly: Sequence[Path] = ()
    """Host paths visible read-only, at the same place."""
    owner: int | None = None
    """Uid to run as when the caller is root; None: the caller's own."""
    stdin: bytes | None = None
    collect: bool = False
    """Give the command a result pipe, its number in VIVACE_RESULT_FD."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Other absolute names of places in the workspace, {"/app": ".", "/tests": "tests"}: only backends that mount."""
    link: int | None = None
    """A descriptor that the command inherits as $VIVACE_LINK_FD and that the backend closes once it has."""
    cancel: int | None = None
    """A descriptor of the caller's: when it becomes readable the command is killed ("cancelled")."""
    keyboard: int | None = None
    """A descriptor of the caller's that becomes the command's standard input, in place of `stdin`."""
    listen: Callable[[bytes], None] | None = None
    """Told every piece of output as it comes, in the thread that runs the command."""
    base_usage: tuple[int, int] = (0, 0)
    """(bytes, entries) of the workspace before anything ran; `limits.disk_mb` counts from there."""


@dataclass(frozen=True)
class Guarantees:
    """What the isolation in force holds, found by trying, and what it does not."""

    backend: str
    held: tuple[str, ...]
    missing: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        lacking = f"; not held: {', '.join(self.missing)}" if self.missing else ""
        return f"{self.backend}: {', '.join(self.held)}{lacking}"


class Sandbox(Protocol):
    """A way of running a command that the host need not trust."""

    name: str

    def run(self, job: Job) -> ExecResult:
        """Run one command to its end.

        Raises:
            SandboxError: the isolation itself could not be set up; says nothing about the command.
        """
        ...

    def owner_for(self, readonly: Sequence[Path]) -> int | None:
        """Uid that a new workspace's files and commands should have; None: the caller's own.

        Args:
            readonly: what the commands of that workspace must be able to read.
        """
        ...

    def mount_point(self, root: Path) -> str:
        """Path at which a command sees the workspace kept on the host in `root`."""
        ...

    def describe(self) -> Guarantees:
        """Guarantees held and missing."""
        ...
