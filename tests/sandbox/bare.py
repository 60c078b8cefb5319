"""No isolation at all: what the self-test is for, and where every attack must succeed."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

from vivace.sandbox import ExecResult, Guarantees
from vivace.sandbox.limits import Job


class Bare:
    """Runs commands as they are. Whatever they fill or start, nobody stops them."""

    name = "bare"

    def owner_for(self, readonly: object) -> None:
        return None

    def mount_point(self, root: Path) -> str:
        return str(root)

    def describe(self) -> Guarantees:
        return Guarantees(self.name, ())

    def run(self, job: Job) -> ExecResult:
        environment = {**os.environ, **job.env}
        process = subprocess.Popen(job.argv, cwd=job.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, env=environment)  # fmt: skip
        with suppress(subprocess.TimeoutExpired):
            output, _ = process.communicate(job.stdin, timeout=30 if job.stdin else 1)
            return ExecResult(process.returncode, output.decode())
        process.kill()
        process.communicate()
        return ExecResult(137, "", timed_out=True, killed="time")
