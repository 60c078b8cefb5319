"""Safetensors files, one tensor at a time: a checkpoint larger than memory can still be read, changed and written.

The format (github.com/huggingface/safetensors): eight bytes with the length of a JSON header, the header (name ->
dtype, shape, data_offsets), the tensors' bytes. A checkpoint is `model.safetensors`, or shards and an index that says
which tensor is in which. Plain reads rather than a memory map, so that what was read does not stay resident.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vivace.core.errors import BadInput

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000
CHUNK_ELEMENTS = 1 << 22  # read and converted at a time
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Spec(NamedTuple):
    """What a tensor looks like."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return torch.Size(self.shape).numel() * self.dtype.itemsize


class Place(NamedTuple):
    """Where a tensor lies."""

    file: Path
    spec: Spec
    offset: int


class Weights:
    """The tensors of a checkpoint folder by name. BadInput when a file is missing, cut short or no safetensors."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places: dict[str, Place] = {}
        for file in _files(folder):
            self.places.update(_read_header(file))

    def read_into(self, name: str, target: Tensor) -> None:
        """Fill `target`, which has the tensor's shape, in its own dtype."""
        file, spec, offset = self.places[name]
        flat = target.view(-1) if target.is_contiguous() else torch.empty(spec.shape, dtype=target.dtype).view(-1)
        direct = flat.dtype == spec.dtype and flat.device.type == "cpu"
        with file.open("rb", buffering=0) as stream:
            stream.seek(offset)
            for part in flat.split(CHUNK_ELEMENTS):
                buffer = part if direct else torch.empty(part.shape, dtype=spec.dtype)
                _read_exactly(stream.readinto, _bytes(buffer), file)
                if not direct:
                    part.copy_(buffer)
        if not target.is_contiguous():
            target.copy_(flat.view(spec.shape))

    def read(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """The tensor in memory of its own, in its stored dtype or another."""
        spec = self.places[name].spec
        target = torch.empty(spec.shape, dtype=dtype or spec.dtype)
        self.read_into(name, target)
        return target


def _files(folder: Path) -> list[Path]:
    index = folder / INDEX
    if not index.exists():
        if not (folder / WEIGHTS).exists():
            raise BadInput(f"checkpoint {folder} lacks {WEIGHTS}; restore it")
        return [folder / WEIGHTS]
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        raise BadInput(f"{index} is damaged; restore or download it again") from None
    for name in names:
        if Path(name).name != name or not (folder / name).exists():
            raise BadInput(f"checkpoint {folder} lacks the shard {name}, which {INDEX} names; download it again")
    return [folder / name for name in names]


def _read_header(file: Path) -> Iterator[tuple[str, Place]]:
    size = file.stat().st_size
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(min(length, size)))
        header.pop("__metadata__", None)
        rows = {name: (str(row["dtype"]), tuple(row["shape"]), *row["data_offsets"]) for name, row in header.items()}
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{file} cannot be read ({type(error).__name__}); it was truncated or altered") from None
    for name, (dtype, shape, start, stop) in rows.items():
        if dtype not in DTYPES:
            raise BadInput(f"{file}: {name} is stored as {dtype}; take the checkpoint in bf16, fp16 or fp32 instead")
        place = Place(file, Spec(DTYPES[dtype], shape), 8 + length + start)
        if stop - start != place.spec.nbytes or 8 + length + stop > size:
            raise BadInput(f"{file} ends before {name} does; it was truncated or altered")
        yield name, place


def _bytes(tensor: Tensor) -> memoryview:
    """The tensor's own memory."""
    array: Any = tensor.view(torch.uint8).numpy()
    return memoryview(array)


def _read_exactly(readinto: Callable[[memoryview], int | None], view: memoryview, file: Path) -> None:
    while view:
        if not (count := readinto(view)):
            raise BadInput(f"{file} ended while it was read; it was truncated")
        view = view[count:]


def write_weights(
    folder: Path, specs: Mapping[str, Spec], source: Callable[[str], Tensor], shard_bytes: int = SHARD_BYTES
) -> None:
    """Write the tensors `specs` names, asking `source` for one after the other; in shards when they are large.

    Wide types come first, so that every tensor is aligned whatever its length.
    """
    shards: list[list[str]] = [[]]
    total = filled = 0
    for name in sorted(specs, key=lambda name: -specs[name].dtype.itemsize):
        if shards[-1] and filled + specs[name].nbytes > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += specs[name].nbytes
        total += specs[name].nbytes
    if len(shards) == 1:
        _write_file(folder / WEIGHTS, shards[0], specs, source)
        return
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _write_file(folder / file, names, specs, source)
        weight_map.update(dict.fromkeys(names, file))
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")


def _write_file(path: Path, names: list[str], specs: Mapping[str, Spec], source: Callable[[str], Tensor]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in names:
        spec = specs[name]
        header[name] = {"dtype": NAMES[spec.dtype], "shape": list(spec.shape), "data_offsets": [at, at + spec.nbytes]}
        at += spec.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            tensor = source(name).detach()
            if tuple(tensor.shape) != specs[name].shape:
                raise BadInput(f"tensor {name} has shape {list(tensor.shape)}, expected {list(specs[name].shape)}")
            for part in tensor.contiguous().view(-1).split(CHUNK_ELEMENTS):
                stored = part.to("cpu", specs[name].dtype).contiguous()
                stream.write(_bytes(stored))
        stream.flush()
        os.fsync(stream.fileno())
