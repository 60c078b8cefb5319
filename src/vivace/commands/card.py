"""`vivace card`: a model card from what runs wrote down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vivace.core.errors import BadInput

if TYPE_CHECKING:
    from vivace.evals.benchmarks import Benchmarks

Runs = Annotated[list[Path], typer.Argument(help="Folders that `vivace eval --out` or `vivace run` made.")]


def card(
    runs: Runs,
    model: Annotated[str | None, typer.Option(help="Label of the model in the evaluations; default: the first that is "
                                              "not a baseline.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="The model's folder, for its size and shape.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of MODEL_CARD.md and card.html.")] = Path("."),
    name: Annotated[str | None, typer.Option(help="What the model is called; default: its label.")] = None,
) -> None:
    """Write MODEL_CARD.md and card.html from runs; what was not measured is printed as missing."""
    from vivace.core.files import atomic_write_text
    from vivace.evals.benchmarks import collect
    from vivace.evals.card import CardFacts, card_page, render_card

    evaluations = [run for run in runs if (run / "evaluation.json").exists()]
    recipes = [run for run in runs if run not in evaluations]
    if len(recipes) > 1:
        raise BadInput(f"{recipes[1]}: a card is about one recipe's run, and {recipes[0]} is one already")
    benchmarks = collect(evaluations, out, model) if evaluations else None
    facts: dict[str, Any] = {"name": name or (benchmarks.model if benchmarks else recipes[0].name),
                             "safety": ["Red teaming, jailbreak suites, alignment training: missing."]}
    if benchmarks:
        facts["benchmarks"] = benchmarks
    if recipes:
        facts |= _trained(recipes[0], out)
    if checkpoint:
        facts |= _shape(checkpoint, benchmarks)
    made = CardFacts(**facts)
    out.mkdir(parents=True, exist_ok=True)
    for file, text in (("MODEL_CARD.md", render_card(made)), ("card.html", card_page(made))):
        atomic_write_text(out / file, text)
        typer.echo(out / file)


def _trained(run: Path, out: Path) -> Mapping[str, Any]:
    """Stages and tables of a recipe's run, from its summary.json and config.json."""
    import os

    from vivace.core.files import read_json
    from vivace.evals.card import NOTHING_MEASURED, Source
    from vivace.recipe.stages.report import stage_facts

    if not (run / "summary.json").exists():
        raise BadInput(f"{run} holds neither evaluation.json nor summary.json; name folders that `vivace eval --out` "
                       "or `vivace run` made")
    summary = read_json(run / "summary.json", "run the recipe again")
    where = Path(os.path.relpath(run.resolve(), out.resolve())).as_posix()
    recipe = str(read_json(run / "config.json", "run the recipe again").get("name", ""))
    return {"summary": summary, "stages": [stage_facts(stage) for stage in summary["stages"] if "steps" in stage],
            "sources": [Source(title="training stages and tables of stages", folder=where, recipe=recipe)],
            "safety": list(NOTHING_MEASURED)}


def _shape(folder: Path, benchmarks: Benchmarks | None) -> Mapping[str, Any]:
    """Size of a checkpoint, which has to be the one that was measured."""
    from vivace.model.checkpoint import read_config, verify_checkpoint, weights_digest
    from vivace.model.count import count_parameters

    if not (folder / "config.json").exists():
        raise BadInput(f"no checkpoint at {folder}; give a folder with config.json")
    digest = weights_digest(folder)
    if benchmarks and (other := {held for held in benchmarks.checkpoints() if held != digest}):
        raise BadInput(f"{folder} (weights {digest}) is not the model that was evaluated (weights {other.pop()}); name "
                       "that one's folder")
    config = read_config(folder / "config.json")
    counted = count_parameters(config)
    experts = f", {config.num_experts_per_tok} of {config.num_experts} experts per token" if config.num_experts else ""
    return {"parameters_total": counted.total, "parameters_active": counted.active, "hashes": verify_checkpoint(folder),
            "context": config.max_position_embeddings, "vocabulary": config.vocab_size,
            "architecture": f"decoder-only transformer, {config.num_hidden_layers} layers{experts}"}
