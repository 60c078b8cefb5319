"""`vivace model`: look at models, bring them in, hand them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

if TYPE_CHECKING:
    import torch

app = typer.Typer(no_args_is_help=True, help="Look at models, import and export them.")
Stored = Literal["bf16", "fp32"]
DtypeOption = Annotated[Stored, typer.Option(help="How the weights are stored.")]


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A preset, or a checkpoint folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    length: Annotated[int | None, typer.Option(min=1, help="Tokens of a sequence; default the whole context.")] = None,
    mesh: Annotated[str, typer.Option(help="Ranks for the memory of training, such as dp=8,ep=8 for 64.")] = "dp=1",
) -> None:
    """Parameters, arithmetic, cache and memory of a model."""
    from vivace.model.show import config_of, describe, table
    from vivace.train.parallel.mesh import parse_mesh
    from vivace.train.plan import Cluster, memory_bytes

    facts = describe(name, length)
    tokens, cluster = facts["flops_per_token"]["at_length"], Cluster(hardware="h100", mesh=parse_mesh(mesh))
    memory = memory_bytes(config_of(name), cluster, tokens, -(-tokens // cluster.mesh.cp))
    memory["total"] = sum(memory.values())
    facts["training_bytes_per_rank"] = {kind: round(size) for kind, size in memory.items()}
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
    else:
        Console().print(table(facts))


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(help="A folder as Hugging Face writes it, or a hub id.")],
    out: Annotated[Path, typer.Argument(help="The checkpoint folder to write.")],
    dtype: DtypeOption = "bf16",
) -> None:
    """Bring in a Qwen2.5, Qwen3, Qwen3-MoE or EXAONE-MoE model as a base for recipes."""
    from vivace.model.transfer import import_model

    config = import_model(source, out, _dtype(dtype))
    typer.echo(f'{out}: {config.model_type}, {config.num_hidden_layers} layers; init = "{out}" in a recipe')


@app.command("export")
def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint folder.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    dtype: DtypeOption = "bf16",
) -> None:
    """Write what transformers, vLLM and SGLang load: weights, tokenizer, chat template."""
    from vivace.model.transfer import export_model

    config = export_model(checkpoint, out, _dtype(dtype))
    typer.echo(f"{out}: {config.family.architecture}")


def _dtype(name: Stored) -> torch.dtype:
    import torch

    return {"bf16": torch.bfloat16, "fp32": torch.float32}[name]
