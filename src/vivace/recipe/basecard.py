"""The card of a base checkpoint: data, tokens, loss curve, bits per byte. Everything in it was recorded in training."""

from __future__ import annotations

from typing import Any

from vivace.model.config import ModelConfig
from vivace.model.count import count_parameters, flops_per_token
from vivace.recipe.lineage import Lineage


def base_card(name: str, shape: ModelConfig, corpus: dict[str, Any], lineage: Lineage) -> str:
    """Markdown. `corpus` is the corpus folder's meta.json."""
    counted = count_parameters(shape)
    lines = [
        f"# {name}",
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
        f"{lineage.measures['bits_per_byte']} |",
        f"| bytes per token, same text | {corpus['val']['bytes'] / corpus['val']['tokens']:.2f} |",
        "",
        "## Training",
        "",
        f"{lineage.tokens / 1e6:.1f}M tokens in all, on two CPU cores in fp32.",
        "",
        "| stage | steps | tokens | tokens/s | seconds | last loss (nats/token) | |",
        "|---|---|---|---|---|---|---|",
        *(f"| {s.name} | {s.steps:,} | {s.tokens:,} | {s.tok_s:,.0f} | {s.seconds:,.0f} | {s.loss:.3f} | {s.note} |"
          for s in lineage.stages),
        "",
        "Loss on training batches (each stage has another mix and other loss weights, so the parts are not one curve):",
        "",
        "| stage | tokens | loss |",
        "|---|---|---|",
        *(f"| {point.stage} | {point.tokens:,} | {point.loss:.3f} |" for point in lineage.curve),
        "",
        "## Data",
        "",
        f"{corpus['train']['documents']:,} files, {corpus['train']['bytes']:,} bytes, {corpus['train']['tokens']:,} "
        f"tokens of Python from {corpus['train']['packages']} packages under permissive licences, pinned by digest in "
        "`recipes/corpus.toml`. Mid-training adds repairs made from the same files by injecting faults. Evaluation "
        f"packages are left out by file hash and by function hash; {corpus['heldout_overlap']:.2%} of the held-out "
        "text's 13-word runs also occur in the training text (common idioms).",
        "",
        "`vivace run recipes/nano-base.toml` trains a base like it from nothing; `recipes/nano-base-more.toml` goes on "
        "from the one that is shipped, as was done here for the last stage.",
        "",
    ]
    return "\n".join(lines)
