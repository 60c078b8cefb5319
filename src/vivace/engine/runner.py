"""What computes a step: `cpu` (one call into compiled code) where it can, else `torch` (any device).

Both keep keys and values in the blocks of a `PagedCache`, each in a layout of its own, and both agree with
`Decoder.forward` up to rounding (tests/engine/test_step_parity.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Size, Tensor

from vivace.core.errors import BadInput
from vivace.engine.cache import PagedCache
from vivace.engine.packing import WeightFormat
from vivace.model.config import ModelConfig

RunnerKind = Literal["auto", "cpu", "torch"]


class Piece(NamedTuple):
    """Tokens `ids` of the sequence in `slot`, at positions start, start + 1, ..."""

    slot: int
    start: int
    ids: Sequence[int]


class Runner(Protocol):
    """Holds a copy of the weights, so that training may go on meanwhile."""

    name: str

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Copy in a `Decoder.state_dict()` of the same configuration."""

    def step(self, pieces: Sequence[Piece], wanted: Sequence[int], tails: Sequence[int] = ()) -> Tensor:
        """Compute the pieces, leave their keys and values in the cache; logits after the pieces `wanted`: (len, V).

        With `tails`, one number for each of `wanted`: logits after each of its last so many tokens, piece by piece.
        """


def wanted_rows(pieces: Sequence[Piece], wanted: Sequence[int], tails: Sequence[int]) -> list[int]:
    """The rows of a step (all pieces back to back) after which logits are wanted."""
    ends = list(accumulate(len(piece.ids) for piece in pieces))
    return [row for number, tail in zip(wanted, tails or [1] * len(wanted))
            for row in range(ends[number] - tail, ends[number])]  # fmt: skip


def hold(cache: PagedCache, pieces: Sequence[Piece]) -> None:
    """Have blocks for the pieces; within the engine the scheduler has seen to that."""
    for piece in pieces:
        if not cache.reserve(piece.slot, piece.start + len(piece.ids)):
            raise RuntimeError(f"the cache has no blocks left for slot {piece.slot}")


class BlockWeights(NamedTuple):
    """One block's tensors. What a family lacks is None."""

    input_norm: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    q_norm: Tensor | None
    k_norm: Tensor | None
    out: Tensor
    post_norm: Tensor
    gate_up: Tensor  # (2F, D), or (E, 2F, D) in a sparse layer
    down: Tensor
    router: Tensor | None
    bias: Tensor | None
    qkv_bias: Tensor | None
    shared_gate_up: Tensor | None
    shared_down: Tensor | None


def block_weights(state: Mapping[str, Tensor], index: int) -> BlockWeights:
    """Block `index` of a `Decoder.state_dict()`."""
    prefix = f"layers.{index}."
    part = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    q, k, v, out = (part[f"self_attn.{name}_proj.weight"] for name in "qkvo")
    biases = [part[name] for letter in "qkv" if (name := f"self_attn.{letter}_proj.bias") in part]
    return BlockWeights(
        input_norm=part["input_layernorm.weight"], q=q, k=k, v=v, out=out,
        q_norm=part.get("self_attn.q_norm.weight"), k_norm=part.get("self_attn.k_norm.weight"),
        post_norm=part["post_attention_layernorm.weight"], gate_up=part["mlp.gate_up"], down=part["mlp.down"],
        router=part.get("mlp.gate.weight"), bias=part.get("mlp.e_score_correction_bias"),
        qkv_bias=torch.cat(biases) if biases else None, shared_gate_up=part.get("mlp.shared_experts.gate_up"),
        shared_down=part.get("mlp.shared_experts.down"),
    )  # fmt: skip


def check_state(shapes: Mapping[str, Size], state: Mapping[str, Tensor]) -> None:
    """BadInput unless `state` has every tensor of the model, in its shape."""
    for name, shape in shapes.items():
        if name not in state or state[name].shape != shape:
            found = list(state[name].shape) if name in state else "missing"
            raise BadInput(f"new weights do not fit: {name} should be {list(shape)}, is {found}; open a new engine")


def open_runner(
    config: ModelConfig, state: Mapping[str, Tensor], cache: PagedCache, *, kind: RunnerKind = "auto", threads: int = 1,
    weights: WeightFormat | None = None,
) -> Runner:
    """The quickest runner there is for this model and machine. BadInput when `kind` asks for one that cannot be.

    `weights`: the format they are kept in by the cpu runner (None: fp32); torch keeps them in the model's own dtype.
    """
    from vivace.engine.cpu_runner import CpuRunner, library, obstacle
    from vivace.engine.torch_runner import TorchRunner

    reason = obstacle(config, cache)
    if kind != "torch" and reason is None:
        compiled = library()
        if not isinstance(compiled, str):
            return CpuRunner(config, state, cache, compiled, threads, weights or "fp32")
        reason = compiled
    if kind == "cpu":
        raise BadInput(f"the cpu runner cannot be used: {reason}; leave the runner on auto")
    if weights:
        reason = reason or "torch was asked for"
        raise BadInput(f"{weights} weights need the cpu runner, which cannot be used: {reason}; leave out --weights")
    return TorchRunner(config, state, cache)

