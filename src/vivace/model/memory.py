"""What training takes of each rank's memory: an estimate by arithmetic, not a measurement.

The mesh is `dp` x `cp` ranks, over which every parameter is sharded; expert parallelism `ep` divides them and decides
how much of a layer's experts is gathered at a time. Compute is bf16, masters are fp32, blocks are checkpointed.
"""

from __future__ import annotations

from vivace.core.errors import BadInput
from vivace.model.config import ModelConfig
from vivace.model.count import count_parameters

AXES = ("dp", "cp", "ep")


def parse_mesh(text: str) -> dict[str, int]:
    """`dp=8,ep=8` to sizes by axis; what is not named is 1."""
    mesh = dict.fromkeys(AXES, 1)
    for part in text.split(","):
        axis, _, size = part.strip().partition("=")
        if axis not in AXES or not size.isdigit() or int(size) < 1:
            raise BadInput(f"{part!r} is no part of a mesh; write something like dp=8,ep=8 (axes: {', '.join(AXES)})")
        mesh[axis] = int(size)
    if mesh["dp"] * mesh["cp"] % mesh["ep"]:
        raise BadInput(f"ep={mesh['ep']} does not divide the {mesh['dp'] * mesh['cp']} ranks of dp x cp")
    return mesh


def training_memory(config: ModelConfig, mesh: dict[str, int], length: int) -> dict[str, int]:
    """Bytes per rank for one sequence of `length` tokens per data-parallel rank."""
    counted, ranks = count_parameters(config), mesh["dp"] * mesh["cp"]
    adam = counted.embedding + counted.router + counted.norms  # two moments; Muon's matrices have one
    state = (8 * counted.total + 4 * counted.total + 4 * adam) // ranks  # masters and gradients; moments
    layers, sparse = config.num_hidden_layers, config.mlp_layer_types.count("sparse")
    expert_layer = counted.experts // max(1, sparse) // mesh["ep"]
    dense_layer = counted.dense // max(1, layers - sparse) if sparse < layers else 0
    block = counted.attention // layers + max(expert_layer, dense_layer)
    gathered = 2 * (3 * block + counted.embedding) if ranks > 1 else 2 * counted.total  # two blocks and a gradient
    tokens = -(-length // mesh["cp"])
    heads = config.num_attention_heads + 2 * config.num_key_value_heads
    routed = (config.num_experts_per_tok + config.num_shared_experts) * config.moe_intermediate_size
    width = max(config.intermediate_size if dense_layer else 0, routed)
    kept = 2 * tokens * config.hidden_size * layers
    one_block = 2 * tokens * (6 * config.hidden_size + 3 * heads * config.head_dim + 4 * width)
    parts = {"ranks": ranks, "weights_gradients_optimizer": state, "gathered_weights": gathered,
             "activations": kept + one_block}  # fmt: skip
    return {**parts, "total": sum(parts.values()) - ranks}
