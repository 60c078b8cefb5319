"""One graded attempt: open the task, run the harness, grade. Rollouts, evaluation and demonstrations call it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Self

from vivace.core.crew import cores
from vivace.core.errors import InfraError
from vivace.core.protocols import Client
from vivace.core.types import Attempt, Grade, Sampling, Task, Trajectory
from vivace.harness.environment import Environment, TestCache
from vivace.harness.loop import Limits, run
from vivace.sandbox import Sandbox, WarmTests
from vivace.tasks.grade import GradeCache, grade_trajectory
from vivace.tasks.layers import Layer
from vivace.tasks.workspaces import open_task

RUNS_PER_CORE = 2
"""Test runs at a time: they compute all the while, and each holds memory of its own."""


class Player:
    """Plays tasks of the given layers, in as many threads as one likes.

    The agent's own test runs use warm sandboxes and a cache by workspace state, because a group of attempts repeats
    the same edits; what counts as solved has passed a cold run in a fresh workspace (kept by patch; `grade_trajectory`
    has the details).
    """

    def __init__(
        self, layers: Mapping[str, Layer], sandbox: Sandbox, limits: Limits, *, profile: str = "nano",
        temperature: float = 1.0, tests: TestCache | None = None, grades: GradeCache | None = None,
        warm: Mapping[str, WarmTests] | None = None,
    ) -> None:
        self.layers, self.sandbox, self.limits = dict(layers), sandbox, limits
        self.profile, self.temperature = profile, temperature
        self.tests = TestCache() if tests is None else tests  # an empty one is false, and still meant to be shared
        self.grades = GradeCache() if grades is None else grades
        turns = threading.BoundedSemaphore(RUNS_PER_CORE * cores())
        self._own = {} if warm else {env: warm_tests(layer, sandbox, turns) for env, layer in self.layers.items()}
        self._warm = warm or self._own

    def __call__(self, task: Task, client: Client, *, seed: int, sample: int = 0) -> Attempt:
        """Play and grade. Failures of the machinery come back as `infra`, not as exceptions."""
        return self.graded(task, lambda: self.play(task, client, seed), model=client.name, sample=sample)

    def graded(self, task: Task, play: Callable[[], Trajectory], *, model: str, sample: int) -> Attempt:
        """What `play` does, with its verdict: of a client or of a search, `infra` means the same."""
        try:
            trajectory = play()
        except InfraError as error:
            trajectory = Trajectory(task_id=task.id, stop_reason="infra", error=str(error))
        return Attempt(task_id=task.id, repo=task.repo, sample=sample, model=model, trajectory=trajectory,
                       grade=self.judge(task, trajectory))

    def play(self, task: Task, client: Client, seed: int) -> Trajectory:
        """The attempt without its verdict."""
        with self.environment(task) as environment:
            return run(task, environment, client, self.limits, profile=self.profile,
                       sampling=Sampling(temperature=self.temperature), seed=seed)

    @contextmanager
    def environment(self, task: Task) -> Iterator[Environment]:
        """A fresh environment whose tests run warm; its workspace is destroyed at the end."""
        layer = self.layers[task.env]
        environment = open_task(task, layer, self.sandbox, cache=self.tests, warm=self._warm[task.env])
        with environment.workspace:
            yield environment

    def judge(self, task: Task, trajectory: Trajectory) -> Grade:
        """The verdict on a trajectory's patch, in a fresh workspace."""
        return grade_trajectory(task, self.layers[task.env], trajectory, self.sandbox, self.grades)

    def close(self) -> None:
        """End the test servers, unless they were given."""
        for pool in self._own.values():
            pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def warm_tests(layer: Layer, sandbox: Sandbox, turns: AbstractContextManager[object] | None = None) -> WarmTests:
    """Test servers of one layer, started when first needed. One at a time: a suite has many layers, which may share
    `turns`."""
    return WarmTests(lambda: layer.workspace(sandbox), layer.python, slots=1, turns=turns)


def require_verdict(attempts: Sequence[Attempt], what: str) -> None:
    """InfraError when all of many attempts ended in `infra`: a machine that plays nothing has not finished `what`."""
    if attempts and all(not attempt.grade.verdict for attempt in attempts):
        last = attempts[-1]
        why = last.trajectory.error or last.grade.detail or "no reason was given"
        raise InfraError(f"{what}: none of {len(attempts)} attempts has a verdict (the last: {why}); "
                         "mend that and run it again")
