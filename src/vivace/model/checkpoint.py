"""Checkpoints in the layout of Hugging Face `exaone_moe`, whole or not at all.

A checkpoint is a folder: model.safetensors (one tensor per expert matrix), config.json, whatever files travel along
(tokenizer, card), and manifest.json with the SHA-256 of every file.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vivace.core.errors import BadInput
from vivace.core.files import require_space, sha256_file
from vivace.model.config import ModelConfig
from vivace.model.decoder import Decoder

WEIGHTS, CONFIG, MANIFEST = "model.safetensors", "config.json", "manifest.json"


def to_hf(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Our tensors under Hugging Face's names; fused matrices are cut into gate, up and down per expert."""
    for name, tensor in state.items():
        if name.startswith("lm_head"):
            yield name, tensor
        elif match := re.fullmatch(r"(layers\.\d+\.mlp)\.(gate_up|down)", name):
            yield from _split(f"model.{match[1]}", match[2], tensor)
        else:
            yield f"model.{name}", tensor


def _split(prefix: str, kind: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    if tensor.dim() == 3:
        for expert, matrix in enumerate(tensor):
            yield from _split(f"{prefix}.experts.{expert}", kind, matrix)
    elif kind == "down":
        yield f"{prefix}.down_proj.weight", tensor
    else:
        gate, up = tensor.chunk(2)
        yield f"{prefix}.gate_proj.weight", gate
        yield f"{prefix}.up_proj.weight", up


def load_hf(model: Decoder, tensors: Mapping[str, Tensor]) -> None:
    """Copy Hugging Face's tensors into `model`, converting to its dtype. Missing, extra or misshapen: BadInput."""
    targets = dict(to_hf(model.state_dict()))  # views of the model's own storage
    if missing := sorted(targets.keys() - tensors.keys()):
        raise BadInput(f"checkpoint lacks {len(missing)} tensors, first {missing[0]}; it is not a whole model")
    ignored = {"lm_head.weight"} if model.lm_head is None else set()
    if extra := sorted(tensors.keys() - targets.keys() - ignored):
        raise BadInput(f"checkpoint has {len(extra)} tensors config.json does not call for, first {extra[0]}")
    for name, target in targets.items():
        source = tensors[name]
        if source.shape != target.shape:
            shapes = f"has shape {list(source.shape)}, config.json says {list(target.shape)}"
            raise BadInput(f"checkpoint tensor {name} {shapes}")
        target.copy_(source)


def save_checkpoint(
    directory: Path, model: Decoder, extra_files: Mapping[str, Path | bytes | str] | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> dict[str, str]:
    """Write `model` to `directory`, replacing what is there in one rename. Returns file -> SHA-256.

    `extra_files` maps a name to a file to copy, or to the content itself (bytes, or str for text).
    The router's selection bias stays fp32 whatever `dtype` is: it is tiny, and rounding it moves tokens.
    """
    with whole_folder(directory, model.config, extra_files, dtype) as temporary:
        require_space(temporary, sum(p.numel() for p in model.parameters()) * dtype.itemsize)
        state = to_hf(model.state_dict())
        tensors = {name: t.detach().to(stored_dtype(name, dtype)).contiguous().cpu() for name, t in state}
        save_file(tensors, temporary / WEIGHTS, metadata={"format": "pt"})
    digests: dict[str, str] = json.loads((Path(directory) / MANIFEST).read_text())["files"]
    return digests


@contextmanager
def whole_folder(
    directory: Path, config: ModelConfig, extra_files: Mapping[str, Path | bytes | str] | None, dtype: torch.dtype
) -> Iterator[Path]:
    """A folder for the weights; config, extra files and manifest are added, and it takes `directory`'s place."""
    directory = Path(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}."))
    try:
        yield temporary
        (temporary / WEIGHTS).chmod(0o644)
        fields = config.to_hf() | {"torch_dtype": str(dtype).removeprefix("torch.")}
        (temporary / CONFIG).write_text(json.dumps(fields, indent=1) + "\n")
        for name, content in (extra_files or {}).items():
            _place(temporary / name, content)
        files = sorted(p for p in temporary.rglob("*") if p.is_file())
        digests = {str(p.relative_to(temporary)): sha256_file(p) for p in files}
        (temporary / MANIFEST).write_text(json.dumps({"format": 1, "files": digests}, indent=1) + "\n")
        temporary.chmod(0o755)
        _replace(temporary, directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def stored_dtype(name: str, dtype: torch.dtype) -> torch.dtype:
    """The type a tensor has in a file of `dtype`."""
    return torch.float32 if name.endswith("e_score_correction_bias") else dtype


def _place(path: Path, content: Path | bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Path):
        shutil.copyfile(content, path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def _replace(temporary: Path, directory: Path) -> None:
    """Flush every file, then swap folders; a crash leaves the old one or the new one (or a `.old` beside it)."""
    for path in (*temporary.rglob("*"), temporary):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
    old = directory.with_name(f".{directory.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if directory.exists():
        directory.rename(old)
    temporary.rename(directory)
    shutil.rmtree(old, ignore_errors=True)


def verify_checkpoint(directory: Path) -> dict[str, str]:
    """Check every file against manifest.json; returns the digests. BadInput names the first file that is wrong."""
    try:
        digests: dict[str, str] = json.loads((directory / MANIFEST).read_text())["files"]
    except FileNotFoundError:
        raise BadInput(f"{directory} is not a checkpoint: it has no {MANIFEST}") from None
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError):
        raise BadInput(f"{directory / MANIFEST} is damaged; restore the checkpoint") from None
    if not isinstance(digests, dict) or not {WEIGHTS, CONFIG} <= digests.keys():
        raise BadInput(f"{directory / MANIFEST} does not cover {WEIGHTS} and {CONFIG}; restore the checkpoint")
    for name, expected in digests.items():
        path = directory / name
        if not path.is_file():
            raise BadInput(f"checkpoint {directory} lacks {name}; restore it")
        if (found := sha256_file(path)) != expected:
            raise BadInput(
                f"checkpoint {directory}: {name} does not match its digest (sha256 {found[:12]}, manifest says "
                f"{expected[:12]}); it was truncated or altered, restore it"
            )
    return digests


def read_config(file: Path) -> ModelConfig:
    """The configuration in a config.json. BadInput when it is not JSON or not of this kind of model."""
    try:
        fields = json.loads(file.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} is not JSON ({error}); restore it") from None
    if not isinstance(fields, dict):
        raise BadInput(f"{file} is not the configuration of a model; restore it")
    return ModelConfig.from_hf(fields)


def load_checkpoint(
    directory: Path, *, verify: bool = True, dtype: torch.dtype = torch.float32
) -> tuple[Decoder, ModelConfig]:
    """The model in `dtype` (weights are stored in bf16 and widened) and its configuration."""
    directory = Path(directory)
    if not directory.is_dir():
        raise BadInput(f"no checkpoint at {directory}; give a folder with {CONFIG} and {WEIGHTS}")
    if verify:
        verify_checkpoint(directory)
    try:
        config = read_config(directory / CONFIG)
        tensors = load_file(directory / WEIGHTS)
    except FileNotFoundError as error:
        raise BadInput(f"checkpoint {directory} lacks {Path(error.filename or WEIGHTS).name}; restore it") from None
    except SafetensorError as error:
        raise BadInput(f"{directory / WEIGHTS} cannot be read ({error}); it was truncated or altered") from None
    model = Decoder(config, seed=None).to(dtype)
    load_hf(model, tensors)
    return model, config
