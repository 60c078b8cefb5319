"""Reinforcement learning through the harness, on tasks the model has not been shown."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from vivace.core.errors import BadInput
from vivace.core.protocols import Client
from vivace.core.types import Attempt, Effort, Task
from vivace.engine.client import NativeClient
from vivace.engine.engine import Engine
from vivace.evals.suite import read_attempts
from vivace.harness.loop import Limits
from vivace.model.checkpoint import load_checkpoint, save_checkpoint
from vivace.model.lora import LoraConfig, add_adapters
from vivace.recipe.config import StageConfig
from vivace.recipe.runner import Context, Facts
from vivace.recipe.world import open_world
from vivace.rl.config import RLConfig
from vivace.rl.train import train_rl
from vivace.text.chat import Renderer
from vivace.text.tokenizer import FILE_NAME as TOKENIZER_FILE
from vivace.text.tokenizer import Tokenizer

Kind = Literal["simple", "complex"]


class RLStage(StageConfig):
    """`stages`: which kinds of tasks take part. Tasks shown as demonstrations are left out unless `seen`."""

    init: str
    stages: list[Kind] = Field(default_factory=lambda: list[Kind](["simple"]))
    seen: bool = False
    limits: Limits = Limits()
    slots: int = Field(48, ge=1)
    rl: RLConfig = RLConfig()
    lora: LoraConfig | None = None  # train low-rank adapters only; the saved model has them merged


def rl(config: RLStage, context: Context) -> Facts:
    folder = context.model(config.init)
    model, shape = load_checkpoint(folder)
    if config.lora is not None:
        add_adapters(model, config.lora, context.seed)
    tokenizer = Tokenizer.load(folder)
    world = open_world(context)
    shown = set() if config.seen else demonstrated(context)
    tasks = [task for task in world.train if task.stage in config.stages and task.id not in shown]
    if not tasks:
        raise BadInput("every training task was demonstrated; make more tasks, or set seen = true")
    limits = config.limits.model_copy(update={"max_context": min(config.limits.max_context,
                                                                 shape.max_position_embeddings)})
    engine = Engine(model, max_slots=config.slots, max_len=limits.max_context)

    def clients(effort: Effort | None) -> Client:
        return NativeClient(engine, Renderer(tokenizer, effort), context.stage.name)

    def log(row: dict[str, Any]) -> None:
        context.stage.log(**row)

    try:
        with world.player(limits, config.rl.temperature) as player:

            def play(task: Task, client: Client, *, seed: int, sample: int) -> Attempt:
                return player(task, client, seed=seed, sample=sample)

            settings = config.rl.model_copy(update={"seed": config.rl.seed or context.seed})
            result = train_rl(model, engine, clients, play, tasks, settings, context.out, log)
    finally:
        engine.close()
    save_checkpoint(context.out / "model", model, {TOKENIZER_FILE: folder / TOKENIZER_FILE})
    return {"tasks": len(tasks), "steps": result.steps, "rollouts": result.rollouts,
            "pass_rate": round(result.pass_rate, 4), "reward": round(result.reward, 4)}


def demonstrated(context: Context) -> set[str]:
    """Tasks that any earlier stage of this run has shown to the model."""
    found: set[str] = set()
    for stage in context.recipe.stages:
        folder = context.run.directory / stage / "demonstrations"
        found |= {task_id for task_id, _ in read_attempts(folder)} if folder.exists() else set()
    return found
