"""A whole checkpoint from a sharded model, one tensor at a time: the folder that one process would write."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from vivace.core.files import require_space
from vivace.model.checkpoint import save_checkpoint, stored_dtype, to_hf, whole_folder
from vivace.model.decoder import Decoder
from vivace.model.weights import WEIGHTS
from vivace.train.parallel.data import is_expert
from vivace.train.parallel.mesh import Mesh
from vivace.train.parallel.spans import span_of

NAMES = {torch.bfloat16: "BF16", torch.float32: "F32"}  # of the safetensors format


def save_model(
    directory: Path, model: Decoder, mesh: Mesh | None, extra_files: Mapping[str, Path | bytes | str] | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """`save_checkpoint` for a model that may be sharded: collective, rank 0 writes, nobody ever holds the whole."""
    if mesh is None:
        save_checkpoint(directory, model, extra_files, dtype)
        return
    if not mesh.first:
        for _ in gathered(model, mesh):
            pass
        dist.barrier()
        return
    fields = model.config.to_hf()
    with whole_folder(directory, fields, extra_files, dtype) as folder, (folder / WEIGHTS).open("wb") as file:
        write_header(file, whole_shapes(model, mesh), dtype, directory)
        for name, tensor in gathered(model, mesh):
            for hf_name, part in to_hf({name: tensor}):
                stored = part.to("cpu", stored_dtype(hf_name, dtype)).contiguous()
                file.write(stored.view(torch.uint8).numpy().data)
    dist.barrier()


def gathered(model: Decoder, mesh: Mesh) -> Iterator[tuple[str, Tensor]]:
    """Name and whole tensor of everything in the model's state, in its order; collective at every step."""
    for name, tensor in model.state_dict().items():
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if is_expert(name, tensor) and mesh.config.ep > 1:
            parts = [torch.empty_like(whole) for _ in range(mesh.config.ep)]
            dist.all_gather(parts, whole.contiguous(), group=mesh.expert.get_group())
            whole = torch.cat(parts)
        yield name, whole


def whole_shapes(model: Decoder, mesh: Mesh) -> dict[str, tuple[int, ...]]:
    """Shape of everything in the model's state, as one process would hold it."""
    return {name: span_of(name, tensor, mesh).shape for name, tensor in model.state_dict().items()}


def write_header(file: IO[bytes], shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype, directory: Path) -> None:
    """The head of a safetensors file whose tensors follow in the order of `shapes`."""
    head: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in shapes.items():
        for hf_name, part in to_hf({name: torch.empty(shape, device="meta")}):
            kind = stored_dtype(hf_name, dtype)
            end = offset + part.numel() * kind.itemsize
            head[hf_name] = {"dtype": NAMES[kind], "shape": list(part.shape), "data_offsets": [offset, end]}
            offset = end
    require_space(directory, offset)
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
