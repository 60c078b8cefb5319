"""Checkpoints in the layout of Hugging Face, whole or not at all.

A checkpoint is a folder: model.safetensors or its shards (one tensor per expert matrix), config.json, whatever files
travel along (tokenizer, card), and manifest.json with the SHA-256 of every file. Tensors are read and written one at a
time: loading takes the model's own memory and no more.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vivace.core.errors import BadInput
from vivace.core.files import digest, require_space, sha256_file
from vivace.model.config import ModelConfig
from vivace.model.decoder import Decoder
from vivace.model.lora import merged
from vivace.model.moe import SparseMLP
from vivace.model.rope import RotaryTable
from vivace.model.weights import INDEX, WEIGHTS, Spec, Weights, write_weights

CONFIG, MANIFEST = "config.json", "manifest.json"


def to_hf(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Our tensors under Hugging Face's names; fused matrices are cut into gate, up and down per expert."""
    for name, tensor in state.items():
        if name.startswith("lm_head"):
            yield name, tensor
        elif match := re.fullmatch(r"(layers\.\d+\.mlp(?:\.shared_experts)?)\.(gate_up|down)", name):
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


def check_names(expected: Mapping[str, Spec], weights: Weights, config: ModelConfig) -> None:
    """BadInput unless the checkpoint has exactly the tensors its config.json calls for, in their shapes."""
    found = weights.places
    if missing := sorted(expected.keys() - found.keys()):
        raise BadInput(f"checkpoint lacks {len(missing)} tensors, first {missing[0]}; it is not a whole model")
    ignored = {"lm_head.weight"} if config.tie_word_embeddings else set()
    if extra := sorted(name for name in found.keys() - expected.keys() - ignored if not _is_spare(name)):
        raise BadInput(f"checkpoint has {len(extra)} tensors config.json does not call for, first {extra[0]}")
    for name, spec in expected.items():
        if (shape := found[name].spec.shape) != spec.shape:
            shapes = f"has shape {list(shape)}, config.json says {list(spec.shape)}"
            raise BadInput(f"checkpoint tensor {name} {shapes}")


def _is_spare(name: str) -> bool:
    """What other engines skip too: heads that draft several tokens, tables that are computed."""
    return name.startswith("mtp.") or name.endswith("rotary_emb.inv_freq")


def expected_specs(config: ModelConfig, dtype: torch.dtype) -> dict[str, Spec]:
    """The tensors of a checkpoint of this model stored as `dtype`, by Hugging Face's names."""
    with torch.device("meta"):
        state = Decoder(config, seed=None).state_dict()
    return {name: Spec(stored_dtype(name, dtype), tuple(t.shape)) for name, t in to_hf(state)}


def save_checkpoint(
    directory: Path, model: Decoder, extra_files: Mapping[str, Path | bytes | str] | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> dict[str, str]:
    """Write `model`, adapters merged, to `directory`, replacing what is there in one rename. Returns file -> SHA-256.

    `extra_files` maps a name to a file to copy, or to the content itself (bytes, or str for text).
    """
    state = dict(to_hf(merged(model)))
    specs = {name: Spec(stored_dtype(name, dtype), tuple(t.shape)) for name, t in state.items()}
    return write_checkpoint(directory, model.config.to_hf(), specs, state.__getitem__, extra_files)


def write_checkpoint(
    directory: Path, fields: Mapping[str, Any], specs: Mapping[str, Spec], source: Callable[[str], Tensor],
    extra_files: Mapping[str, Path | bytes | str] | None = None,
) -> dict[str, str]:
    """A checkpoint of tensors that `source` gives one at a time; `fields` are its config.json. As `save_checkpoint`.

    The router's selection bias stays fp32 whatever the rest is: it is tiny, and rounding it moves tokens.
    """
    narrowest = min((spec.dtype for spec in specs.values()), key=lambda dtype: dtype.itemsize)
    with whole_folder(directory, fields, extra_files, narrowest) as temporary:
        require_space(temporary, sum(spec.nbytes for spec in specs.values()))
        write_weights(temporary, specs, source)
    digests: dict[str, str] = json.loads((Path(directory) / MANIFEST).read_text())["files"]
    return digests


@contextmanager
def whole_folder(
    directory: Path, fields: Mapping[str, Any], extra_files: Mapping[str, Path | bytes | str] | None, dtype: torch.dtype
) -> Iterator[Path]:
    """A folder for the weights; config.json (`fields`), extra files and manifest are added, and it takes `directory`'s
    place."""
    directory = Path(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}."))
    try:
        yield temporary
        for file in temporary.iterdir():
            file.chmod(0o644)
        text = json.dumps({**fields, "torch_dtype": str(dtype).removeprefix("torch.")}, indent=1)
        (temporary / CONFIG).write_text(text + "\n")
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
        hint = f"; if it comes from Hugging Face: vivace model import {directory} OUT"
        raise BadInput(f"{directory} is not a checkpoint: it has no {MANIFEST}{hint}") from None
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError):
        raise BadInput(f"{directory / MANIFEST} is damaged; restore the checkpoint") from None
    if not isinstance(digests, dict) or CONFIG not in digests or not {WEIGHTS, INDEX} & digests.keys():
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


def weights_digest(directory: Path) -> str:
    """One digest of all the weights, after verifying every file."""
    digests = verify_checkpoint(directory)
    shards = {name: value for name, value in digests.items() if name.endswith(".safetensors")}
    return shards[WEIGHTS] if shards.keys() == {WEIGHTS} else digest(shards, 64)


def empty_decoder(config: ModelConfig, dtype: torch.dtype, device: torch.device | str = "cpu") -> Decoder:
    """A decoder in `dtype` whose weights are unset; nothing was initialised only to be overwritten.

    Rotation tables and the router's selection bias are fp32 in any case.
    """
    with torch.device("meta"):
        model = Decoder(config, seed=None)
    model = model.to(dtype).to_empty(device=device)
    model.rope = RotaryTable(config.head_dim, config.max_position_embeddings, config.rope_theta).to(device)
    for module in model.modules():
        if isinstance(module, SparseMLP) and module.e_score_correction_bias is not None:
            module.e_score_correction_bias = torch.zeros(config.num_experts, device=device)
    return model


def load_checkpoint(
    directory: Path, *, verify: bool = True, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> tuple[Decoder, ModelConfig]:
    """The model in `dtype` (weights stored in bf16 are widened) on `device`, and its configuration."""
    directory = Path(directory)
    if not directory.is_dir():
        raise BadInput(f"no checkpoint at {directory}; give a folder with {CONFIG} and {WEIGHTS}")
    if verify:
        verify_checkpoint(directory)
    if not (directory / CONFIG).exists():
        raise BadInput(f"checkpoint {directory} lacks {CONFIG}; restore it")
    config = read_config(directory / CONFIG)
    weights = Weights(directory)
    check_names(expected_specs(config, dtype), weights, config)
    model = empty_decoder(config, dtype, device)
    with torch.no_grad():
        for name, target in to_hf(model.state_dict()):  # views of the model's own storage
            weights.read_into(name, target)
    return model, config
