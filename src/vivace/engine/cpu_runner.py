"""The step in compiled code: `step.cpp`, built once per machine with its own compiler, called through ctypes.

A call computes on one thread. Several threads take a share of a step's tokens each, and do not meet inside it: on a
busy machine that costs nothing, where threads that meet after every product would stand still. Only where a long piece
is cut between two threads does the later one wait, layer by layer, for the earlier one's keys and values.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from vivace.core.files import cache_dir, digest
from vivace.engine.cache import NEAR, PagedCache
from vivace.engine.packing import FORMATS, PANEL, WeightFormat, pack, plain
from vivace.engine.runner import Piece, block_weights, hold, wanted_rows
from vivace.model.config import ModelConfig

SOURCE = Path(__file__).with_name("step.cpp")
HEADER = Path(__file__).with_name("products.h")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-shared", "-fPIC")
SPLIT_TOKENS = 4  # below this a step is too short to share
CUT_TOKENS = 32  # a piece is cut between threads into parts of at least this
DEPTH = 4096  # positions before a token that cost as much to attend to as the rest of it costs


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


def obstacle(config: ModelConfig, cache: PagedCache) -> str | None:
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
        *_fields(ctypes.c_int32, "shared_width", "experts", "top_k", "normalise", "softmax", "vocab", "context_blocks"),
        *_fields(ctypes.c_int32, "format"),
        *_fields(ctypes.c_float, "eps", "route_scale"),
        ("embed", ctypes.c_void_p), ("head", _Weights),
        *_fields(ctypes.c_void_p, "norm", "cos", "sin"),
        ("layer", ctypes.POINTER(_Layer)), ("tables", ctypes.c_void_p * 2),
    ]  # fmt: skip


class CpuRunner:
    """See `runner.Runner`. `weights`: the format in which matrices are kept, see `engine.packing`; all else is fp32."""

    name = "cpu"

    def __init__(
        self, config: ModelConfig, state: Mapping[str, Tensor], cache: PagedCache, compiled: ctypes.CDLL, threads: int,
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
            block = block_weights(state, index)
            layer.window = self.cache.window if self.cache.kinds[index] == NEAR else 0
            layer.sparse = block.router is not None
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
            softmax=config.family.softmax_router, vocab=config.vocab_size, context_blocks=self.cache.tables.shape[2],
            format=FORMATS.index(self.weights), eps=config.rms_norm_eps, route_scale=config.routed_scaling_factor,
            embed=keep(embed), head=matrix(head), norm=keep(plain(state["norm.weight"])),
            cos=self._turn[0].data_ptr(), sin=self._turn[1].data_ptr(), layer=layers,
            tables=(ctypes.c_void_p * 2)(*(table.ctypes.data for table in self.cache.tables)),
        )  # fmt: skip
        self._kept = kept

    @property
    def weight_bytes(self) -> int:
        """Memory of the weights."""
        return sum(tensor.nbytes for tensor in self._kept)

    def step(self, pieces: Sequence[Piece], wanted: Sequence[int], tails: Sequence[int] = ()) -> Tensor:
        hold(self.cache, pieces)
        rows = wanted_rows(pieces, wanted, tails)
        logits = torch.empty(len(rows), self.config.vocab_size)
        shares = _shares(pieces, self.threads)
        placed = (ctypes.c_int32 * len(shares))()
        if self._pool is None or len(shares) == 1:
            self._compute(shares[0], rows, logits, placed, 0)
            return logits
        jobs, first = [], 0
        for number, share in enumerate(shares):
            last = first + sum(len(piece.ids) for piece in share.pieces)
            mine = [place for place, row in enumerate(rows) if first <= row < last]
            out = torch.empty(len(mine), self.config.vocab_size)
            job = functools.partial(self._compute, share, [rows[place] - first for place in mine], out, placed, number)
            jobs.append((mine, out, self._pool.submit(job) if number < len(shares) - 1 else job()))
            first = last
        for mine, out, running in jobs:
            if running is not None:
                running.result()
            logits[mine] = out
        return logits

    def _compute(
        self, share: _Share, wanted: Sequence[int], logits: Tensor, placed: ctypes.Array[ctypes.c_int32], number: int
    ) -> None:
        """`wanted`: rows of this share, as in `wanted_rows`."""
        ids = torch.tensor([i for piece in share.pieces for i in piece.ids])
        table, row = [], 0
        for piece, cut in zip(share.pieces, share.cut):
            table += [piece.slot, piece.start, len(piece.ids), row, number if cut else 0]
            row += len(piece.ids)
        rows = (ctypes.c_int32 * max(1, len(wanted)))(*wanted)
        numbers = (ctypes.c_int32 * len(table))(*table)
        at_ids, at_logits = ctypes.c_void_p(ids.data_ptr()), ctypes.c_void_p(logits.data_ptr())
        self._step(ctypes.byref(self._model), row, at_ids, len(share.pieces), numbers, len(wanted), rows, at_logits,
                   placed, number)  # fmt: skip


class _Share(NamedTuple):
    """One thread's pieces; `cut`: whether it is the later part of one, which other threads have begun."""

    pieces: list[Piece]
    cut: list[bool]


def _shares(pieces: Sequence[Piece], threads: int) -> list[_Share]:
    """Cut a step's tokens, in their order, into one share for each thread, about as much work each.

    Nothing is lost by cutting between pieces; a piece is cut only where both parts are long.
    """
    tokens = sum(len(piece.ids) for piece in pieces)
    shares = [_Share([], []) for _ in range(threads if tokens >= SPLIT_TOKENS else 1)]
    each, done = sum(map(_work, pieces)) / len(shares), 0.0
    for piece in pieces:
        at, unit = 0, _work(piece) / len(piece.ids)
        while at < len(piece.ids):
            number = min(int(done / each), len(shares) - 1)
            left = len(piece.ids) - at
            count = math.ceil(((number + 1) * each - done) / unit) if number < len(shares) - 1 else left
            if count < CUT_TOKENS or left - count < CUT_TOKENS:
                count = left
            shares[number].pieces.append(Piece(piece.slot, piece.start + at, piece.ids[at : at + count]))
            shares[number].cut.append(at > 0)
            at, done = at + count, done + count * unit
    return [share for share in shares if share.pieces]


def _work(piece: Piece) -> float:
    return len(piece.ids) * (1 + (piece.start + len(piece.ids) / 2) / DEPTH)
