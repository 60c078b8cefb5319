"""What a training step costs each rank of a cluster: memory, traffic, time. Arithmetic only; nothing here was run.

The assumptions are those that `ASSUMPTIONS` prints beside every plan.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from vivace.core.errors import BadInput
from vivace.model.config import ModelConfig
from vivace.model.count import count_parameters, flops_per_token
from vivace.train.parallel.mesh import MeshConfig

NODE = 8  # GPUs that share fast links
GEMM_SHARE, LINK_SHARE = 0.4, 0.7  # of the data sheet's peak, assumed
BF16, FP32 = 2, 4

ASSUMPTIONS = (
    f"Assumed: {GEMM_SHARE:.0%} of the peak in matrix products, {LINK_SHARE:.0%} of each link; nodes of {NODE}; bf16 "
    "compute and gathers, fp32 masters, gradients and momenta; parameter traffic overlaps with compute, token and "
    "context "
    "traffic does not. Data sheet peaks, no run behind it."
)


class Hardware(NamedTuple):
    """Per GPU: bytes of memory, bf16 FLOP/s (dense), bytes/s one way inside a node and out of it."""

    memory: float
    flops: float
    inside: float
    outside: float


HARDWARE = {"h100": Hardware(80e9, 989e12, 450e9, 50e9), "h200": Hardware(141e9, 989e12, 450e9, 50e9)}


class Cluster(BaseModel):
    """Machines to plan for; `micro_tokens` is what one rank processes at a time (its piece of a sequence under cp)."""

    model_config = ConfigDict(extra="forbid")

    hardware: Literal["h100", "h200"]
    mesh: MeshConfig
    micro_tokens: int = Field(16384, ge=1)
    recompute: bool = True


class _Sizes(NamedTuple):
    """Parameters: of all blocks but experts and routers, routers, experts, embedding with final norm."""

    blocks: int
    routers: int
    experts: int
    root: int


def plan(config: ModelConfig, cluster: Cluster, seq_len: int, batch_tokens: int) -> dict[str, Any]:
    """Per rank: `memory` in bytes by kind, `traffic` in bytes a step by kind, `seconds` a step by kind, and totals."""
    mesh, hardware = cluster.mesh, HARDWARE[cluster.hardware]
    rank_tokens = batch_tokens / mesh.size
    micro = min(cluster.micro_tokens, rank_tokens)
    passes = max(1, round(rank_tokens / micro))
    memory = memory_bytes(config, cluster, seq_len, round(micro))
    traffic = traffic_bytes(config, cluster, seq_len, rank_tokens, passes)
    seconds = step_seconds(config, cluster, seq_len, rank_tokens, traffic)
    total = sum(memory.values())
    return {
        "cluster": f"{mesh.size} {cluster.hardware.upper()}", "mesh": f"dp {mesh.dp} x ep {mesh.ep} x cp {mesh.cp}",
        "seq_len": seq_len, "tokens_per_step": batch_tokens, "micro_batches": passes, "memory": memory,
        "memory_total": total, "memory_share": total / hardware.memory, "traffic": traffic, "seconds": seconds,
        "tokens_per_second": batch_tokens / seconds["step"],
        "mfu": flops_per_token(config, seq_len) * rank_tokens / seconds["step"] / hardware.flops,
    }


def _sizes(config: ModelConfig) -> _Sizes:
    counted = count_parameters(config)
    blocks = counted.attention + counted.dense + counted.norms - config.hidden_size
    return _Sizes(blocks, counted.router, counted.experts, counted.embedding + config.hidden_size)


def memory_bytes(config: ModelConfig, cluster: Cluster, seq_len: int, tokens: int) -> dict[str, float]:
    """At the fullest moment: two blocks gathered, one block's gradients not yet scattered, one block's activations."""
    mesh, sizes, layers = cluster.mesh, _sizes(config), config.num_hidden_layers
    if config.num_experts % mesh.ep:
        raise BadInput(f"ep={mesh.ep} must divide the model's {config.num_experts} experts")
    sparse = max(1, config.mlp_layer_types.count("sparse"))
    owned = (sizes.blocks + sizes.experts + sizes.root) / mesh.size + sizes.routers / (mesh.dp * mesh.cp)
    block = sizes.blocks / layers + (sizes.experts / mesh.ep + sizes.routers) / sparse  # the largest, gathered
    moments = (sizes.blocks + sizes.experts) / mesh.size * FP32 + (sizes.root / mesh.size) * 2 * FP32
    return {
        "weights": owned * FP32, "gradients": owned * FP32, "optimizer": moments,
        "gathered": (2 * block + sizes.root) * BF16, "gradients in flight": block * (BF16 + FP32) + sizes.root * BF16,
        "activations": activation_bytes(config, cluster, seq_len, tokens),
    }


def activation_bytes(config: ModelConfig, cluster: Cluster, seq_len: int, tokens: int) -> float:
    """Of `tokens` local tokens. With recompute: the input of every block, and all of one."""
    heads, width = config.num_attention_heads, config.hidden_size
    values = 2 * config.num_key_value_heads * config.head_dim
    attention = 2 * width + 2 * heads * config.head_dim + values
    dense = 2 * width + 3 * config.intermediate_size
    sparse = width + config.num_experts_per_tok * (2 * width + 3 * config.moe_intermediate_size)
    kinds = [sparse if kind == "sparse" else dense for kind in config.mlp_layer_types]
    if cluster.recompute:
        held = tokens * (len(kinds) * width + attention + max(kinds))
        gathered = seq_len * values if cluster.mesh.cp > 1 else 0
    else:
        held = tokens * sum(attention + kind for kind in kinds)
        gathered = seq_len * values * config.layer_types.count("full_attention") if cluster.mesh.cp > 1 else 0
    return (held + gathered) * BF16


def traffic_bytes(
    config: ModelConfig, cluster: Cluster, seq_len: int, rank_tokens: float, passes: int
) -> dict[str, float]:
    """Received by one rank in a step."""
    mesh, sizes = cluster.mesh, _sizes(config)
    shard = mesh.dp * mesh.cp
    moved = sizes.blocks * _others(mesh.size) + (sizes.experts / mesh.ep + sizes.routers) * _others(shard)
    root = sizes.root * _others(mesh.size)
    forwards = 2 if cluster.recompute else 1  # of the blocks' own work; parameters are gathered twice in any case
    slots = config.mlp_layer_types.count("sparse") * config.num_experts_per_tok * config.hidden_size
    values = 2 * config.num_key_value_heads * config.head_dim * BF16
    full = config.layer_types.count("full_attention")
    halos = config.num_hidden_layers - full
    sequences = rank_tokens * mesh.cp / seq_len  # that pass through a context group
    context = full * seq_len * _others(mesh.cp) + halos * min(config.sliding_window - 1, seq_len) * (mesh.cp > 1)
    return {
        "all-gather": passes * (2 * moved + root) * BF16,
        "reduce-scatter": passes * (moved + root) * FP32,
        "all-to-all": rank_tokens * slots * BF16 * 2 * (forwards + 1) * _others(mesh.ep),
        "context": sequences * context * values * (forwards + 1),
        "muon": 2 * sizes.blocks / mesh.size * FP32 * _others(mesh.size),
    }


def _others(ranks: int) -> float:
    """The share of a tensor that comes from other ranks."""
    return (ranks - 1) / ranks


def step_seconds(
    config: ModelConfig, cluster: Cluster, seq_len: int, rank_tokens: float, traffic: dict[str, float]
) -> dict[str, float]:
    """Compute, the three kinds of traffic, and the step they make together."""
    mesh, hardware = cluster.mesh, HARDWARE[cluster.hardware]
    near, far = hardware.inside * LINK_SHARE, hardware.outside * LINK_SHARE
    work = flops_per_token(config, seq_len) * rank_tokens * (4 / 3 if cluster.recompute else 1)
    compute = work / (hardware.flops * GEMM_SHARE)
    parameters = (traffic["all-gather"] + traffic["reduce-scatter"]) / (near if mesh.size <= NODE else far)
    tokens = traffic["all-to-all"] / (near if mesh.ep * mesh.cp <= NODE else far)
    context = traffic["context"] / (near if mesh.cp <= NODE else far)
    muon = traffic["muon"] / (near if mesh.size <= NODE else far)
    return {"compute": compute, "parameters": parameters, "all-to-all": tokens, "context": context,
            "step": max(compute, parameters) + tokens + context + muon}  # fmt: skip
