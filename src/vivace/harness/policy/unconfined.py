"""No isolation: what `--sandbox full` asks for, and nothing else ever gets. Limits of time, output and size hold."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from vivace.harness.policy.host import scrubbed_environment
from vivace.sandbox.limits import ExecResult, Guarantees, Job
from vivace.sandbox.supervise import Launch, machinery, supervise
from vivace.sandbox.watch import descendants

MISSING = ("network closed", "host files unreadable", "host files unwritable", "processes invisible")


class Unconfined:
    """Runs commands as the user, with a scrubbed environment, in the private copy."""

    name = "none"

    def owner_for(self, readonly: Sequence[Path]) -> int | None:
        """Always the caller's own."""
        return None

    def mount_point(self, root: Path) -> str:
        """The host's own path."""
        return str(root)

    def describe(self) -> Guarantees:
        """Nothing is held."""
        return Guarantees(self.name, (), MISSING)

    @machinery("the command could not be started")
    def run(self, job: Job) -> ExecResult:
        """See `Sandbox.run`."""
        env = scrubbed_environment({"PYTHONDONTWRITEBYTECODE": "1", **job.env})
        fds: list[int] = []
        channel = None
        if job.collect:
            channel, channel_write = os.pipe()
            fds.append(channel_write)
            env["VIVACE_RESULT_FD"] = str(channel_write)
        if job.link is not None:
            fds.append(job.link)
            env["VIVACE_LINK_FD"] = str(job.link)
        command = ["/usr/bin/env", "-i", "-C", str(job.root / job.cwd), *(f"{key}={env[key]}" for key in env),
                   *job.argv]  # fmt: skip
        launch = Launch(command, job.limits, _kill_tree, [job.root], job.base_usage, job.stdin, fds)
        launch.cancel, launch.channel = job.cancel, channel
        launch.keyboard, launch.listen = job.keyboard, job.listen
        ended = supervise(launch)
        return ended.result(ended.returncode)


def _kill_tree(process: subprocess.Popen[bytes], status: bytes) -> None:
    for pid in [*descendants(process.pid), process.pid]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
