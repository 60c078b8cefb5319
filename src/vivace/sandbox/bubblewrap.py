"""Isolation by bubblewrap: every namespace of its own, a minimal read-only root, a system-call filter.

Run by an ordinary user, bubblewrap makes a user namespace. Run by root it needs none, and the command is
given a uid of its own instead, because the kernel does not apply process limits to uid 0.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from vivace.core.errors import SandboxError
from vivace.sandbox import host
from vivace.sandbox.limits import OPEN_FILES, ExecResult, Guarantees, Job
from vivace.sandbox.seccomp import AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, build_filter
from vivace.sandbox.supervise import Ended, Launch, machinery, memory_file, supervise

MOUNT = "/workspace"
_PRIVATE = {"/dev/shm": 64 << 20, "/tmp": 128 << 20}
"""File systems in memory that are made for every command, with their sizes in bytes."""

# Limits are set inside, by the shell that then becomes the command: RLIMIT_NPROC counts per user namespace
# only if set there. dash says -p for processes, bash -u. Sizes are in KiB for -v and 512-byte blocks for -f.
_SET_LIMITS = (
    "ulimit -c 0; ulimit -v {address_kib}; ulimit -f {file_blocks}; ulimit -n {files}; ulimit -t {cpu_s}; "
    '{{ ulimit -p {processes} || ulimit -u {processes}; }} 2>/dev/null; exec "$@"'
)

_FIX = "allow user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)"


class Bubblewrap:
    """The default on Linux. `program` is the path of `bwrap`."""

    name = "bubblewrap"

    def __init__(self, program: str | None = None) -> None:
        found = program or shutil.which("bwrap")
        if not found:
            raise SandboxError("bubblewrap is not installed; install the package `bubblewrap`")
        self.program = found
        self.setpriv = shutil.which("setpriv")
        if host.fresh_owner() is not None and not self.setpriv:
            raise SandboxError(
                "running as root needs `setpriv`; install the package `util-linux`, or run as a user"
            )
        self.filter = build_filter([AF_UNIX, AF_INET, AF_INET6, AF_NETLINK])
        self.guarantees = Guarantees(self.name, ())

    def owner_for(self, readonly: Sequence[Path]) -> int | None:
        """A uid of its own when we are root of the machine."""
        return host.fresh_owner()

    def mount_point(self, root: Path) -> str:
        """Every workspace is seen at the same place, so output does not depend on the host's folders."""
        return MOUNT

    def describe(self) -> Guarantees:
        """Guarantees found held when this backend was opened."""
        return self.guarantees

    @machinery("bubblewrap failed")
    def run(self, job: Job) -> ExecResult:
        """See `Sandbox.run`."""
        status_read, status_write = os.pipe()
        fds = [status_write]
        env = host.clean_environment(job.env)
        channel = None
        if job.collect:
            channel, channel_write = os.pipe()
            fds.append(channel_write)
            env["VIVACE_RESULT_FD"] = str(channel_write)
        if job.link is not None:
            fds.append(job.link)
            env["VIVACE_LINK_FD"] = str(job.link)
        options = [
            "--json-status-fd",
            str(status_write),
            *self._isolation(job, fds),
            *self._filesystem(job, fds),
        ]
        for name, value in env.items():
            options += ["--setenv", name, value]
        options += ["--chdir", os.path.normpath(os.path.join(MOUNT, job.cwd))]
        # By descriptor, because the command line of the first process can be read from inside.
        fds.append(memory_file("".join(f"{option}\0" for option in options).encode()))
        command = [self.program, "--args", str(fds[-1]), "--", *self._drop_root(job), *_limited(job)]
        launch = Launch(command, job.limits, _kill_tree, [job.root], job.base_usage, job.stdin, fds)
        launch.keyboard, launch.listen = job.keyboard, job.listen
        launch.cancel, launch.status, launch.channel, launch.private = job.cancel, status_read, channel, _PRIVATE
        return _result(supervise(launch))

    def _isolation(self, job: Job, fds: list[int]) -> list[str]:
        filter_fd = memory_file(self.filter)
        fds.append(filter_fd)
        options = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        options += [
            "--hostname",
            "sandbox",
            "--die-with-parent",
            "--new-session",
            "--seccomp",
            str(filter_fd),
        ]
        if job.owner is not None:
            return [*options, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        return [*options, "--unshare-user"]

    def _filesystem(self, job: Job, fds: list[int]) -> list[str]:
        options = list(_system())
        uid = os.getuid() if job.owner is None else job.owner
        files = {"passwd": host.passwd(uid), "group": host.group(uid), "hosts": host.HOSTS}
        for name, data in {**files, "nsswitch.conf": host.NSSWITCH}.items():
            fds.append(memory_file(data))
            options += ["--perms", "0644", "--file", str(fds[-1]), f"/etc/{name}"]
        options += ["--proc", "/proc", "--dev", "/dev"]
        for place, size in _PRIVATE.items():
            options += ["--size", str(size), "--perms", "1777", "--tmpfs", place]
        shown = host.visible_dirs(job.readonly)
        # Folders that bwrap makes on the way to a mount are closed to others unless made in the open.
        for above in sorted({above for folder in shown for above in folder.parents if above != Path("/")}):
            options += ["--perms", "0755", "--dir", str(above)]
        for folder in sorted(shown):
            options += ["--ro-bind", str(folder), str(folder)]
        options += ["--bind", str(job.root), MOUNT]
        for name, place in sorted(job.names.items()):
            for above in reversed(Path(name).parents[:-1]):
                options += ["--perms", "0755", "--dir", str(above)]
            options += ["--symlink", os.path.normpath(os.path.join(MOUNT, place)), name]
        # The root and /dev are memory without a size limit: nothing may be written there.
        return [*options, "--remount-ro", "/dev", "--remount-ro", "/"]

    def _drop_root(self, job: Job) -> list[str]:
        if job.owner is None or self.setpriv is None:
            return []
        uid = str(job.owner)
        return [self.setpriv, "--reuid", uid, "--regid", uid, "--clear-groups", "--inh-caps=-all"]


@lru_cache(maxsize=1)
def _system() -> tuple[str, ...]:
    """Mounts of the system's own folders and files."""
    options: list[str] = []
    for folder in map(Path, host.SYSTEM_DIRS):
        if folder.is_symlink():
            options += ["--symlink", os.readlink(folder), str(folder)]
        elif folder.is_dir():
            options += ["--ro-bind", str(folder), str(folder)]
    options += ["--perms", "0755", "--dir", "/etc"]
    for name in host.SYSTEM_FILES:
        options += ["--ro-bind-try", name, name]
    return tuple(options)


def _limited(job: Job) -> list[str]:
    limits = job.limits
    script = _SET_LIMITS.format(
        address_kib=limits.memory_mb << 10,
        file_blocks=limits.file_mb << 11,
        files=OPEN_FILES,
        cpu_s=limits.processor_seconds,
        processes=limits.processes,
    )
    return ["/bin/sh", "-c", script, "sh", *job.argv]


def _statuses(data: bytes) -> dict[str, int]:
    merged: dict[str, int] = {}
    for line in data.splitlines():
        with suppress(ValueError):
            merged.update(json.loads(line))
    return merged


def _kill_tree(process: subprocess.Popen[bytes], status: bytes) -> None:
    """SIGKILL the first process of the namespace: the kernel ends all others with it, and bwrap reaps it."""
    pid = _statuses(status).get("child-pid")
    with suppress(ProcessLookupError):
        if pid is None:
            process.kill()
        else:
            os.kill(pid, signal.SIGKILL)


def _result(ended: Ended) -> ExecResult:
    if ended.killed is None and "exit-code" not in _statuses(ended.status):
        # bwrap reports an exit code only once the command really ran.
        message = ended.output.strip().splitlines()[-1:] or [f"exit {ended.returncode}"]
        raise SandboxError(f"bubblewrap could not set up the sandbox ({message[0]}); {_FIX}")
    return ended.result(ended.returncode)
