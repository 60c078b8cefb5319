"""Evaluation on packages never seen: every stage's model, and a search without a model, on the same tasks."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field

from vivace.core.types import Attempt, Task
from vivace.engine.client import load_client
from vivace.evals.compare import by_kind, compare
from vivace.evals.suite import run_suite
from vivace.evals.table import terminal
from vivace.harness.loop import Limits
from vivace.harness.prompts import prompt_hash
from vivace.harness.tools.registry import get_profile
from vivace.model.checkpoint import weights_digest
from vivace.recipe.config import StageConfig
from vivace.recipe.runner import Context, Facts
from vivace.recipe.world import World, open_world
from vivace.tasks import brute
from vivace.tasks.operators.leftovers import LEFTOVERS

PROFILE = get_profile("nano")


class EvalStage(StageConfig):
    """Models are stages of this run or checkpoint folders, in the order they are compared."""

    models: list[str]
    limits: Limits = Limits()
    temperature: float = Field(0.0, ge=0)
    samples: int = Field(1, ge=1)
    slots: int = Field(32, ge=1)
    baseline: bool = True


def evaluate(config: EvalStage, context: Context) -> Facts:
    world = open_world(context)
    results: dict[str, list[Attempt]] = {}
    for name in config.models:
        results[name] = _model(name, config, context, world)
    baseline = _baseline(config, context, world) if config.baseline else None
    summary = compare(results, baseline)
    sides = results | ({"brute force": baseline} if baseline else {})
    summary["kinds"] = by_kind(sides, {task.id: _kind(task) for task in world.eval})
    context.console.print(terminal(summary))
    return {"tasks": len(world.eval), "results": summary}


def _model(name: str, config: EvalStage, context: Context, world: World) -> list[Attempt]:
    folder = context.model(name)
    client = load_client(folder, name=name, max_slots=config.slots)
    window = client.engine.max_len
    limits = config.limits.model_copy(update={"max_context": min(config.limits.max_context, window)})
    identity = {"model": weights_digest(folder), "limits": limits.model_dump(),
                "temperature": config.temperature, "tools": PROFILE.hash(), "prompt": prompt_hash(PROFILE)}
    try:
        with world.player(limits, config.temperature) as player:

            def play(task: Task, seed: int, sample: int) -> Attempt:
                return player(task, client, seed=seed, sample=sample)

            out = context.out / folder_name(name)
            return run_suite(world.eval, play, out, identity=identity, workers=world.workers,
                             samples=config.samples, seed=context.seed, description=f"evaluate {name}")
    finally:
        client.close()


def _kind(task: Task) -> str:
    """Leftovers stand in sight; a changed expression has to be thought of."""
    return "leftovers" if LEFTOVERS.intersection(task.provenance.get("operators", ())) else "expressions"


def folder_name(model: str) -> str:
    """Where in the stage's folder the attempts of a model lie: its name, or its path as a name."""
    return re.sub(r"[^\w.-]+", "-", model).strip("-.")


def _baseline(config: EvalStage, context: Context, world: World) -> list[Attempt]:
    """As many test runs as the agent may make, spent on one-line edits in random order."""
    budget = config.limits.max_test_runs
    with world.player(config.limits) as player:

        def play(task: Task, seed: int, sample: int) -> Attempt:
            return brute.attempt(task, player, budget, seed, sample)

        identity: dict[str, Any] = {"baseline": brute.BASELINE, "budget": budget}
        return run_suite(world.eval, play, context.out / brute.BASELINE, identity=identity, workers=world.workers,
                         seed=context.seed, description=brute.BASELINE)

