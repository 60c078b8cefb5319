"""Isolation without namespaces, for containers that refuse them: Landlock, seccomp and resource limits.

There is no private network: the command can make no socket at all. There is no private view of the file system
either: other paths exist, but cannot be opened. What Landlock does not govern, changing permissions or times by
path, does nothing when the command runs under the caller's own uid.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vivace.core.errors import SandboxError
from vivace.sandbox import host, landlock_launcher
from vivace.sandbox.limits import OPEN_FILES, ExecResult, Guarantees, Job
from vivace.sandbox.seccomp import build_filter
from vivace.sandbox.supervise import Launch, machinery, memory_file, supervise

_OLDEST = 6  # the first version of Landlock that keeps signals in
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_ETC = ("/etc/passwd", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf")
SHOWN_ROOT = "/workspace"


class Landlock:
    """The fallback. Slower to start than bubblewrap: every command is started by a small interpreter."""

    name = "landlock"

    def __init__(self) -> None:
        version = landlock_launcher.landlock_version()
        if version < _OLDEST:
            has = f"version {version} of Landlock" if version else "no Landlock"
            raise SandboxError(f"this kernel has {has}; use Linux 6.12 or newer, or install `bubblewrap`")
        self.guarantees = Guarantees(self.name, ())

    def owner_for(self, readonly: Sequence[Path]) -> int | None:
        """A uid of its own when we are root and that uid could reach the interpreters; else the caller's."""
        shown = [*host.visible_dirs(readonly), Path(tempfile.gettempdir())]
        return host.fresh_owner() if all(map(_open_to_all, shown)) else None

    def mount_point(self, root: Path) -> str:
        """The host's own path: nothing is mounted."""
        return str(root)

    def describe(self) -> Guarantees:
        """Guarantees found held when this backend was opened."""
        return self.guarantees

    @machinery("landlock failed")
    def run(self, job: Job) -> ExecResult:
        """See `Sandbox.run`."""
        if job.names:
            raise SandboxError(f"landlock cannot show the workspace as {min(job.names)}; install `bubblewrap`")
        scratch = Path(tempfile.mkdtemp(prefix="tmp-", dir=job.root.parent))
        try:
            if job.owner is not None:
                os.chown(scratch, job.owner, job.owner)
            return self._run(job, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _run(self, job: Job, scratch: Path) -> ExecResult:
        status_read, status_write = os.pipe()
        keep, channel = [], None
        if job.collect:
            channel, channel_write = os.pipe()
            keep.append(channel_write)
        if job.link is not None:
            keep.append(job.link)
        config = self._config(job, scratch, keep, status_write)
        config_fd = memory_file(json.dumps(config).encode())
        command = [sys.executable, "-I", "-S", "-B", landlock_launcher.__file__, str(config_fd)]
        fds = [config_fd, status_write, *keep]
        disks = [job.root, scratch]
        launch = Launch(command, job.limits, _terminate, disks, job.base_usage, job.stdin, fds)
        launch.keyboard, launch.listen = job.keyboard, job.listen
        launch.cancel, launch.status, launch.channel = job.cancel, status_read, channel
        ended = supervise(launch)
        answer: dict[str, Any] = {}
        with suppress(ValueError):
            answer = json.loads(ended.status)
        if "error" in answer or (ended.killed is None and "exit" not in answer):
            message = answer.get("error") or (ended.output.strip().splitlines() or ["no answer"])[-1]
            raise SandboxError(f"landlock could not confine the command ({message}); install `bubblewrap`")
        ended.output = ended.output.replace(str(job.root), SHOWN_ROOT)
        return ended.result(answer.get("exit", 128 + signal.SIGKILL))

    def _config(self, job: Job, scratch: Path, keep: list[int], status: int) -> dict[str, Any]:
        env = host.clean_environment({"HOME": str(scratch), "TMPDIR": str(scratch), **job.env})
        if job.collect:
            env["VIVACE_RESULT_FD"] = str(keep[0])
        if job.link is not None:
            env["VIVACE_LINK_FD"] = str(job.link)
        limits = job.limits
        cpu_s, address, size = limits.processor_seconds, limits.memory_mb << 20, limits.file_mb << 20
        return {
            "argv": list(job.argv),
            "cwd": str(job.root / job.cwd),
            "env": env,
            "uid": job.owner,
            "filter": base64.b64encode(
                build_filter([], shared=True, freeze_permissions=job.owner is None)).decode(),
            "read": [
                *host.SYSTEM_DIRS,
                *host.SYSTEM_FILES,
                *_ETC,
                *map(str, host.visible_dirs(job.readonly)),
            ],
            "write": [str(job.root), str(scratch)],
            "devices": list(_DEVICES),
            "rlimits": [
                ("RLIMIT_CORE", 0),
                ("RLIMIT_AS", address),
                ("RLIMIT_FSIZE", size),
                ("RLIMIT_NOFILE", OPEN_FILES),
                ("RLIMIT_CPU", cpu_s),
            ],
            "processes": limits.processes,
            "status": status,
            "keep": keep,
        }


def _open_to_all(path: Path) -> bool:
    """Whether any user can get to `path` and look into it."""
    try:
        real = Path(os.path.realpath(path))
        return all(folder.stat().st_mode & 0o001 for folder in (real, *real.parents))
    except OSError:
        return False


def _terminate(process: subprocess.Popen[bytes], status: bytes) -> None:
    """The launcher, asked to end, first ends everything below it."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
