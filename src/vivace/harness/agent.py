"""The agent for people: the same loop on a real checkout, whose files change only after approval."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vivace.core.errors import BadInput, InfraError
from vivace.core.files import digest
from vivace.core.protocols import Client
from vivace.core.types import Sampling, Task, Trajectory
from vivace.harness.apply import Checkout
from vivace.harness.environment import Environment
from vivace.harness.hooks import Hooks
from vivace.harness.loop import Limits, run
from vivace.harness.policy import protected
from vivace.harness.policy.gate import Gate
from vivace.harness.policy.policy import Policy
from vivace.harness.tools.base import ROOT, Tool
from vivace.harness.tools.registry import get_profile
from vivace.harness.tools.run_tests import is_test_file
from vivace.sandbox import ExecLimits, Sandbox, Workspace, open_sandbox
from vivace.sandbox.testrun import TestReport, run_pytest

TEST_SECONDS = 300.0
_PATH = re.compile(r"(?<![\w/.-])([\w./-]+\.py)((?:::[A-Za-z_]\w*)*(?:\[[^\]\n]*\])?)")
_NEEDS_TESTS = re.compile(
    r"\b(tests?|pytest|test_\w+)\b.{0,80}\b(fail\w*|pass|broken?|breaks?|errors?|red|green)\b"
    r"|\b(fail\w*|broken)\b.{0,20}\btests?\b",
    re.IGNORECASE | re.DOTALL,
)
_HAS_PYTEST = "import sys; from importlib.util import find_spec; sys.exit(find_spec('pytest') is None)"
# A user's tests may need the plug-ins that are installed beside them; those of a task are made to run without.
_WITH_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": ""}


def _nobody(path: str, why: str) -> bool:
    return False


def run_agent(
    prompt: str,
    repo: Path,
    client: Client,
    limits: Limits,
    approve: Callable[[str], bool],
    *,
    profile: str = "copilot",
    sampling: Sampling | None = None,
    seed: int = 0,
    hooks: Hooks | None = None,
    gate: Gate | None = None,
    more_tools: Sequence[Tool] = (),
    sandbox: Sandbox | None = None,
    agree: Callable[[str, str], bool] = _nobody,
) -> Trajectory:
    """Have `client` do what `prompt` asks in the checkout `repo`.

    The work happens on a private copy in the sandbox. `approve` is then shown the patch, if there is one; only when it
    returns True are the real files written. Profiles that only look need no tests and change nothing. Tokens spent are
    in `Trajectory.usage`.

    Args:
        gate: the policy, and whom to ask; default: the default policy with nobody to ask.
        more_tools: beside those of the profile (`harness.mcp`); not for native models.
        sandbox: the isolation that the policy has here; default: the best there is.
        agree: asked with (path, why) about each changed file that the host runs later, once the patch is approved;
            those refused are left out.
    Raises:
        BadInput: no such folder, unreadable, the prompt needs tests and there are none, or a file changed meanwhile.
        InfraError: the endpoint or the sandbox failed before anything was done.
    """
    gate = gate or Gate(Policy())
    with open_checkout(repo, sandbox) as (workspace, checkout):
        trajectory = work_in(workspace, prompt, client, limits, profile=profile, sampling=sampling, seed=seed,
                             hooks=hooks, gate=gate, more_tools=more_tools)
        if trajectory.stop_reason == "infra" and not trajectory.patch:
            raise InfraError(trajectory.error)
        if workspace.changed_files():
            if gate.policy.sandbox == "read-only":  # the gate has put everything back: nothing can be here
                raise InfraError("something was changed although the sandbox is read-only; nothing was applied")
            never = {path for path in workspace.changed_files() if protected.never(path)}
            checkout.check(without=never)
            if approve(trajectory.patch):
                _apply(checkout, never, gate.policy.protected, agree)
    return trajectory


def _apply(
    checkout: Checkout, never: set[str], more: Sequence[str], agree: Callable[[str, str], bool]
) -> None:
    without = set(never)
    agreed: set[str] = set()
    for path in checkout.workspace.changed_files():
        if path not in never and (why := protected.run_later(path, more)):
            (agreed if agree(path, why) else without).add(path)
    checkout.apply(agreed, without, more)


@contextmanager
def open_checkout(repo: Path, sandbox: Sandbox | None = None) -> Iterator[tuple[Workspace, Checkout]]:
    """A private copy of the checkout `repo` in the sandbox (default: the best there is).

    Raises:
        BadInput: there is no such folder, or no way in.
    """
    repo = _readable(repo)
    with Workspace(repo, sandbox or open_sandbox(), env=_import_path(repo)) as workspace:
        yield workspace, Checkout(workspace)


def work_in(
    workspace: Workspace,
    prompt: str,
    client: Client,
    limits: Limits,
    *,
    profile: str = "copilot",
    sampling: Sampling | None = None,
    seed: int = 0,
    hooks: Hooks | None = None,
    gate: Gate | None = None,
    more_tools: Sequence[Tool] = (),
) -> Trajectory:
    """Have `client` do what `prompt` asks in `workspace`, the copy of a checkout; which stays as it is.

    Args:
        gate, more_tools: as `run_agent`.
    Raises:
        BadInput: the prompt needs tests and there are none.
    """
    repo = workspace.base
    works = get_profile(profile).purpose == "work"
    tests = _tests_in(prompt, repo, workspace.files()) if works else _Tests([], False)
    python = find_python(repo, workspace, needed=tests.needed) if works else Path(sys.executable)
    task = Task(
        id=f"agent-{digest([prompt, repo.name])}", family="agent", stage="user", env="checkout", repo=repo.name,
        split="eval", licence="", problem_statement=prompt, bug_patch="", gold_patch="",
        FAIL_TO_PASS=tests.named, PASS_TO_PASS=[],
    )  # fmt: skip
    guard = (gate or Gate(Policy())).around
    env = Environment(workspace, _test_runner(workspace, python), tests.named or None, guard=guard,
                      more_tools=more_tools)
    limits = limits.model_copy(update={"review": works and not get_profile(profile).terse})
    return run(task, env, client, limits, profile=profile, sampling=sampling, seed=seed, hooks=hooks)


def _test_runner(workspace: Workspace, python: Path) -> Callable[[list[str] | None], TestReport]:
    def run_tests(ids: list[str] | None) -> TestReport:
        limits = ExecLimits(wall_s=TEST_SECONDS)
        return run_pytest(workspace, python, ids or (), limits=limits, env=_WITH_PLUGINS)

    return run_tests


def _readable(repo: Path) -> Path:
    try:
        if not repo.is_dir():
            raise BadInput(f"{repo} is not a folder; give the root of a repository with --repo")
        next(repo.iterdir(), None)
    except PermissionError:
        raise BadInput(f"{repo} cannot be read; check its permissions") from None
    return repo.resolve()


def _import_path(repo: Path) -> dict[str, str]:
    """Packages below src/ are imported from the workspace, not from an installed copy."""
    return {"PYTHONPATH": "src"} if (repo / "src").is_dir() else {}


@dataclass(frozen=True)
class _Tests:
    named: list[str]
    needed: bool


def _tests_in(prompt: str, repo: Path, files: list[str]) -> _Tests:
    """Tests that the prompt names (files or node ids), and whether it makes no sense without tests."""
    named: list[str] = []
    for path, node in _PATH.findall(prompt):
        for root in (str(repo), ROOT):
            path = path.removeprefix(root + "/")
        path = os.path.normpath(path)
        if not is_test_file(path):
            continue
        if path not in files:
            raise BadInput(f"the prompt names {path}, which is not in {repo}; check the path or --repo")
        named.append(path + node)
    needed = bool(named) or _NEEDS_TESTS.search(prompt) is not None
    if needed and not any(map(is_test_file, files)):
        raise BadInput(f"no tests in {repo} (no test_*.py or *_test.py); say what to change instead, or add a test")
    return _Tests(list(dict.fromkeys(named)), needed)


def find_python(repo: Path, workspace: Workspace, *, needed: bool = True) -> Path:
    """An interpreter that has pytest: the repository's own environment, the active one, or the one running this.

    Asked inside the sandbox, because an environment in a repository is the repository's code.

    Raises:
        BadInput: none has it and tests are needed.
    """
    for python in _interpreters(repo):
        readonly = [python.parent.parent]
        probe = workspace.exec([str(python), "-c", _HAS_PYTEST], limits=ExecLimits(wall_s=30), readonly=readonly)
        if probe.exit_code == 0:
            return python
    if needed:
        raise BadInput(f"no interpreter with pytest for {repo}; make .venv there and install pytest and the package")
    return Path(sys.executable)


def _interpreters(repo: Path) -> Iterator[Path]:
    prefixes = [repo / ".venv", repo / "venv", Path(os.environ.get("VIRTUAL_ENV", "/nonexistent")), Path(sys.prefix)]
    for prefix in prefixes:
        python = prefix / "bin" / "python"
        if python.exists():
            yield python
