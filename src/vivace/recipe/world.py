"""What the post-training stages share: the layers, the sandbox, the tasks. Opened once a sitting, on first use."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from vivace.core.crew import cores
from vivace.core.types import Task
from vivace.harness.environment import TestCache
from vivace.harness.loop import Limits
from vivace.recipe.runner import Context
from vivace.sandbox import Sandbox, WarmTests, open_sandbox
from vivace.tasks.attempt import RUNS_PER_CORE, Player, warm_tests
from vivace.tasks.grade import GradeCache
from vivace.tasks.layers import Layer, build_layers
from vivace.tasks.registry import read_tasks
from vivace.tasks.sources import Manifest, load_manifest

ATTEMPTS_PER_CORE = 12  # most of an attempt is waiting for the engine, which batches


@dataclass
class World:
    """`train` and `eval` are the tasks of this run. Test servers stay for all stages: starting one costs as much as
    several test runs."""

    manifest: Manifest
    layers: Mapping[str, Layer]
    sandbox: Sandbox
    train: Sequence[Task]
    eval: Sequence[Task]
    warm: Mapping[str, WarmTests]
    tests: TestCache = field(default_factory=TestCache)
    grades: GradeCache = field(default_factory=GradeCache)

    @cached_property
    def workers(self) -> int:
        return ATTEMPTS_PER_CORE * cores()

    def layer(self, task: Task) -> Layer:
        return self.layers[task.env]

    def player(self, limits: Limits, temperature: float = 1.0) -> Player:
        return Player(self.layers, self.sandbox, limits, temperature=temperature, tests=self.tests, grades=self.grades,
                      warm=self.warm)


def open_world(context: Context) -> World:
    """The world of this run, from what its `sources` and `tasks` stages made."""
    if "world" not in context.shared:
        manifest = load_manifest(context.of_stage("sources") / "packages.toml")
        folder = context.of_stage("tasks")
        train, held_out = read_tasks(folder / "train.jsonl"), read_tasks(folder / "eval.jsonl")
        wanted = {task.env for task in (*train, *held_out)}
        layers = build_layers(manifest, [manifest.by_env(env) for env in sorted(wanted)])
        sandbox = open_sandbox()
        turns = threading.BoundedSemaphore(RUNS_PER_CORE * cores())
        warm = {env: context.at_end.enter_context(warm_tests(layer, sandbox, turns)) for env, layer in layers.items()}
        context.shared["world"] = World(manifest, layers, sandbox, train, held_out, warm)
    return context.shared["world"]
