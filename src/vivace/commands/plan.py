"""What `vivace run RECIPE --dry-run` adds for recipes that name clusters: a plan per rank for each."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from vivace.recipe.config import Recipe, StageConfig


def plans(recipe: Recipe) -> list[dict[str, Any]]:
    """Of every stage with `plan`, for each of its clusters and each sequence length that it trains on."""
    from vivace.model.presets import preset
    from vivace.train.plan import plan

    made = []
    for name, stage in recipe.stages.items():
        for cluster in getattr(stage, "plan", []):
            steps = [step.seq_len for step in getattr(stage, "extend", [])]
            for seq_len in steps or [stage.seq_len]:  # type: ignore[attr-defined]  # a stage with a plan has one
                facts = plan(preset(_preset(recipe, stage)), cluster, seq_len,
                             stage.batch_tokens)  # type: ignore[attr-defined]
                made.append({"stage": name, **facts})
    return made


def _preset(recipe: Recipe, stage: StageConfig) -> str:
    """Of the stage that the model goes back to."""
    seen = stage
    while not hasattr(seen, "preset"):
        init = getattr(seen, "init", "")
        if init not in recipe.stages:
            return "nano"
        seen = recipe.stages[init]
    return str(seen.preset)


def print_plans(recipe: Recipe, console: Console) -> None:
    """A table a stage, one column a cluster and length. Nothing for recipes without a plan."""
    made = plans(recipe)
    if not made:
        return
    from vivace.train.plan import ASSUMPTIONS

    for stage in dict.fromkeys(one["stage"] for one in made):
        chosen = [one for one in made if one["stage"] == stage]
        table = Table("per rank", *(f"{one['cluster']}\n{one['mesh']}\n{one['seq_len']:,} tokens" for one in chosen),
                      title=f"{stage}: plan")  # fmt: skip
        table.add_row("tokens a step, all ranks", *(f"{one['tokens_per_step']:,}" for one in chosen))
        table.add_row("micro-batches a step", *(str(one["micro_batches"]) for one in chosen))
        for kind in chosen[0]["memory"]:
            table.add_row(f"{kind}, GB", *(f"{one['memory'][kind] / 1e9:,.1f}" for one in chosen))
        table.add_row("memory, GB",
                      *(f"{one['memory_total'] / 1e9:,.1f} ({one['memory_share']:.0%})" for one in chosen))
        for kind in chosen[0]["traffic"]:
            table.add_row(f"{kind}, GB a step", *(f"{one['traffic'][kind] / 1e9:,.1f}" for one in chosen))
        for kind in chosen[0]["seconds"]:
            table.add_row(f"{kind}, s", *(f"{one['seconds'][kind]:,.2f}" for one in chosen))
        table.add_row("tokens/s, all ranks", *(f"{one['tokens_per_second']:,.0f}" for one in chosen))
        table.add_row("MFU", *(f"{one['mfu']:.0%}" for one in chosen))
        console.print(table)
    console.print(ASSUMPTIONS)
