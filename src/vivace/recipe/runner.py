"""Running a recipe: stages in order, each into its own folder, skipping what is whole; Ctrl-C loses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from vivace.core.errors import BadInput, VivaceError
from vivace.core.files import sha256_file, write_json
from vivace.core.memory import PeakMemory
from vivace.core.run import Run, StageDir
from vivace.recipe.config import Recipe, StageConfig

Facts = dict[str, Any]


@dataclass
class Context:
    """What a stage gets: its folder, the recipe, and the way to what earlier stages made."""

    recipe: Recipe
    run: Run
    stage: StageDir
    console: Console
    shared: dict[str, Any] = field(default_factory=dict)  # things costly to open, kept between stages of one sitting
    at_end: ExitStack = field(default_factory=ExitStack)  # closes them

    @property
    def out(self) -> Path:
        return self.stage.directory

    @property
    def seed(self) -> int:
        return self.recipe.seed

    def path(self, value: str | Path) -> Path:
        """A path of the recipe: absolute, or relative to the checkout that holds it."""
        return self.recipe.root / value

    def of_stage(self, name: str) -> Path:
        """The folder of an earlier stage, which must be whole."""
        folder = self.run.directory / name
        if not (folder / "done.json").exists():
            raise BadInput(f"stage {self.stage.name!r} needs what {name!r} makes; put [{name}] before it in the recipe")
        return folder

    def model(self, value: str) -> Path:
        """A checkpoint folder: the `model` folder of an earlier stage if there is one of that name, else a path."""
        return self.of_stage(value) / "model" if value in self.recipe.stages else self.path(value)


@dataclass(frozen=True)
class StageKind:
    """A function of (config, inputs) to files in its folder; what it returns goes into done.json."""

    config: type[StageConfig]
    run: Callable[[Any, Context], Facts]
    inputs: Callable[[Any], Sequence[str | Path]] = lambda config: ()
    """What its config names to read: files, checkpoint folders, and earlier stages, of which it takes the model."""
    writes: Callable[[Any], Sequence[str | Path]] = lambda config: ()
    """What its config names to write outside the run; what an earlier stage read there counts as unchanged."""
    together: bool = False
    """Under torchrun every process runs it; the other kinds run on the first process while the rest wait."""


def run_recipe(recipe: Recipe, directory: Path, kinds: dict[str, StageKind], console: Console) -> dict[str, Any]:
    """Run or resume; returns the summary, which is also written to summary.json after every stage."""
    from vivace.recipe.follow import announce, follow, joined

    with joined() as leads:
        if not leads:
            follow(recipe, directory, kinds)
            return {}
        run = Run(directory, recipe.resolved())
        with ExitStack() as at_end:
            _run_stages(recipe, run, kinds, console, at_end)
        announce(None)
        return write_summary(run)


def _run_stages(
    recipe: Recipe, run: Run, kinds: dict[str, StageKind], console: Console, at_end: ExitStack
) -> None:
    shared: dict[str, Any] = {}
    for number, (name, config) in enumerate(recipe.stages.items(), 1):
        stage = run.stage(name)
        title = f"[bold]{name}[/] ({number} of {len(recipe.stages)})"
        context = Context(recipe, run, stage, console, shared, at_end)
        kind = kind_of(config, kinds)
        if stage.done is not None:
            written = {str(path) for each in recipe.stages.values() for path in kind_of(each, kinds).writes(each)}
            stage.check_inputs(_digests([name for name in kind.inputs(config) if str(name) not in written], context))
            console.print(f"{title}: done before, {stage.done['seconds']:.0f} s")
            continue
        console.print(title)
        facts = _run_stage(kind, config, context)
        console.print(f"  [dim]{stage.done['seconds'] if stage.done else 0:.0f} s, "
                      f"{facts['peak_rss_mb']:,.0f} MB at most{_short(facts)}[/]")
        write_summary(run)


def _run_stage(kind: StageKind, config: StageConfig, context: Context) -> Facts:
    from vivace.recipe.follow import announce

    context.stage.begin(_digests(kind.inputs(config), context))
    memory = PeakMemory()
    try:
        with memory:
            if kind.together:
                announce(context.stage.name)
            facts = kind.run(config, context)
    except BaseException:
        with suppress(VivaceError, OSError):  # a full disk, say: the error that ended the stage is the one to tell
            context.stage.interrupted(peak_rss_mb=memory.peak_mb)
        raise
    return context.stage.finish(peak_rss_mb=memory.peak_mb, finished=round(time.time()), **facts)


def kind_of(config: StageConfig, kinds: Mapping[str, StageKind]) -> StageKind:
    """The kind of a stage, by the type of its config."""
    return next(kind for kind in kinds.values() if kind.config is type(config))


def _digests(inputs: Sequence[str | Path], context: Context) -> dict[str, str]:
    """Digests by the names that the recipe uses; a checkpoint is known by its manifest, which covers its files."""
    paths = {str(name): context.model(str(name)) for name in inputs}
    files = {name: path / "manifest.json" if path.is_dir() else path for name, path in paths.items()}
    return {name: sha256_file(path) if path.is_file() else "absent" for name, path in files.items()}


def _short(facts: Facts) -> str:
    said = [f"{key} {value:,.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in facts.items()
            if isinstance(value, int | float | str) and key not in ("name", "seconds", "peak_rss_mb", "finished")]
    return "".join(f", {item}" for item in said[:6])


def write_summary(run: Run) -> dict[str, Any]:
    """`summary.json`, which other tools read: stages, eval, paired, baseline."""
    stages: list[dict[str, Any]] = []
    summary: dict[str, Any] = {"name": run.config["name"], "seed": run.config["seed"], "stages": stages, "eval": {},
                               "paired": [], "baseline": {}}
    for name in (key for key in run.config if key not in ("name", "seed")):
        done = run.stage(name).done
        if done is None:
            continue
        results = done.pop("results", {})
        summary.update({key: results[key] for key in ("eval", "paired", "baseline") if key in results})
        stages.append({key: value for key, value in done.items() if key not in ("inputs", "outputs")})
    write_json(run.directory / "summary.json", summary)
    return summary
