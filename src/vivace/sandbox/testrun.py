"""Running a package's tests in a workspace and reading the outcome of each one.

Outcomes travel over a pipe of their own rather than being read off the printed text. Code under test shares
the process with the runner and could forge them, hence the canary: a test with a random name, run last, that
must be reported as failed.
"""

from __future__ import annotations

import json
import posixpath
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput
from vivace.sandbox.host import interpreter
from vivace.sandbox.limits import ExecLimits, ExecResult
from vivace.sandbox.workspace import Workspace

PYTEST_ARGS = ("-q", "--tb=short", "-rfE", "--no-header")
DRIVER_ENV = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis"}
# When several reports name one test (set-up, call, subtests, tear-down), the worst counts.
_KILLED = 128 + 9  # what uses up its processor time ends like this
_WORSE = {"passed": 0, "skipped": 1, "failed": 2, "error": 3}


@dataclass(frozen=True)
class TestReport:
    """What a run of tests showed."""

    __test__ = False  # not a test class, whatever its name

    outcomes: dict[str, str]
    """{test id: "passed" | "failed" | "error" | "skipped"}; a test that did not run is absent."""
    exit_code: int
    """The runner's: 0 all passed, 1 some failed, 2 interrupted, 4 bad usage, 5 none found, 128+n killed."""
    output: str
    duration_s: float
    collected_ok: bool
    """Everything could be imported and collected, and the run came to its end."""
    timed_out: bool = False
    killed: str | None = None
    canary_ok: bool | None = None
    """Whether the canary was reported failed; None without one."""

    @property
    def stopped(self) -> str:
        """What ended the run before its end: a limit, "time" for its processor time too; "" if nothing did."""
        return self.killed or ("time" if self.exit_code == _KILLED else "")

    @property
    def trusted(self) -> bool:
        """No limit was hit, and the exit code and the canary agree with the outcomes reported."""
        if self.killed or self.canary_ok is False:
            return False
        bad = any(outcome in ("failed", "error") for outcome in self.outcomes.values())
        return self.exit_code == (1 if bad or self.canary_ok else 0)

    def passed(self, ids: Sequence[str]) -> bool:
        """Every one of `ids` was explicitly reported passed, in a run that can be trusted."""
        return self.trusted and all(self.outcomes.get(test_id) == "passed" for test_id in ids)


def run_pytest(
    workspace: Workspace,
    python: Path,
    test_ids: Sequence[str] = (),
    *,
    limits: ExecLimits | None = None,
    extra_args: Sequence[str] = (),
    canary: bool = False,
    env: Mapping[str, str] | None = None,
) -> TestReport:
    """Run tests with pytest, from the root of the workspace, in a cold interpreter.

    Args:
        python: interpreter whose environment has pytest and what the package needs; made visible read-only.
        test_ids: node ids, functions without their parameters, classes, files or folders; none: what pytest
            finds. Ids that match nothing are absent from the outcomes; the others still run.
        extra_args: of pytest, for this package (`-p plugin`, `--deselect`, …). Plug-ins never load by
            themselves.
        canary: add the must-fail test; for grading.
    Raises:
        BadInput: a canary without test ids.
        SandboxError: the sandbox failed; says nothing about the tests.
    """
    return _run(workspace, python, plan_pytest(test_ids, extra_args, canary), limits, env)


def run_unittest(
    workspace: Workspace,
    python: Path,
    test_ids: Sequence[str] = (),
    *,
    start: str = "tests",
    top: str | None = None,
    limits: ExecLimits | None = None,
    canary: bool = False,
    env: Mapping[str, str] | None = None,
) -> TestReport:
    """Run tests with unittest, from the root of the workspace; otherwise as `run_pytest`.

    Args:
        test_ids: dotted names as unittest prints them (module.Class.method, or any prefix); none: discovery.
        start: folder where discovery begins.
        top: folder that test modules are imported from; None: `start` itself.
    """
    return _run(workspace, python, plan_unittest(test_ids, start, top, canary), limits, env)


@dataclass(frozen=True)
class Canary:
    """A test made to fail: the file it is in, its id and its source."""

    path: str
    test_id: str
    source: str


@dataclass(frozen=True)
class Plan:
    """What to ask of the driver."""

    request: dict[str, Any]
    canary: Canary | None


def plan_pytest(test_ids: Sequence[str], extra_args: Sequence[str], canary: bool) -> Plan:
    """See `run_pytest`."""
    request = {"runner": "pytest", "args": [*PYTEST_ARGS, *extra_args]}
    planted = None
    if canary:
        first = _first(test_ids).split("::")[0]
        folder = posixpath.dirname(first) if first.endswith(".py") else first
        name = f"test_{secrets.token_hex(8)}"
        path = posixpath.join(folder, f"{name}.py")
        planted = Canary(path, f"{path}::{name}", f"def {name}():\n    {_canary_check()}\n")
    return _plan(request, test_ids, planted)


def plan_unittest(test_ids: Sequence[str], start: str, top: str | None, canary: bool) -> Plan:
    """See `run_unittest`."""
    top = start if top is None else top
    planted = None
    if canary:
        _first(test_ids)
        name = f"test_{secrets.token_hex(8)}"
        check = f"class Case(unittest.TestCase):\n    def {name}(self):\n        {_canary_check()}\n"
        path = posixpath.join(top, f"{name}.py")
        planted = Canary(path, f"{name}.Case.{name}", f"import unittest\n\n\n{check}")
    return _plan({"runner": "unittest", "start": start, "top": top}, test_ids, planted)


def _plan(request: dict[str, Any], test_ids: Sequence[str], canary: Canary | None) -> Plan:
    # The canary comes last, so that a process which ends early never reaches it.
    ids = [*test_ids, canary.test_id] if canary else list(test_ids)
    return Plan({**request, "ids": ids}, canary)


def _first(test_ids: Sequence[str]) -> str:
    if not test_ids:
        raise BadInput("a canary needs the tests it stands beside; give test ids")
    return test_ids[0]


def _canary_check() -> str:
    return f"assert {secrets.randbits(32)} == {(1 << 32) + secrets.randbits(32)}"


@cache
def _driver() -> str:
    return Path(__file__).with_name("testdriver.py").read_text()


def driver_command(python: Path, mode: str) -> tuple[list[str], Path]:
    """(command that starts the driver, folder it needs to see); `mode` is "once" or "serve".

    The driver's source travels as text, so that nothing of Vivace need be visible inside.
    """
    program, folder = interpreter(python)
    return [str(program), "-B", "-c", _driver(), mode], folder


def _run(
    workspace: Workspace,
    python: Path,
    plan: Plan,
    limits: ExecLimits | None,
    env: Mapping[str, str] | None,
) -> TestReport:
    command, folder = driver_command(python, "once")
    if plan.canary:
        workspace.write_text(plan.canary.path, plan.canary.source)
    try:
        result = workspace.exec(
            command,
            limits=limits,
            stdin=json.dumps(plan.request),
            env={**DRIVER_ENV, **(env or {})},
            collect=True,
            readonly=[folder],
        )
    finally:
        if plan.canary:
            with suppress(BadInput):  # the tests may have removed it
                workspace.delete(plan.canary.path)
    return report_of(result, plan.canary)


def report_of(result: ExecResult, canary: Canary | None) -> TestReport:
    """Read the driver's result lines. Code under test may have written some of them, in any form."""
    outcomes: dict[str, str] = {}
    end: dict[str, Any] = {}
    for line in result.channel.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue  # cut off when the process was killed, or forged
        if isinstance(value, dict):
            end = value
        elif isinstance(value, list) and len(value) == 2:
            name, outcome = map(str, value)
            if _WORSE.get(outcome, 3) >= _WORSE.get(outcomes.get(name, "passed"), 0):
                outcomes[name] = outcome if outcome in _WORSE else "error"
    seen = outcomes.pop(canary.test_id, None) if canary else None
    return TestReport(
        outcomes=outcomes,
        exit_code=result.exit_code,
        output=result.output,
        duration_s=result.duration_s,
        collected_ok=bool(end.get("collected")) and end.get("exit") == result.exit_code,
        timed_out=result.timed_out,
        killed=result.killed,
        canary_ok=seen == "failed" if canary else None,
    )
