"""What a step of the agent costs beside the model: the same commands by our loop in the sandbox, by our loop with plain
`subprocess` in place of the sandbox, and by mini-swe-agent's loop with its local environment (no sandbox either).

In every round each of them takes its turn, in changing order, on the same folder; a step is the time from one answer of
the scripted model to the next. "Command" is the command alone, without a loop around it. The peer is not a dependency:

    python -m pip install --no-deps --target /tmp/mini mini-swe-agent
    python -m pip install python-dotenv platformdirs requests pyyaml
    PYTHONPATH=/tmp/mini python benchmarks/harness_overhead.py [--rounds 12] [--steps 20] [--json rows.json]
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from rows import Row, finish, parser, row
from vivace.core.errors import BadInput
from vivace.core.types import Message, Task, ToolCall
from vivace.harness.clients.scripted import ScriptedClient
from vivace.harness.environment import Environment
from vivace.harness.loop import Limits, run
from vivace.sandbox import ExecResult, Guarantees, Sandbox, Workspace, open_sandbox
from vivace.sandbox.limits import Job
from vivace.sandbox.testrun import TestReport

TASK = Task(id="bench", env="", repo="", split="eval", licence="", problem_statement="Count.", bug_patch="",
            gold_patch="", FAIL_TO_PASS=[], PASS_TO_PASS=[])  # fmt: skip
Times = list[float]
"""Milliseconds, one for each step or command."""


class Plain:
    """`subprocess` in place of a sandbox, for this comparison only: nothing is isolated."""

    name = "plain"

    def owner_for(self, readonly: Sequence[Path]) -> int | None:
        return None

    def mount_point(self, root: Path) -> str:
        return "/workspace"

    def describe(self) -> Guarantees:
        return Guarantees(self.name, ())

    def run(self, job: Job) -> ExecResult:
        done = subprocess.run(job.argv, cwd=job.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, env={**os.environ, **job.env})
        return ExecResult(done.returncode, done.stdout.decode())


def no_tests(ids: list[str] | None) -> TestReport:
    raise AssertionError("nothing here runs tests")


def our_steps(workspace: Workspace, steps: int) -> Times:
    marks: Times = []

    def policy(messages: Sequence[Message]) -> Message:
        marks.append(time.perf_counter())
        at = len(marks)
        calls = [ToolCall(name="bash", arguments={"command": f"echo {at}"})] if at <= steps else []
        return Message(role="assistant", content=f"step {at}", tool_calls=calls)

    limits = Limits(max_turns=steps + 1, max_output_tokens=1 << 20, max_context=1 << 20)
    done = run(TASK, Environment(workspace, no_tests), ScriptedClient(None, policy), limits, profile="mini")
    assert (done.stop_reason, len(done.outcomes)) == ("complete", steps), done.error
    return [(b - a) * 1e3 for a, b in pairwise(marks)]


def peer_steps(folder: Path, steps: int) -> Times:
    from minisweagent.agents.default import DefaultAgent
    from minisweagent.environments.local import LocalEnvironment
    from minisweagent.models.test_models import DeterministicModel, make_output

    marks: Times = []

    class Marked(DeterministicModel):
        def query(self, messages: list[dict[str, str]], **more: object) -> dict[str, object]:
            marks.append(time.perf_counter())
            answer: dict[str, object] = super().query(messages, **more)
            return answer

    outputs = [make_output(f"step {at}", [{"command": f"echo {at}"}], 0.0) for at in range(1, steps + 1)]
    outputs.append(make_output("", [{"command": "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"}], 0.0))
    agent = DefaultAgent(Marked(outputs=outputs, cost_per_call=0.0), LocalEnvironment(cwd=str(folder)),
                         system_template="You fix code.", instance_template="{{task}}", cost_limit=0.0)
    assert agent.run("Count.")["exit_status"] == "Submitted"
    return [(b - a) * 1e3 for a, b in pairwise(marks)]


def commands(workspace: Workspace, count: int) -> Times:
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        assert workspace.exec(["/bin/sh", "-c", "echo 1"]).output == "1\n"
        taken.append((time.perf_counter() - start) * 1e3)
    return taken


def opened(tree: Path, sandbox: Sandbox, count: int) -> Times:
    """A workspace, one command in it, and its end."""
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        with Workspace(tree, sandbox) as workspace:
            assert workspace.exec(["/bin/true"]).exit_code == 0
        taken.append((time.perf_counter() - start) * 1e3)
    return taken


def copied(tree: Path, count: int) -> Times:
    """The same by hand: a copy, one command in it, and its removal."""
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(tree, Path(folder) / "tree")
            subprocess.run(["/bin/true"], cwd=folder, check=True)
        taken.append((time.perf_counter() - start) * 1e3)
    return taken


def alternate(rounds: int, actions: dict[str, Callable[[], Times]]) -> dict[str, Times]:
    """What each action measured, all of them once in every round, each round beginning with another; the first round
    only warms up."""
    found: dict[str, Times] = {name: [] for name in actions}
    order = list(actions)
    for number in range(rounds + 1):
        for name in order:
            found[name] += actions[name]() if number else actions[name]()[:0]
        order = order[1:] + order[:1]
    return found


def p95(times: Times) -> float:
    return statistics.quantiles(times, n=20)[-1]


def compare(name: str, ours: Times, peer: Times, peer_name: str) -> list[Row]:
    return [row(f"{name}, p50", statistics.median(ours), statistics.median(peer), peer_name, "ms"),
            row(f"{name}, p95", p95(ours), p95(peer), peer_name, "ms")]


def measure(rounds: int, steps: int, backend: str) -> list[Row]:
    sandbox, plain = open_sandbox(backend), Plain()
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name)
        tree.chmod(0o755)
        for number in range(20):
            (tree / f"module{number}.py").write_text(f"VALUE = {number}\n" * 50)
        with Workspace(tree, sandbox) as boxed, Workspace(tree, plain) as bare:
            found = alternate(rounds, {
                "boxed": lambda: our_steps(boxed, steps), "plain": lambda: our_steps(bare, steps),
                "peer": lambda: peer_steps(tree, steps), "boxed command": lambda: commands(boxed, steps),
                "plain command": lambda: commands(bare, steps),
                "opened": lambda: opened(tree, sandbox, steps), "copied": lambda: copied(tree, steps),
            })  # fmt: skip
    mini, box = "mini-swe-agent, local", sandbox.name
    over = {name: statistics.median(found[name]) - statistics.median(found["plain command"])
            for name in ("plain", "peer", "boxed command")}
    rates = [1e3 * len(found[name]) / sum(found[name]) for name in ("opened", "copied")]
    return [
        *compare("a step, without a sandbox", found["plain"], found["peer"], mini),
        row("a step, beyond its command, p50", over["plain"], over["peer"], mini, "ms"),
        *compare(f"a step in {box}", found["boxed"], found["peer"], mini),
        *compare(f"a step in {box}", found["boxed"], found["plain"], "the same loop, plain"),
        *compare(f"a command in {box}", found["boxed command"], found["plain command"], "plain subprocess"),
        row(f"a command in {box}, beyond plain, p50 (target: 15)", over["boxed command"], 15.0, "target", "ms"),
        row(f"workspaces with a command in {box}", rates[0], rates[1], "copytree and plain", "1/s"),
    ]


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--rounds", type=int, default=12)
    options_of.add_argument("--steps", type=int, default=20)
    options_of.add_argument("--backend", default="auto")
    options = options_of.parse_args()
    os.environ.setdefault("MSWEA_SILENT_STARTUP", "1")
    try:
        import minisweagent  # noqa: F401
    except ImportError as error:
        raise BadInput(f"{error}; see the head of this file for how to get the peer") from None
    finish(measure(options.rounds, options.steps, options.backend), options.json)


if __name__ == "__main__":
    main()
