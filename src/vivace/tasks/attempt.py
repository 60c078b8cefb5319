"""One graded attempt: open the task, run the harness, grade. Rollouts, evaluation and demonstrations call it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from vivace.core.errors import InfraError
from vivace.core.protocols import Client
from vivace.core.types import Attempt, Grade, Sampling, Task, Trajectory
from vivace.harness.environment import Environment, TestCache, TestRunner
from vivace.harness.loop import Limits, run
from vivace.sandbox import Sandbox, WarmTests, Workspace
from vivace.tasks.grade import GradeCache, grade_trajectory, run_warm
from vivace.tasks.layers import Layer
from vivace.tasks.workspaces import open_task

AGENT_SECONDS = 10.0  # of one test run asked for by an agent: edits that hang are common, and its tests take under 3 s


class Player:
    """Plays tasks of the given layers, in as many threads as one likes.

    The agent's own test runs use warm sandboxes and a cache by workspace state, because a group of attempts repeats
    the same edits; grading is always a cold run in a fresh workspace (kept by patch).
    """

    def __init__(
        self, layers: Mapping[str, Layer], sandbox: Sandbox, limits: Limits, *, profile: str = "nano",
        temperature: float = 1.0, slots: int = 2, tests: TestCache | None = None, grades: GradeCache | None = None,
    ) -> None:
        self.layers, self.sandbox, self.limits = dict(layers), sandbox, limits
        self.profile, self.temperature = profile, temperature
        self.tests = TestCache() if tests is None else tests  # an empty one is false, and still meant to be shared
        self.grades = GradeCache() if grades is None else grades
        self._warm = {env: self._pool(layer, slots) for env, layer in self.layers.items()}

    def __call__(self, task: Task, client: Client, *, seed: int, sample: int = 0) -> Attempt:
        """Failures of the machinery come back as `infra`, not as exceptions."""
        try:
            trajectory = self.play(task, client, seed)
        except InfraError as error:
            trajectory = Trajectory(task_id=task.id, stop_reason="infra", error=str(error))
        verdict = self.judge(task, trajectory)
        return Attempt(task_id=task.id, repo=task.repo, sample=sample, model=client.name, trajectory=trajectory,
                       grade=verdict)

    def play(self, task: Task, client: Client, seed: int) -> Trajectory:
        """The attempt without its verdict."""
        with self.environment(task) as environment:
            return run(task, environment, client, self.limits, profile=self.profile,
                       sampling=Sampling(temperature=self.temperature), seed=seed)

    @contextmanager
    def environment(self, task: Task) -> Iterator[Environment]:
        """A fresh environment whose tests run warm; its workspace is destroyed at the end."""
        environment = open_task(task, self.layers[task.env], self.sandbox, cache=self.tests)
        with environment.workspace as workspace:
            environment.run_tests = self._runner(task, workspace)
            yield environment

    def judge(self, task: Task, trajectory: Trajectory) -> Grade:
        """The verdict on a trajectory's patch, in a fresh workspace."""
        return grade_trajectory(task, self.layers[task.env], trajectory, self.sandbox, self.grades)

    def close(self) -> None:
        for pool in self._warm.values():
            pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _pool(self, layer: Layer, slots: int) -> WarmTests:
        return WarmTests(lambda: layer.workspace(self.sandbox), layer.python, slots=slots)

    def _runner(self, task: Task, workspace: Workspace) -> TestRunner:
        pool = self._warm[task.env]
        return lambda ids: run_warm(pool, task.test, workspace, ids or (), canary=False)

