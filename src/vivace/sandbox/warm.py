"""A pool of sandboxes in which pytest is already imported: importing it costs more than most packages' tests.

Each slot holds a checkout of the base and a server that forks for every run. A run copies the changes of the caller's
workspace into the slot, so workspaces come and go while the slots stay. Cold runs (`run_pytest`) share nothing with
what ran before and are what a pass is granted by; these are for everything that runs tests by the thousand.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vivace.core.errors import SandboxError
from vivace.sandbox.limits import ExecLimits, ExecResult
from vivace.sandbox.supervise import KeptOutput, machinery
from vivace.sandbox.testrun import (
    DRIVER_ENV,
    Plan,
    TestReport,
    driver_command,
    plan_pytest,
    plan_unittest,
    report_of,
)
from vivace.sandbox.workspace import Workspace

Tree = Workspace | Mapping[str, bytes | None]
"""A workspace, or what differs from the base: {path: contents, or None where deleted}."""
MOUNT = "/workspace"
"""Where the output of a run on changes alone says that the tree was."""
_LIFE_S = 6 * 3600.0
_MOST_RUNS = 1000  # a slot is then replaced, whatever it may have gathered
_START_S = 60.0
_GRACE_S, _END_S = 3.0, 30.0
_MOST_RESULTS = 64 << 20  # bytes


class WarmTests:
    """Runs tests against any workspace of one base, in at most `slots` sandboxes at a time. Thread-safe.

    Args:
        open_workspace: opens a fresh workspace of the base, with the environment the tests need.
        python: interpreter that has pytest.
        limits: of a slot: memory, processes, disk and file size; output and times are given for each run.
        env: added to the environment of the tests.
        turns: shared by pools that take turns: no more runs at a time than it allows, in all of them together.
    """

    def __init__(
        self,
        open_workspace: Callable[[], Workspace],
        python: Path,
        *,
        slots: int = 2,
        limits: ExecLimits | None = None,
        env: Mapping[str, str] | None = None,
        turns: AbstractContextManager[object] | None = None,
    ) -> None:
        self._open, self._python, self._env = open_workspace, python, dict(env or {})
        self._turns = turns or nullcontext()
        self._limits = (limits or ExecLimits()).model_copy(update={"wall_s": _LIFE_S, "cpu_s": None})
        self._idle: list[_Slot] = []
        self._free = threading.BoundedSemaphore(slots)
        self._lock = threading.Lock()

    def run_pytest(
        self,
        workspace: Tree,
        test_ids: Sequence[str] = (),
        *,
        limits: ExecLimits | None = None,
        extra_args: Sequence[str] = (),
        canary: bool = False,
    ) -> TestReport:
        """As `vivace.sandbox.run_pytest`, for the present state of `workspace`, which is left as it is.

        Instead of a workspace: what differs from the base, as `Workspace.tree_changes` gives it.

        Raises:
            BadInput: a canary without test ids.
            SandboxError: the sandbox failed; says nothing about the tests.
        """
        return self._run(workspace, plan_pytest(test_ids, extra_args, canary), limits)

    def run_unittest(
        self,
        workspace: Tree,
        test_ids: Sequence[str] = (),
        *,
        start: str = "tests",
        top: str | None = None,
        limits: ExecLimits | None = None,
        canary: bool = False,
    ) -> TestReport:
        """As `vivace.sandbox.run_unittest`; otherwise as `run_pytest`."""
        return self._run(workspace, plan_unittest(test_ids, start, top, canary), limits)

    def close(self) -> None:
        """End the idle slots; those in use end with their run."""
        with self._lock:
            idle, self._idle = self._idle, []
        for slot in idle:
            slot.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @machinery("the test server failed")
    def _run(self, workspace: Tree, plan: Plan, limits: ExecLimits | None) -> TestReport:
        changes = workspace.tree_changes() if isinstance(workspace, Workspace) else dict(workspace)
        mount = workspace.mount if isinstance(workspace, Workspace) else MOUNT
        if plan.canary:
            changes[plan.canary.path] = plan.canary.source.encode()
        with self._free, self._turns:
            with self._lock:
                slot = self._idle.pop() if self._idle else None
            slot = slot or _Slot(self._open(), self._python, self._limits, self._env)
            try:
                result = slot.run(plan.request, changes, limits or ExecLimits())
                result = replace(result, output=result.output.replace(slot.workspace.mount, mount))
            except BaseException:
                slot.close()
                raise
            if slot.usable:
                with self._lock:
                    self._idle.append(slot)
            else:
                slot.close()
        return report_of(result, plan.canary)


class _Slot:
    """One sandbox with a test server in it."""

    def __init__(
        self, workspace: Workspace, python: Path, limits: ExecLimits, env: Mapping[str, str]
    ) -> None:
        self.workspace, self.usable, self._runs = workspace, True, 0
        self.link, theirs = socket.socketpair()
        self._ended: Future[ExecResult] = Future()
        command, folder = driver_command(python, "serve")
        inside = theirs.detach()
        cancel, self._cancel = os.pipe()

        def live() -> None:
            try:
                whole_env = {**DRIVER_ENV, **env}
                result = workspace.exec(
                    command, limits=limits, env=whole_env, readonly=[folder], link=inside, cancel=cancel
                )
                self._ended.set_result(result)
            except BaseException as error:  # noqa: BLE001  (handed to whoever waits for the slot)
                self._ended.set_exception(error)
            finally:
                os.close(cancel)

        # This thread starts the launcher, which dies with it: it must last as long as the slot.
        self._thread = threading.Thread(target=live, daemon=True, name="vivace-warm-tests")
        self._thread.start()
        self.link.settimeout(_START_S)
        try:
            ready = self.link.recv(64) == b"ready\n"
            problem = "" if ready else self._last_words()
        except TimeoutError:
            ready, problem = False, f"no answer in {_START_S:.0f} s; try again on a quieter machine"
        except BaseException:
            self.close()
            raise
        if not ready:
            self.close()
            raise SandboxError(f"the test server did not start: {problem}")

    def run(
        self, request: dict[str, Any], changes: Mapping[str, bytes | None], limits: ExecLimits
    ) -> ExecResult:
        """Bring the slot's tree to the base plus `changes` and run the tests there."""
        self.workspace.reset(changes)
        self._runs += 1
        self.usable = self._runs < _MOST_RUNS
        output, output_write = os.pipe()
        channel, channel_write = os.pipe()
        start = time.monotonic()
        try:
            times = {"wall_s": limits.wall_s, "cpu_s": limits.processor_seconds}
            message = json.dumps({**request, **times}).encode() + b"\n"
            self.link.settimeout(_GRACE_S)
            with suppress(OSError):  # it died since: noticed below
                sent = socket.send_fds(self.link, [message[: 1 << 16]], [output_write, channel_write])
                self.link.sendall(message[sent:])
        finally:
            os.close(output_write)
            os.close(channel_write)
        try:
            return self._gather(output, channel, limits, start)
        finally:
            os.close(output)
            os.close(channel)

    def _gather(self, output: int, channel: int, limits: ExecLimits, start: float) -> ExecResult:
        kept, results, answer = KeptOutput(limits.output_bytes), bytearray(), bytearray()
        end, stopped = start + limits.wall_s + _GRACE_S, None
        with selectors.DefaultSelector() as selector:
            for fd in (output, channel, self.link.fileno()):
                selector.register(fd, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0.0, end - time.monotonic()))
                if not ready or kept.flooded or len(results) > _MOST_RESULTS:
                    stopped = "output" if ready else "time"
                    break
                for key, _ in ready:
                    data = _read(key.fd)
                    if key.fd == output:
                        kept.add(data)
                    else:
                        (results if key.fd == channel else answer).extend(data)
                    if not data or (key.fd == self.link.fileno() and data.endswith(b"\n")):
                        selector.unregister(key.fd)
        text, truncated = kept.text()
        said = _answer(bytes(answer))
        killed = "time" if said.get("timed_out") else None
        if not said:
            self.usable = False
            killed = stopped or self._reason()
        code = int(said.get("exit", 137))
        return ExecResult(
            exit_code=code,
            output=text,
            timed_out=killed == "time",
            truncated=truncated,
            duration_s=time.monotonic() - start,
            signal=code - 128 if 128 < code <= 192 else None,
            killed=killed,
            channel=bytes(results),
        )

    def _reason(self) -> str:
        """Which limit ended the server; "server" when the code under test did."""
        return self._ended.result(_END_S).killed or "server"

    def _last_words(self) -> str:
        with suppress(TimeoutError):
            lines = self._ended.result(_GRACE_S).output.strip().splitlines()
            return lines[-1] if lines else "it said nothing"
        return "it hangs"

    def close(self) -> None:
        """End the server and destroy the workspace."""
        self.usable = False
        if self._cancel >= 0:
            os.close(self._cancel)  # the other end becomes readable
            self._cancel = -1
        self._thread.join()
        self.link.close()
        self.workspace.close()


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except OSError:
        return b""


def _answer(data: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        value = json.loads(data)
        if isinstance(value, dict):
            return value
    return {}
