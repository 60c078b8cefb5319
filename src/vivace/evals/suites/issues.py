"""Issues in repositories, played by our harness: shared by the SWE-bench suites.

What runs where: the agent works in the sandbox on the tree at `base_commit`, without history. Its patch goes into
predictions.jsonl, in upstream's format. A row whose evaluation script needs no image is graded in the sandbox; one that
does (/testbed, conda, /app) in a container of it, and has no verdict where no engine answers.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vivace.core.errors import BadInput, InfraError
from vivace.core.files import atomic_write_text
from vivace.core.protocols import Client
from vivace.core.types import Attempt, Grade, Record, Sampling, Task, Trajectory
from vivace.evals import containers
from vivace.evals.suites.base import CasePlay, Setting
from vivace.harness.environment import Environment
from vivace.harness.loop import Limits, run
from vivace.harness.prompts import prompt_hash
from vivace.harness.tools.registry import get_profile
from vivace.sandbox import ExecLimits, Sandbox, Workspace, open_sandbox
from vivace.sandbox.testrun import TestReport, run_pytest

_APPLY = """
for how in "git apply" "git apply --3way" "git apply --reject" "patch --batch --fuzz=5 -p1 -i"; do
  $how /vivace/patch.diff && exit 0
  git checkout -q -- . ; find . -name '*.rej' -delete
done
exit 1
"""
PROFILE, TURNS, EVAL_SECONDS = "copilot", 100, 1800.0
READONLY = (Path(sys.prefix),)


class Issue(Record):
    """One row: its identity, its tree, what the model is told, and the row itself for the grader."""

    id: str
    cluster: str
    tree: Path
    prompt: str
    row: dict[str, Any]


GradePatch = Callable[[Issue, str, Sandbox], Grade]


def limits(setting: Setting) -> Limits:
    """Those of the product, with the turns and tokens that were asked for."""
    return Limits(max_turns=setting.turns or TURNS, max_output_tokens=setting.max_tokens,
                  max_turn_tokens=min(8192, setting.max_tokens), max_context=131_072, max_seconds=3600.0)


def harness(setting: Setting) -> Mapping[str, Any]:
    profile = get_profile(PROFILE)
    return {"kind": "agent", "profile": PROFILE, "tools": profile.hash(), "prompt": prompt_hash(profile),
            "limits": limits(setting).model_dump(), "history": "none", "hidden_tests": "not named"}


def session(grade: GradePatch) -> Callable[..., Any]:
    """A session whose attempts are graded by `grade` in a fresh workspace."""

    @contextmanager
    def opened(
        items: Sequence[Issue], client: Client, roles: Mapping[str, Client], setting: Setting,
    ) -> Iterator[CasePlay]:
        sandbox = open_sandbox()
        yield lambda item, seed, sample: play(item, client, setting, seed, sample, sandbox, grade)

    return opened


def play(item: Issue, client: Client, setting: Setting, seed: int, sample: int, sandbox: Sandbox,
         grade: GradePatch) -> Attempt:
    """Work, then grade the patch alone. Failures of the machinery come back as `infra`."""
    allowed = limits(setting)
    window = getattr(client, "window", allowed.max_context)
    allowed = allowed.model_copy(update={"max_context": min(allowed.max_context, window)})
    task = Task(id=item.id, family="issue", stage="real", env="checkout", repo=item.cluster, split="eval", licence="",
                problem_statement=item.prompt, bug_patch="", gold_patch="", FAIL_TO_PASS=[], PASS_TO_PASS=[])
    try:
        with Workspace(item.tree, sandbox, readonly=READONLY) as workspace:

            def tests(ids: list[str] | None) -> TestReport:
                return run_pytest(workspace, Path(sys.executable), ids or (), limits=ExecLimits(wall_s=300))

            trajectory = run(task, Environment(workspace, tests), client, allowed, profile=PROFILE,
                             sampling=Sampling(temperature=setting.temperature), seed=seed)
        verdict = (Grade(status="infra", detail=trajectory.error) if trajectory.stop_reason == "infra"
                   else grade(item, trajectory.patch, sandbox))
    except InfraError as error:
        trajectory = Trajectory(task_id=item.id, stop_reason="infra", error=str(error))
        verdict = Grade(status="infra", detail=str(error))
    if verdict.status == "failed" and trajectory.stop_reason in ("turns", "tokens", "context", "seconds"):
        verdict = verdict.model_copy(update={"status": "budget"})
    return Attempt(task_id=item.id, repo=item.cluster, sample=sample, model=client.name, trajectory=trajectory,
                   grade=verdict)


@contextmanager
def patched(item: Issue, patch: str, sandbox: Sandbox) -> Iterator[Workspace]:
    """A fresh workspace with the patch applied.

    Raises:
        BadInput: it does not apply.
    """
    with Workspace(item.tree, sandbox, readonly=READONLY) as workspace:
        if patch.strip():
            workspace.apply(patch)
        yield workspace


def in_image(image: str, workdir: str, patch: str, text: str, seconds: float = EVAL_SECONDS,
             files: Mapping[str, str] | None = None, result: str = "", prepare: str = "true") -> tuple[str, str] | None:
    """(what a bash script prints in a container of the image, contents of the file `result`), after the patch.

    `files` lie in /vivace; `prepare` runs before the patch. None: the patch fits in none of the four ways that upstream
    tries.

    Raises:
        InfraError: the engine fails.
    """
    limits = ExecLimits(wall_s=seconds, output_bytes=16 << 20)
    with tempfile.TemporaryDirectory() as folder, containers.Container(
            image, workdir=workdir, network="bridge") as container:
        for name, held in {"patch.diff": patch, **(files or {})}.items():
            (Path(folder) / name).write_text(held)
        container.put(Path(folder), "/vivace")
        if patch.strip() and container.exec(["/bin/sh", "-c", f"{prepare}\n{_APPLY}"]).exit_code:
            return None
        done = container.exec(["/bin/bash", "-c", text], limits=limits)
        found = container.read(result) if result else None
    late = "\n>>>>> Tests Timed Out\n" if done.timed_out else ""
    return f"{done.output}{late}", (found or b"").decode("utf-8", "replace")


def found() -> dict[str, str]:
    """Where rows are graded here that need their image, and where the others."""
    engine = containers.identity()
    return {"environment": f"{engine} where the row needs its image" if engine else "sandbox"}


def script(workspace: Workspace, text: str, seconds: float = EVAL_SECONDS) -> str:
    """What a bash script prints, run at the root of the workspace with this interpreter first in PATH."""
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    allowed = ExecLimits(wall_s=seconds, output_bytes=16 << 20, memory_mb=8192)
    done = workspace.exec(["bash", "-c", text], limits=allowed,
                          env={"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"})
    return done.output if not done.timed_out else f"{done.output}\n>>>>> Tests Timed Out\n"


def predictions(folder: Path, attempts: Sequence[Attempt]) -> None:
    """predictions.jsonl of the first repeat, as `swebench eval` reads it."""
    rows = [{"instance_id": attempt.task_id.split("/", 1)[1], "model_name_or_path": folder.name,
             "model_patch": attempt.trajectory.patch}
            for attempt in attempts if attempt.sample == 0 and attempt.grade.status != "infra"]
    atomic_write_text(folder / "predictions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def checked(
    load: Callable[[Path], Sequence[Issue]], grade: GradePatch,
) -> Callable[[Path], tuple[list[float], list[float]]]:
    """Gold: the reference patch. Wrong: no patch."""

    def check(path: Path) -> tuple[list[float], list[float]]:
        sandbox, items = open_sandbox(), load(path)
        scores: list[list[float]] = []
        for patches in ([item.row["patch"] for item in items], [""] * len(items)):
            verdicts = [grade(item, patch, sandbox) for item, patch in zip(items, patches, strict=True)]
            if unusable := next((one for one in verdicts if not one.verdict), None):
                raise BadInput(unusable.detail)
            scores.append([float(one.solved) for one in verdicts])
        return scores[0], scores[1]

    return check
