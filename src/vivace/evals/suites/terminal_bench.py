"""Terminal-Bench 2: tasks in Harbor's format, worked on with a shell in their container, graded by their own tests.

The agent is ours (profile `mini`: one shell). tests/ come into the container only after it has stopped. Where no
engine is, a task whose Dockerfile only copies files and that needs no network is played in the sandbox; others have no
verdict.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

from vivace.core.errors import BadInput, InfraError
from vivace.core.files import digest
from vivace.core.protocols import Client
from vivace.core.types import Attempt, Grade, Sampling, Task, Trajectory
from vivace.evals import containers
from vivace.evals.suites import harbor
from vivace.evals.suites.base import CasePlay, Info, Setting, Suite
from vivace.evals.suites.harbor import HarborTask
from vivace.harness.environment import Environment
from vivace.harness.loop import Limits, run
from vivace.harness.prompts import prompt_hash
from vivace.harness.tools.registry import get_profile
from vivace.sandbox import ExecLimits, ExecResult, TestReport, Workspace, open_sandbox
from vivace.sandbox.testrun import run_pytest

PROFILE, TURNS = "mini", 100
ASK = "{instruction}\n\nCommands start in {workdir}, which is also /workspace. {network}"
READONLY = (Path(sys.prefix),)
_HIDDEN = ".verifier"
_NAMES = {"/tests": f"{_HIDDEN}/tests", "/logs": f"{_HIDDEN}/logs", "/solution": f"{_HIDDEN}/solution"}


class Place(Protocol):
    """Where a task is worked on and graded."""

    workspace: Any
    workdir: str

    def put(self, folder: Path, place: str) -> None: ...
    def script(self, path: str, seconds: float, env: Mapping[str, str], user: str) -> ExecResult: ...
    def read(self, path: str) -> bytes | None: ...


class InContainer:
    """A container of the task's image, with its limits."""

    def __init__(self, task: HarborTask, container: containers.Container) -> None:
        self.workspace, self.workdir, self.put, self.read = container, container.workdir, container.put, container.read

    def script(self, path: str, seconds: float, env: Mapping[str, str], user: str) -> ExecResult:
        return self.workspace.exec(["bash", path], limits=ExecLimits(wall_s=seconds, output_bytes=4 << 20), env=env,
                                   user=user or "0")


class InSandbox:
    """A workspace that has the files of the task's Dockerfile, seen under their names in the image."""

    def __init__(self, workspace: Workspace, workdir: str) -> None:
        self.workspace, self.workdir = workspace, workdir

    def put(self, folder: Path, place: str) -> None:
        for file in sorted(one for one in folder.rglob("*") if one.is_file()):
            inside = f"{_HIDDEN}/{place.strip('/')}/{file.relative_to(folder).as_posix()}"
            self.workspace.write_bytes(inside, file.read_bytes())

    def script(self, path: str, seconds: float, env: Mapping[str, str], user: str) -> ExecResult:
        self.workspace.write_bytes(f"{_HIDDEN}/logs/verifier/.keep", b"")
        paths = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        return self.workspace.exec(["bash", path], limits=ExecLimits(wall_s=seconds, output_bytes=4 << 20),
                                   env={"PATH": paths, **env})

    def read(self, path: str) -> bytes | None:
        inside = f"{_HIDDEN}/{path.strip('/')}"
        return self.workspace.read_bytes(inside) if self.workspace.exists(inside) else None

    def sweep(self) -> None:
        """Nothing that an agent left where the tests will be."""
        self.workspace.exec(["rm", "-rf", f"/workspace/{_HIDDEN}"])


@contextmanager
def opened(task: HarborTask) -> Iterator[Place]:
    """The task's environment.

    Raises:
        BadInput: there is no engine here, and it needs one; says why.
        InfraError: the engine or the sandbox failed.
    """
    if task.beyond:
        raise BadInput(f"{task.beyond}, which is not read here; run it with harbor")
    if containers.engine() is not None:
        image = task.image or containers.build(
            task.folder / "environment", f"vivace-task:{digest([str(task.folder)], 16)}", task.build_seconds)
        with containers.Container(
            image, workdir=task.workdir, network="bridge" if task.network else "none", cpus=task.cpus,
            memory_mb=task.memory_mb, env=task.env, user=task.users.get("agent", ""),
        ) as container:
            yield InContainer(task, container)
        return
    held = harbor.copied(task)
    why = held if isinstance(held, str) else "it needs the network" if task.network else ""
    if why:
        raise BadInput(f"{why}, and no container engine answers here ({containers.SETTING})")
    assert not isinstance(held, str)
    workdir, files, env = held
    with tempfile.TemporaryDirectory(prefix="vivace-harbor-") as base:
        for name, source in files.items():
            target = Path(base) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        with Workspace(Path(base), open_sandbox(), readonly=READONLY, env={**task.env, **env},
                       names={workdir: ".", **_NAMES}) as workspace:
            yield InSandbox(workspace, workdir)


def verify(task: HarborTask, place: Place) -> Grade:
    """Run the task's tests and read its reward; none is 0, as Harbor counts it."""
    if isinstance(place, InSandbox):
        place.sweep()
    place.put(task.folder / "tests", "/tests")
    if isinstance(place, InContainer):
        place.workspace.exec(["sh", "-c", "rm -rf /logs/verifier && mkdir -p /logs/verifier"], user="0")
    done = place.script("/tests/test.sh", task.verifier_seconds, task.verifier_env, task.users.get("verifier", ""))
    rewards = harbor.reward(place.read("/logs/verifier/reward.txt"), place.read("/logs/verifier/reward.json"))
    if rewards is None:
        why = "the tests took too long" if done.timed_out else f"no reward: {' '.join(done.output.split())[-160:]}"
        return Grade(status="failed", scores={"reward": 0.0}, detail=why)
    value = harbor.total(rewards)
    return Grade(status="solved" if value >= 1 else "failed", scores={**rewards, "reward": value},
                 detail=f"reward {value:g}")


def limits(setting: Setting, task: HarborTask | None = None) -> Limits:
    """Those of the product; the time is the task's own."""
    return Limits(max_turns=setting.turns or TURNS, max_output_tokens=setting.max_tokens,
                  max_turn_tokens=min(8192, setting.max_tokens), max_context=131_072,
                  max_seconds=task.agent_seconds if task else 600.0)


def harness(setting: Setting) -> Mapping[str, Any]:
    profile = get_profile(PROFILE)
    return {"kind": "agent", "profile": PROFILE, "tools": profile.hash(), "prompt": prompt_hash(profile),
            "limits": {**limits(setting).model_dump(), "max_seconds": "the task's agent.timeout_sec"}}


def play(task: HarborTask, client: Client, setting: Setting, seed: int, sample: int) -> Attempt:
    """Work in the task's environment, then grade what it has become. Failures of the machinery come back as `infra`."""
    trajectory = Trajectory(task_id=task.id)
    try:
        with opened(task) as place:
            trajectory = _work(task, place, client, setting, seed)
            verdict = (Grade(status="infra", detail=trajectory.error) if trajectory.stop_reason == "infra"
                       else verify(task, place))
    except BadInput as error:
        verdict = Grade(status="invalid", detail=str(error)[:300])
    except InfraError as error:
        trajectory = Trajectory(task_id=task.id, stop_reason="infra", error=str(error))
        verdict = Grade(status="infra", detail=str(error))
    if verdict.status == "failed" and trajectory.stop_reason in ("turns", "tokens", "context", "seconds"):
        verdict = verdict.model_copy(update={"status": "budget"})
    return Attempt(task_id=task.id, repo=task.cluster, sample=sample, model=client.name, trajectory=trajectory,
                   grade=verdict)


def _work(task: HarborTask, place: Place, client: Client, setting: Setting, seed: int) -> Trajectory:
    network = "There is a network." if task.network else "There is no network."
    words = ASK.format(instruction=task.instruction.strip(), workdir=place.workdir, network=network)
    asked = Task(id=task.id, family="terminal", stage="real", env="container", repo=task.cluster, split="eval",
                 licence="", bug_patch="", gold_patch="", FAIL_TO_PASS=[], PASS_TO_PASS=[], problem_statement=words)
    allowed = limits(setting, task)
    window = getattr(client, "window", allowed.max_context)
    allowed = allowed.model_copy(update={"max_context": min(allowed.max_context, window)})

    def tests(ids: list[str] | None) -> TestReport:  # the profile has no tool that asks for them
        return run_pytest(place.workspace, Path(sys.executable), ids or ())

    return run(asked, Environment(cast(Workspace, place.workspace), tests), client, allowed, profile=PROFILE,
               sampling=Sampling(temperature=setting.temperature), seed=seed)


@contextmanager
def session(
    items: Sequence[HarborTask], client: Client, roles: Mapping[str, Client], setting: Setting,
) -> Iterator[CasePlay]:
    yield lambda item, seed, sample: play(item, client, setting, seed, sample)


def checker(load: Callable[[Path], Sequence[HarborTask]]) -> Callable[[Path], tuple[list[float], list[float]]]:
    """Gold: the task's own solution. Wrong: nothing done. As Harbor's oracle and nop."""

    def check(path: Path) -> tuple[list[float], list[float]]:
        gold, wrong = list[float](), list[float]()
        for task in load(path):
            for scores, solved in ((gold, True), (wrong, False)):
                with opened(task) as place:
                    if solved:
                        place.put(task.folder / "solution", "/solution")
                        place.script("/solution/solve.sh", task.agent_seconds, {}, task.users.get("agent", ""))
                    scores.append(float(verify(task, place).solved))
        return gold, wrong

    return check


def found() -> Mapping[str, Any]:
    """Where tasks run here: a container and the sandbox do not give the same figures."""
    return {"environment": containers.identity() or f"{open_sandbox().name}, where a task allows it"}


def _suite(version: str, dataset: str, notes: str) -> Suite:
    name = f"terminal-bench-{version}"

    def load(path: Path) -> list[HarborTask]:
        """Folders in Harbor's format."""
        return harbor.read_folder(name, path)

    return Suite(
        Info(name=name, title=f"Terminal-Bench {version}", items="89", licence="Apache-2.0", repeats=5,
             source=f"{dataset} (Harbor task folders)", gate="canary: not for training", engine="container",
             metric="share of tasks with reward 1; their mean reward is the score `reward`", sandboxed=True,
             grader={"version": "1", "tests": "the task's tests/test.sh, copied in after the agent has stopped",
                     "no_reward": 0, "timeouts": "the task's own"}, notes=notes),
        load, session=session, harness=harness, found=found, check=checker(load))


SUITE = _suite("2.0", "terminal-bench/terminal-bench-2", "Figures of 2.0 and 2.1 are not comparable.")
REPAIRED = _suite("2.1", "terminal-bench/terminal-bench-2-1", "28 of 2.0's tasks repaired: timeouts, resources, holes.")
