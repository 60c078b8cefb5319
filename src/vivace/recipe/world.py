"""What the post-training stages share: the layers, the sandbox, the tasks. Opened once a sitting, on first use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from vivace.core.types import Task
from vivace.engine.engine import cores
from vivace.harness.environment import TestCache
from vivace.harness.loop import Limits
from vivace.recipe.runner import Context
from vivace.sandbox import Sandbox, open_sandbox
from vivace.tasks.attempt import Player
from vivace.tasks.grade import GradeCache
from vivace.tasks.layers import Layer, build_layers
from vivace.tasks.registry import read_tasks
from vivace.tasks.sources import Manifest, load_manifest

ATTEMPTS_PER_CORE = 12  # most of an attempt is waiting for the engine, which batches


@dataclass
class World:
    """`train` and `eval` are the tasks of this run."""

    manifest: Manifest
    layers: Mapping[str, Layer]
    sandbox: Sandbox
    train: Sequence[Task]
    eval: Sequence[Task]
    tests: TestCache = field(default_factory=TestCache)
    grades: GradeCache = field(default_factory=GradeCache)

    @cached_property
    def workers(self) -> int:
        return ATTEMPTS_PER_CORE * cores()

    def layer(self, task: Task) -> Layer:
        return self.layers[task.env]

    def player(self, limits: Limits, temperature: float = 1.0) -> Player:
        """Close it after use: its warm sandboxes hold memory."""
        return Player(self.layers, self.sandbox, limits, temperature=temperature, slots=cores(), tests=self.tests,
                      grades=self.grades)


def open_world(context: Context) -> World:
    """The world of this run, from what its `sources` and `tasks` stages made."""
    if "world" not in context.shared:
        manifest = load_manifest(context.of_stage("sources") / "packages.toml")
        folder = context.of_stage("tasks")
        train, held_out = read_tasks(folder / "train.jsonl"), read_tasks(folder / "eval.jsonl")
        wanted = {task.env for task in (*train, *held_out)}
        layers = build_layers(manifest, [manifest.by_env(env) for env in sorted(wanted)])
        context.shared["world"] = World(manifest, layers, open_sandbox(), train, held_out)
    return context.shared["world"]
