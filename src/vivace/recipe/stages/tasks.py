"""Sources and tasks: fetch the pinned packages, make some repair tasks live, take the rest from shipped rows."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import Field

from vivace.core.types import Task
from vivace.recipe.config import StageConfig
from vivace.recipe.runner import Context, Facts
from vivace.sandbox import open_sandbox
from vivace.tasks.cover import survey
from vivace.tasks.layers import build_layers
from vivace.tasks.make import Yield, make_tasks
from vivace.tasks.registry import append_task, read_tasks, write_tasks
from vivace.tasks.sources import load_manifest


class SourcesStage(StageConfig):
    """Fetch, check, unpack; build the one environment that all packages' tests run in."""

    manifest: Path = Path("recipes/packages.toml")


class TasksStage(StageConfig):
    """Rows from `train` and `eval`, plus tasks made now from the packages in `live`: {name: count}."""

    train: Path = Path("recipes/tasks/train.jsonl")
    eval: Path = Path("recipes/tasks/eval.jsonl")
    live: dict[str, int] = Field(default_factory=dict)
    most_eval: int | None = Field(None, ge=1, description="Evaluate on this many tasks, in the file's order.")


def sources(config: SourcesStage, context: Context) -> Facts:
    path = context.path(config.manifest)
    manifest = load_manifest(path)
    layers = build_layers(manifest)
    sandbox = open_sandbox()
    context.console.print(f"  sandbox: {sandbox.describe()}")
    shutil.copyfile(path, context.out / "packages.toml")
    return {"train_packages": len(manifest.role("train")), "eval_packages": len(manifest.role("eval")),
            "layers": len(layers), "sandbox": sandbox.name}


def tasks(config: TasksStage, context: Context) -> Facts:
    shipped = read_tasks(context.path(config.train), split="train")
    held_out = read_tasks(context.path(config.eval), split="eval")[: config.most_eval]
    tally = Yield()
    made = _make(config, context, tally)
    fresh = [task for task in made if task.id not in {row.id for row in shipped}]
    write_tasks(context.out / "train.jsonl", [*shipped, *fresh])
    write_tasks(context.out / "eval.jsonl", held_out)
    return {"train_tasks": len(shipped) + len(fresh), "eval_tasks": len(held_out), "made": len(made),
            "made_per_minute": tally.row()["per_minute"], "admitted_share": tally.row()["share"], "yield": tally.row()}


def _make(config: TasksStage, context: Context, tally: Yield) -> list[Task]:
    """Live tasks, kept as they are admitted; an interrupted sitting goes on with the packages that are not full."""
    path = context.out / "live.jsonl"
    made = read_tasks(path) if path.exists() else []
    manifest = load_manifest(context.of_stage("sources") / "packages.toml")
    for name, count in config.live.items():
        held = {task.id for task in made if task.repo == name}
        if len(held) >= count:
            continue
        layer = build_layers(manifest, [manifest.named(name)])[manifest.named(name).env]
        sandbox = open_sandbox()
        for task in make_tasks(layer, survey(layer, sandbox), sandbox, count, seed=context.seed, tally=tally):
            if task.id not in held:
                append_task(path, task)
                made.append(task)
    return made
