"""Post-training on demonstrations: experts play tasks in the real harness, the model learns their good steps."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Container, Sequence
from typing import Any, Literal

from pydantic import Field

from vivace.core.errors import BadInput
from vivace.core.types import Attempt, Task
from vivace.evals.suite import read_attempts, run_suite
from vivace.harness.loop import Limits
from vivace.harness.steps import label_steps, train_mask
from vivace.model.checkpoint import load_checkpoint, save_checkpoint
from vivace.model.lora import LoraConfig, add_adapters
from vivace.recipe.config import StageConfig
from vivace.recipe.runner import Context, Facts
from vivace.recipe.world import open_world
from vivace.tasks.experts import Style, expert_client
from vivace.text.chat import Renderer
from vivace.text.tokenizer import FILE_NAME as TOKENIZER_FILE
from vivace.text.tokenizer import Tokenizer
from vivace.train.batches import DocumentSource
from vivace.train.config import TrainConfig
from vivace.train.loop import train

GENEROUS = Limits(max_turns=24, max_output_tokens=4096, max_turn_tokens=1024, max_context=1 << 20, max_test_runs=24)
"""Experts are never cut off; what is too long for the model's context is left out of training."""


class Share(StageConfig):
    """How many demonstrations of which kind: tasks of `stage`, played in `style`."""

    stage: Literal["simple", "complex"] = "simple"
    style: Style = "direct"
    count: int = Field(ge=1)


class FinetuneStage(StageConfig):
    """Supervised stage. `mix` says what is demonstrated, `replay` names earlier stages whose demonstrations join in."""

    init: str
    mix: list[Share]
    replay: list[str] = Field(default_factory=list)
    context_weight: float = Field(0.0, ge=0, le=1)
    batch_tokens: int = 8192
    train: TrainConfig
    lora: LoraConfig | None = None  # train low-rank adapters only; the saved model has them merged


def finetune(config: FinetuneStage, context: Context) -> Facts:
    folder = context.model(config.init)
    model, shape = load_checkpoint(folder)
    if config.lora is not None:
        add_adapters(model, config.lora, context.seed)
    renderer = Renderer(Tokenizer.load(folder))
    attempts = demonstrate(config.mix, context, renderer)
    for earlier in config.replay:
        attempts += demonstrations_of(context, earlier)
    documents = training_documents(attempts, config.context_weight)
    longest = shape.max_position_embeddings
    source = DocumentSource(documents, config.batch_tokens, max_len=longest, seed=context.seed)

    def log(row: dict[str, Any]) -> None:
        context.stage.log(**row)

    result = train(model, source, config.train, context.out, log, description=context.stage.name)
    save_checkpoint(context.out / "model", model, {TOKENIZER_FILE: folder / TOKENIZER_FILE})
    return {"demonstrations": len(documents), "too_long": source.dropped, "steps": result.steps,
            "tokens": result.tokens, "loss": round(result.loss, 4),
            "tok_s": round(result.tokens / max(result.seconds, 1e-9), 1)}


def demonstrate(mix: Sequence[Share], context: Context, renderer: Renderer) -> list[Attempt]:
    """Play the tasks; keeps solved attempts only. Resumes from attempts.jsonl."""
    world = open_world(context)
    styles: dict[str, Style] = {}
    chosen: list[Task] = []
    for share in mix:  # one order for all stages: they show the same tasks, and leave the others to RL
        for task in pick(world.train, share, f"{context.seed}/{share.stage}", taken=styles):
            styles[task.id] = share.style
            chosen.append(task)
    identity = {"kind": "demonstrations", "styles": styles, "tokenizer": renderer.tokenizer.vocab_size}
    with world.player(GENEROUS) as player:

        def play(task: Task, seed: int, sample: int) -> Attempt:
            client = expert_client(task, world.layer(task), renderer, styles[task.id], seed)
            return player(task, client, seed=seed, sample=sample)

        attempts = run_suite(chosen, play, context.out / "demonstrations", identity=identity, workers=world.workers,
                             seed=context.seed, description="demonstrations")
    return [attempt for attempt in attempts if attempt.grade.solved]


def demonstrations_of(context: Context, stage: str) -> list[Attempt]:
    """The solved demonstrations of an earlier stage."""
    held = read_attempts(context.of_stage(stage) / "demonstrations")
    return [attempt for attempt in held.values() if attempt.grade.solved]


def pick(tasks: Sequence[Task], share: Share, seed: str, taken: Container[str]) -> list[Task]:
    """`count` tasks of a stage, repositories in turn so that none crowds out the rest; seeded."""
    rng = random.Random(seed)
    groups: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        if task.stage == share.stage and task.id not in taken:
            groups[task.repo].append(task)
    for group in groups.values():
        rng.shuffle(group)
    order = sorted(groups)
    rng.shuffle(order)
    chosen: list[Task] = []
    while len(chosen) < share.count and any(groups.values()):
        for repo in order:
            if groups[repo] and len(chosen) < share.count:
                chosen.append(groups[repo].pop())
    if not chosen:
        raise BadInput(f"no {share.stage} training task is left for {share.count} demonstrations; make more tasks")
    return chosen


def training_documents(attempts: Sequence[Attempt], context_weight: float) -> list[tuple[list[int], list[float]]]:
    """(ids, loss weights): 1 on the good steps of the expert, `context_weight` on what it read, 0 on its bad steps."""
    documents = []
    for attempt in attempts:
        labels = label_steps(attempt.trajectory)
        for segment in (whole.trained() for whole in attempt.trajectory.segments):
            good = train_mask(segment, labels)
            weights = [1.0 if learn else 0.0 if sampled else context_weight
                       for learn, sampled in zip(good, segment.mask, strict=True)]
            documents.append((segment.ids, weights))
    return documents
