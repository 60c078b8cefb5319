"""The run's last stage: MODEL_CARD.md and report.html, both made from what the run wrote down."""

from __future__ import annotations

import datetime
import json
from typing import Any

from vivace.core.files import atomic_write_text
from vivace.core.types import Attempt, Task
from vivace.evals.card import CardFacts, DataSource, Source, StageFacts, render_card
from vivace.evals.report import Report, render_report
from vivace.evals.suite import read_attempts
from vivace.model.checkpoint import load_checkpoint, save_checkpoint, verify_checkpoint
from vivace.model.config import ModelConfig
from vivace.model.count import count_parameters
from vivace.recipe.config import StageConfig
from vivace.recipe.lineage import read_lineage
from vivace.recipe.runner import Context, Facts, write_summary
from vivace.recipe.stages.evaluate import folder_name
from vivace.recipe.world import open_world
from vivace.text.tokenizer import FILE_NAME as TOKENIZER_FILE
from vivace.text.tokenizer import Tokenizer

USE = ("Repairing small faults in Python packages that have tests, as an agent in the Vivace harness: it reads, edits "
       "and runs tests through tools; English requests, Python code. It is a research and teaching model of its size. "
       "Review every change it proposes. It is not meant for anything else, in particular not for unattended changes "
       "to code that matters, for security decisions, or for general conversation.")
LIMITATIONS = [
    "A nano model for one kind of task: one-line faults in short Python functions that are named to it; the table "
    "above says how often it succeeds. It does not converse, explain or write new code.",
]


class ReportStage(StageConfig):
    """`model` is the one the card is about; `eval` the stage that measured it; `base` the checkpoint it came from."""

    model: str = "rl"
    eval: str = "eval"
    base: str = "models/nano-base"


def report(config: ReportStage, context: Context) -> Facts:
    world = open_world(context)
    summary = write_summary(context.run)
    folder = context.model(config.model)
    model, shape = load_checkpoint(folder)
    counted = count_parameters(shape)
    tokenizer = Tokenizer.load(folder)
    stages = _attempts(context, config.eval)
    shown = next((a for attempts in reversed(stages.values()) for a in attempts if a.trajectory.hashes), None)
    packages = [DataSource(name=p.name, version=p.version, licence=p.licence, role=p.role, amount=amount)
                for p in world.manifest.package if (amount := _amount(p.name, world))]
    facts = CardFacts(
        name=f"{context.recipe.name}-{config.model}", based_on=config.base,
        released=datetime.date.today().isoformat(), summary=summary, parameters_total=counted.total,
        parameters_active=counted.active, context=shape.max_position_embeddings, vocabulary=shape.vocab_size,
        architecture=architecture(shape),
        stages=[stage_facts(stage) for stage in summary["stages"] if "steps" in stage], data=packages,
        data_notes=[
            "The base model's corpus is described in docs/DATA.md and in the base model's card.",
            "Tasks are faults injected into the packages below and verified by their own tests; no user data, and no "
            "output of other models. Packages of role eval take no part in training, tokenizer or prompts.",
        ],
        base_measures={f"{name.replace('_', ' ')} of the base on held-out packages": str(value)
                       for name, value in read_lineage(context.path(config.base)).measures.items()},
        harness={key: str(value) for key, value in (shown.trajectory.hashes if shown else {}).items()},
        hashes=verify_checkpoint(folder), commands=[f"vivace run recipes/{context.recipe.name}.toml"],
        limitations=LIMITATIONS, use=USE, precision="bf16 weights, fp32 arithmetic on CPU",
        sources=[Source(title="tables", folder=config.eval, command=f"vivace run recipes/{context.recipe.name}.toml")],
    )  # fmt: skip
    atomic_write_text(context.run.directory / "MODEL_CARD.md", render_card(facts))
    save_checkpoint(context.out / "model", model, {TOKENIZER_FILE: folder / TOKENIZER_FILE,
                                                   "README.md": context.run.directory / "MODEL_CARD.md"})
    tasks = {task.id: task for task in world.eval}
    page = Report(name=context.recipe.name, summary=summary, metrics=context.run.metrics(), stages=stages, tasks=tasks,
                  show=lambda number: tokenizer.show([number]))
    atomic_write_text(context.run.directory / "report.html", render_report(page))
    for name in ("MODEL_CARD.md", "report.html", "summary.json"):
        context.console.print(f"  {context.run.directory / name}")
    return {}


def _attempts(context: Context, stage: str) -> dict[str, list[Attempt]]:
    """Attempts by model, in the order they were compared."""
    folder = context.of_stage(stage)
    done = json.loads((folder / "done.json").read_text())
    return {name: list(read_attempts(folder / folder_name(name)).values()) for name in done["results"]["eval"]}


def architecture(shape: ModelConfig) -> str:
    """A model's layers in a sentence."""
    return (f"decoder-only transformer, {shape.num_hidden_layers} layers; in every second layer "
            f"{shape.num_experts} experts, {shape.num_experts_per_tok} per token; 5 sliding-window layers to 1 global "
            "layer (ExaoneMoeForCausalLM)")


def stage_facts(stage: dict[str, Any]) -> StageFacts:
    what = {"rl": "group-relative RL through the harness, tests executed, adaptive length"}
    amount = (f"{stage['demonstrations']} demonstrations, {stage['tokens']:,} tokens" if "demonstrations" in stage
              else f"{stage.get('rollouts', 0):,} rollouts in {stage['steps']} updates")
    shown = what.get(stage["name"], "demonstrations by scripted experts in the harness")
    return StageFacts(name=stage["name"], what=shown, amount=amount, seconds=stage["seconds"],
                      peak_rss_mb=stage["peak_rss_mb"])


def _amount(repo: str, world: Any) -> str:
    tasks: list[Task] = [*world.train, *world.eval]
    count = sum(task.repo == repo for task in tasks)
    return f"{count} tasks" if count else ""
