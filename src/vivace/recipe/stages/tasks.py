"""Sources and tasks: fetch the pinned packages, make some repair tasks live, take the rest from shipped rows."""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import closing
from pathlib import Path

from pydantic import Field

from vivace.core.files import read_json, write_json
from vivace.core.progress import Progress
from vivace.core.types import Task
from vivace.recipe.config import StageConfig
from vivace.recipe.runner import Context, Facts
from vivace.sandbox import Sandbox, make_patch, open_sandbox
from vivace.tasks.candidates import Candidate
from vivace.tasks.cover import survey
from vivace.tasks.layers import Layer, build_layers
from vivace.tasks.make import Maker, Yield, plant
from vivace.tasks.registry import append_task, read_tasks, write_tasks
from vivace.tasks.sources import load_manifest

COUNTS = ("candidates", "executed", "flipped", "admitted", "seconds")


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
    live = Live(context.out)
    made = _make(config, context, live)
    fresh = [task for task in made if task.id not in {row.id for row in shipped}]
    write_tasks(context.out / "train.jsonl", [*shipped, *fresh])
    write_tasks(context.out / "eval.jsonl", held_out)
    tally = live.total().row()
    return {"train_tasks": len(shipped) + len(fresh), "eval_tasks": len(held_out), "made": len(made),
            "made_per_minute": tally["per_minute"], "admitted_share": tally["share"], "yield": tally}


class Live:
    """Tasks made in this run and, by package, what became of the candidates; on disk after every task."""

    def __init__(self, folder: Path) -> None:
        self._rows, self._file = folder / "live.jsonl", folder / "live-yield.json"
        self.tasks = read_tasks(self._rows) if self._rows.exists() else []
        held = read_json(self._file, "delete it; only the counts are lost") if self._file.exists() else {}
        self._tallies = {name: Yield(**{**row, "rejected": Counter(row["rejected"])}) for name, row in held.items()}

    def of(self, package: str) -> list[Task]:
        return [task for task in self.tasks if task.repo == package]

    def resume(self, package: str) -> Yield:
        """The tally to go on with. Candidates come again in the same order: only tasks and time are added up."""
        seconds = self._tallies[package].seconds if package in self._tallies else 0.0
        self._tallies[package] = Yield(admitted=len(self.of(package)), seconds=seconds)
        return self._tallies[package]

    def add(self, task: Task) -> None:
        append_task(self._rows, task)
        self.tasks.append(task)
        write_json(self._file, {name: {**vars(tally), "rejected": dict(tally.rejected)}  # threads go on counting
                                for name, tally in self._tallies.items()})

    def total(self) -> Yield:
        """Over all packages."""
        tallies = self._tallies.values()
        sums = {name: sum(getattr(tally, name) for tally in tallies) for name in COUNTS}
        return Yield(**sums, rejected=sum((tally.rejected for tally in tallies), Counter()))


def _make(config: TasksStage, context: Context, live: Live) -> list[Task]:
    """Live tasks, kept as they are admitted; an interrupted sitting goes on with the packages that are not full."""
    manifest = load_manifest(context.of_stage("sources") / "packages.toml")
    for name, count in config.live.items():
        if len(live.of(name)) < count:
            layer = build_layers(manifest, [manifest.named(name)])[manifest.named(name).env]
            _fill(layer, open_sandbox(), count, live, context.seed)
    return live.tasks


def _fill(layer: Layer, sandbox: Sandbox, count: int, live: Live, seed: int) -> None:
    """Make tasks of one package until it has `count`; bugs of those it has are passed over, not verified again."""
    held = live.of(layer.name)
    known, tally = {task.bug_patch for task in held}, live.resume(layer.name)
    with (Maker(layer, survey(layer, sandbox), sandbox, seed=seed, tally=tally) as maker,
          closing(maker.planted()) as bugs,
          Progress(f"make tasks of {layer.name}", count, done=len(held)) as bar):
        for task in maker.simple(count - len(held), (bug for bug in bugs if _patch(bug.candidate) not in known)):
            live.add(task)
            bar.advance(1, f"{tally.admitted} of {tally.candidates} candidates")


def _patch(bug: Candidate) -> str:
    """As the task made of it records it."""
    return make_patch({bug.path: bug.clean}, plant([bug]))
