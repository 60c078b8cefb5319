"""A tiny training in several gloo processes of one machine; importable by the processes it spawns."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing

from vivace.core.files import write_json
from vivace.model.config import ModelConfig, alternating_mlp_types, interleaved_layer_types
from vivace.model.decoder import Decoder
from vivace.train.batches import DocumentSource
from vivace.train.config import TrainConfig
from vivace.train.loop import mean_loss, train
from vivace.train.parallel.checkpoint import save_model
from vivace.train.parallel.mesh import MeshConfig, open_mesh, process_group


def decoder(**changes: Any) -> Decoder:
    """Two dense and two sparse layers, one global; the window is longer than a quarter of some sequences."""
    fields: dict[str, Any] = {
        "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 40, "moe_intermediate_size": 16,
        "num_experts": 8, "num_experts_per_tok": 2, "sliding_window": 8, "max_position_embeddings": 64,
        "layer_types": interleaved_layer_types(4), "mlp_layer_types": alternating_mlp_types(4),
    }
    return Decoder(ModelConfig(**(fields | changes)), seed=1)


def source() -> DocumentSource:
    """Documents of 5 to 61 tokens, so that micro-batches are ragged and ranks get different amounts."""
    generator = torch.Generator().manual_seed(0)
    documents = []
    for _ in range(60):
        length = int(torch.randint(5, 62, (1,), generator=generator))
        noise = torch.randint(3, (length,), generator=generator).tolist()
        ids = [1]
        for step in noise[1:]:
            ids.append((ids[-1] * 5 + step) % 64)
        documents.append((ids, [0.0] * 3 + [1.0] * (length - 3)))
    return DocumentSource(documents, 300, max_len=64, seed=3)


def settings(**changes: Any) -> TrainConfig:
    return TrainConfig(**({"max_steps": 20, "warmup_steps": 4, "workers": 1, "micro_tokens": 64} | changes))


def learn(out: Path, mesh: MeshConfig | None, save: bool = False, shape: dict[str, Any] | None = None,
          **changes: Any) -> None:  # fmt: skip
    """Train, and leave {losses, norms, loads, held_out} in `out`.json; with `save` the model, too."""
    model, rows = decoder(**(shape or {})), []
    held = source().next_batch()
    with open_mesh(mesh) as opened:
        train(model, source(), settings(**changes), out, rows.append, mesh=opened,
              evaluate=lambda now: {"held_out": mean_loss(now, held)})  # fmt: skip
        if save:
            save_model(out / "model", model, opened, dtype=torch.float32)
        if opened is None or opened.first:
            steps = [row for row in rows if "loss" in row]
            write_json(out.with_suffix(".json"), {
                "losses": [row["loss"] for row in steps], "norms": [row["grad_norm"] for row in steps],
                "loads": [row["load_max_over_mean"] for row in steps],
                "held_out": [row["held_out"] for row in rows if "held_out" in row],
            })  # fmt: skip


def learn_all(out: Path, meshes: dict[str, MeshConfig], saved: dict[str, Any]) -> None:
    """One training a mesh, in one set of processes."""
    for name, mesh in meshes.items():
        learn(out / name, mesh, **(saved if name == "all" else {}))


def result(out: Path) -> dict[str, list[float]]:
    return json.loads(out.with_suffix(".json").read_text())


def _enter(rank: int, ranks: int, port: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": str(port)}  # fmt: skip
    torch.set_num_threads(1)
    with process_group():
        work(*arguments)


def together(ranks: int, work: Callable[..., None], *arguments: Any) -> None:
    """`work(*arguments)` in each of `ranks` processes, as under torchrun."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    torch.multiprocessing.spawn(_enter, (ranks, port, work, arguments), nprocs=ranks)
