"""A machine that refuses what a sandbox needs: a typed error, and nothing left open or running."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from vivace.core.errors import SandboxError
from vivace.sandbox import Sandbox, Workspace
from vivace.sandbox import supervise as module
from vivace.sandbox.watch import descendants


def refuse(*args: object, **more: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize(("place", "name"), [(os, "pidfd_open"), (module.selectors, "DefaultSelector"),
                                             (module, "memory_file"), (module.subprocess, "Popen")])  # fmt: skip
def test_a_refusal_is_a_sandbox_error_and_leaves_nothing(
    base: Path, any_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, place: object, name: str
) -> None:
    with Workspace(base, any_sandbox) as workspace:
        assert workspace.exec(["true"], stdin="x", collect=True).exit_code == 0
        before, children = len(os.listdir("/proc/self/fd")), descendants(os.getpid())
        monkeypatch.setattr(place, name, refuse)
        for _ in range(3):
            with pytest.raises(SandboxError, match="open files"):
                workspace.exec(["sleep", "60"], stdin="x", collect=True)
        monkeypatch.undo()
        end = time.monotonic() + 5.0  # threads that other tests left open files of their own for a moment
        while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < end:
            time.sleep(0.02)
        assert len(os.listdir("/proc/self/fd")) <= before
        assert set(descendants(os.getpid())) <= set(children)  # what other tests left may end meanwhile
        assert workspace.exec(["true"]).exit_code == 0
