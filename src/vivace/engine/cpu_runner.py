"""The step in compiled code: `step.cpp`, built once per machine with its own compiler, called through ctypes.

A call computes on one thread. Several threads take a share of the sequences each and never wait for each other inside
a step: on a busy machine that costs nothing, where threads that meet after every layer would stand still.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from vivace.core.files import cache_dir, digest
from vivace.engine.cache import SlotCache
from vivace.engine.packing import FORMATS, PANEL, WeightFormat, pack, plain
from vivace.engine.runner import Piece, block_weights, wanted_rows
from vivace.model.config import ModelConfig

SOURCE = Path(__file__).with_name("step.cpp")
HEADER = Path(__file__).with_name("products.h")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-shared", "-fPIC")
SPLIT_TOKENS = 4  # below this a step is too short to share


@functools.cache
def library() -> ctypes.CDLL | str:
    """The compiled step, or why there is none."""
    found = (shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++") if name)
    compiler = next(filter(None, found), None)
    if compiler is None:
        return "no C++ compiler was found (install g++)"
    try:
        version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
        key = digest([SOURCE.read_text(), HEADER.read_text(), FLAGS, compiler, version, _processor()])
        target = cache_dir("engine") / f"step-{key}.so"
        if not target.exists():
            _build(compiler, target)
        return ctypes.CDLL(str(target))
    except subprocess.CalledProcessError as error:
        return f"{Path(compiler).name} could not build {SOURCE.name}: {error.stderr.strip()[:200]}"
    except OSError as error:
        return f"the compiled step could not be stored or loaded ({error})"


def _build(compiler: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        built = Path(folder) / "step.so"
        command = [compiler, *FLAGS, str(SOURCE), "-o", str(built)]
        subprocess.run(command, capture_output=True, text=True, check=True)
        built.replace(target)  # whole or not at all, also when two processes build at once


def _processor() -> str:
    """Which instructions this machine has: a library built for another may not run here."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        return f"{platform.machine()} {platform.processor()}"


def obstacle(config: ModelConfig, cache: SlotCache) -> str | None:
    """Why this model cannot run here, if it cannot."""
    store = cache.keys[0]
    if store.device.type != "cpu" or store.dtype != torch.float32:
        return f"it keeps float32 keys on the cpu, and the cache is {store.dtype} on {store.device.type}"
    sizes = (config.hidden_size, config.head_dim, 2 * config.intermediate_size, 2 * config.moe_intermediate_size)
    if any(size % PANEL for size in sizes):
        return f"hidden_size, head_dim and twice the feed-forward widths must be multiples of {PANEL}"
    return None


def _fields(kind: Any, *names: str) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names]


class _Weights(ctypes.Structure):
    _fields_: ClassVar = _fields(ctypes.c_void_p, "data", "scales")


class _Layer(ctypes.Structure):
    _fields_: ClassVar = [
        *_fields(ctypes.c_int32, "window", "rotates", "sparse"),
        *_fields(_Weights, "qkv", "out", "gate_up", "down", "shared_gate_up", "shared_down", "router"),
        *_fields(ctypes.c_void_p, "input_norm", "q_norm", "k_norm", "post_norm", "qkv_bias", "bias", "keys", "values"),
    ]


class _Model(ctypes.Structure):
    _fields_: ClassVar = [
        *_fields(ctypes.c_int32, "layers", "hidden", "heads", "kv_heads", "head_dim", "dense_width", "expert_width"),
        *_fields(ctypes.c_int32, "shared_width", "experts", "top_k", "normalise", "softmax", "vocab", "max_len"),
        *_fields(ctypes.c_int32, "format"),
        *_fields(ctypes.c_float, "eps", "route_scale"),
        ("embed", ctypes.c_void_p), ("head", _Weights),
        *_fields(ctypes.c_void_p, "norm", "cos", "sin"),
        ("layer", ctypes.POINTER(_Layer)),
    ]  # fmt: skip


class CpuRunner:
    """See `runner.Runner`. `weights`: the format in which matrices are kept, see `engine.packing`; all else is fp32."""

    name = "cpu"

    def __init__(
        self, config: ModelConfig, state: Mapping[str, Tensor], cache: SlotCache, compiled: ctypes.CDLL, threads: int,
        weights: WeightFormat = "fp32",
    ) -> None:
        self.config, self.cache, self.threads, self.weights = config, cache, threads, weights
        self._step = compiled.vivace_step
        self._step.restype = None
        self._pool = ThreadPoolExecutor(threads - 1, "vivace-step") if threads > 1 else None
        frequency = config.rope_theta ** (-torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim)
        angle = torch.arange(config.max_position_embeddings, dtype=torch.float32)[:, None] * frequency
        self._turn = (angle.cos(), angle.sin())
        self.load(state)

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        config = self.config
        kept: list[Tensor] = [*self._turn]

        def keep(tensor: Tensor | None) -> int | None:
            if tensor is None:
                return None
            kept.append(tensor)
            return tensor.data_ptr()

        def matrix(weight: Tensor | None, kind: WeightFormat = self.weights) -> _Weights:
            data, scales = pack(weight, kind) if weight is not None else (None, None)
            return _Weights(keep(data), keep(scales))

        layers = (_Layer * config.num_hidden_layers)()
        for index, layer in enumerate(layers):
            block = block_weights(config, state, index)
            layer.window, layer.sparse = block.window or 0, block.router is not None
            layer.rotates = config.rotates(index)
            layer.qkv = matrix(torch.cat([block.q, block.k, block.v]))
            for name in ("out", "gate_up", "down", "shared_gate_up", "shared_down"):
                setattr(layer, name, matrix(getattr(block, name)))
            layer.router = matrix(block.router, "fp32")
            for name in ("input_norm", "q_norm", "k_norm", "post_norm", "qkv_bias", "bias"):
                vector = getattr(block, name)
                setattr(layer, name, keep(plain(vector) if vector is not None else None))
            layer.keys, layer.values = self.cache.keys[index].data_ptr(), self.cache.values[index].data_ptr()
        head = state["embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight"]
        embed = plain(state["embed_tokens.weight"], torch.float32 if self.weights == "fp32" else torch.bfloat16)
        self._model = _Model(
            layers=len(layers), hidden=config.hidden_size, heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads, head_dim=config.head_dim, dense_width=config.intermediate_size,
            expert_width=config.moe_intermediate_size, experts=config.num_experts, top_k=config.num_experts_per_tok,
            shared_width=config.num_shared_experts * config.moe_intermediate_size, normalise=config.norm_topk_prob,
            softmax=config.family.softmax_router, vocab=config.vocab_size, max_len=self.cache.keys[0].shape[2],
            format=FORMATS.index(self.weights), eps=config.rms_norm_eps, route_scale=config.routed_scaling_factor,
            embed=keep(embed), head=matrix(head), norm=keep(plain(state["norm.weight"])),
            cos=self._turn[0].data_ptr(), sin=self._turn[1].data_ptr(), layer=layers,
        )  # fmt: skip
        self._kept = kept

    @property
    def weight_bytes(self) -> int:
        """Memory of the weights."""
        return sum(tensor.nbytes for tensor in self._kept)

    def step(self, pieces: Sequence[Piece], wanted: Sequence[int], tails: Sequence[int] = ()) -> Tensor:
        tails = tails or [1] * len(wanted)
        logits = torch.empty(sum(tails), self.config.vocab_size)
        if self._pool is None or len(pieces) < 2 or sum(len(p.ids) for p in pieces) < SPLIT_TOKENS:
            self._compute(pieces, wanted_rows(pieces, wanted, tails), logits)
            return logits
        firsts = [0, *accumulate(tails)]
        shares = _share(pieces, self.threads)
        blocks = []
        for share in shares:
            asked = [place for place, number in enumerate(wanted) if number in share]
            local = {number: place for place, number in enumerate(share)}
            part = [pieces[n] for n in share]
            rows = wanted_rows(part, [local[wanted[place]] for place in asked], [tails[place] for place in asked])
            blocks.append(([row for p in asked for row in range(firsts[p], firsts[p + 1])], part, rows))
        outs = [torch.empty(len(mine), self.config.vocab_size) for mine, _, _ in blocks]
        jobs = [self._pool.submit(self._compute, p, w, out) for (_, p, w), out in zip(blocks[1:], outs[1:])]
        self._compute(blocks[0][1], blocks[0][2], outs[0])
        for job in jobs:
            job.result()
        for (mine, _, _), out in zip(blocks, outs):
            logits[mine] = out
        return logits

    def _compute(self, pieces: Sequence[Piece], wanted: Sequence[int], logits: Tensor) -> None:
        """`wanted`: rows of this step, as in `wanted_rows`."""
        ids = torch.tensor([i for piece in pieces for i in piece.ids])
        table, row = [], 0
        for piece in pieces:
            table += [piece.slot, piece.start, len(piece.ids), row]
            row += len(piece.ids)
        rows = (ctypes.c_int32 * max(1, len(wanted)))(*wanted)
        numbers = (ctypes.c_int32 * len(table))(*table)
        at_ids, at_logits = ctypes.c_void_p(ids.data_ptr()), ctypes.c_void_p(logits.data_ptr())
        self._step(ctypes.byref(self._model), row, at_ids, len(pieces), numbers, len(wanted), rows, at_logits)


def _share(pieces: Sequence[Piece], threads: int) -> list[list[int]]:
    """Numbers of pieces for each thread: longest first, to whoever has least so far."""
    shares: list[list[int]] = [[] for _ in range(min(threads, len(pieces)))]
    load = [0] * len(shares)
    for number in sorted(range(len(pieces)), key=lambda n: -len(pieces[n].ids)):
        least = load.index(min(load))
        shares[least].append(number)
        load[least] += len(pieces[number].ids)
    return shares
