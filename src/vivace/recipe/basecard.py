"""The card of a base checkpoint: data, tokens, loss curve, bits per byte. Everything in it comes from the run."""

from __future__ import annotations

from typing import Any

from vivace.core.run import Run
from vivace.model.config import ModelConfig
from vivace.model.count import count_parameters, flops_per_token

POINTS = 24  # of the loss curve in the card


def base_card(run: Run, shape: ModelConfig, corpus: dict[str, Any], measures: dict[str, Any]) -> str:
    """Markdown. `corpus` is the corpus folder's meta.json, `measures` what was computed on held-out packages."""
    counted = count_parameters(shape)
    done = [run.stage(name).done for name in run.config if name not in ("name", "seed")]
    stages = [stage for stage in done if stage and "tok_s" in stage]
    trained = {stage["name"] for stage in stages}
    rows = [row for row in run.metrics() if "loss" in row and row.get("stage") in trained]
    lines = [
        f"# {run.config['name']}",
        "",
        f"A base model of Vivace: {counted.total / 1e6:.1f}M parameters, {counted.active / 1e6:.1f}M active per token "
        f"(tied embedding included), context {shape.max_position_embeddings}, vocabulary {shape.vocab_size}, "
        f"{flops_per_token(shape, 512) / 1e6:.0f} MFLOP per token in training at 512 tokens. Sparse mixture of "
        f"experts ({shape.num_experts} experts, {shape.num_experts_per_tok} per token, every second layer), five "
        "sliding-window layers to one global layer without position encoding. Weights in bf16, layout "
        "`ExaoneMoeForCausalLM`.",
        "",
        "It continues Python text and knows the form of a repair; it is the starting point of post-training, not an "
        "assistant. Licence of the weights: Apache-2.0.",
        "",
        "## Measured",
        "",
        "| | |",
        "|---|---|",
        f"| bits per byte, held-out packages ({corpus['val']['documents']} files, {corpus['val']['bytes']:,} bytes) | "
        f"{measures['bits_per_byte']} |",
        f"| bytes per token, same text | {corpus['val']['bytes'] / corpus['val']['tokens']:.2f} |",
        "",
        "## Training",
        "",
        "| stage | steps | tokens | tokens/s | seconds | last loss (nats/token) |",
        "|---|---|---|---|---|---|",
        *(f"| {s['name']} | {s['steps']:,} | {s['tokens']:,} | {s['tok_s']:,.0f} | {s['seconds']:,.0f} | {s['loss']} |"
          for s in stages),
        "",
        "Loss on training batches (each stage has another mix, so the parts are not one curve):",
        "",
        "| stage | tokens | loss |",
        "|---|---|---|",
        *(f"| {row['stage']} | {row['tokens']:,} | {row['loss']:.3f} |" for row in _thin(rows)),
        "",
        "## Data",
        "",
        f"{corpus['train']['documents']:,} files, {corpus['train']['bytes']:,} bytes, {corpus['train']['tokens']:,} "
        f"tokens of Python from {corpus['train']['packages']} packages under permissive licences, pinned by digest in "
        "`recipes/corpus.toml`. Mid-training adds repairs made from the same files by injecting faults. Evaluation "
        f"packages are left out by file hash and by function hash; {corpus['heldout_overlap']:.2%} of the held-out "
        "text's 13-word runs also occur in the training text (common idioms).",
        "",
        "How to make it again: `vivace run recipes/nano-base.toml`.",
        "",
    ]
    return "\n".join(lines)


def _thin(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """About `POINTS` rows, evenly spaced, the last one included."""
    if len(rows) <= POINTS:
        return rows
    step = (len(rows) - 1) / (POINTS - 1)
    return [rows[round(i * step)] for i in range(POINTS)]
