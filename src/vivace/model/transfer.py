"""Models in from Hugging Face and out to other engines, tensor by tensor: neither way ever holds a whole model."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from vivace.core.errors import BadInput
from vivace.model.checkpoint import (
    CONFIG,
    check_names,
    expected_specs,
    read_config,
    verify_checkpoint,
    write_checkpoint,
)
from vivace.model.config import ModelConfig
from vivace.model.weights import Spec, Weights
from vivace.text.foreign import Added, adapt_tokenizer, companion_files
from vivace.text.tokenizer import FILE_NAME as TOKENIZER_FILE
from vivace.text.tokenizer import Tokenizer

ROWS = ("model.embed_tokens.weight", "lm_head.weight")  # one row per token


def import_model(source: str, out: Path, dtype: torch.dtype = torch.bfloat16) -> ModelConfig:
    """A checkpoint of ours from a Hugging Face folder, or from a hub id when huggingface-hub is there to fetch it."""
    folder = _fetch(source)
    if not (folder / CONFIG).exists():
        raise BadInput(f"{folder} has no {CONFIG}; give a folder as Hugging Face writes it")
    theirs = read_config(folder / CONFIG)
    weights = Weights(folder)
    check_names(expected_specs(theirs, dtype), weights, theirs)
    text, added = adapt_tokenizer(folder)
    vocab = max([theirs.vocab_size, *(token.id + 1 for token in added)])
    ours = theirs.model_copy(update={"vocab_size": vocab})

    def read(name: str) -> Tensor:
        tensor = weights.read(name)
        return _with_rows(tensor, vocab, added) if name in ROWS else tensor

    write_checkpoint(out, ours.to_hf(), expected_specs(ours, dtype), read, {TOKENIZER_FILE: text})
    return ours


def _fetch(source: str) -> Path:
    if Path(source).is_dir():
        return Path(source)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        raise BadInput(f"{source} is neither a folder nor a hub id like Qwen/Qwen3-0.6B")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise BadInput(f"no folder {source}; to fetch it from the hub: pip install 'vivace[hf]'") from None
    wanted = ["*.safetensors", "*.safetensors.index.json", "*.json"]
    try:
        return Path(snapshot_download(source, allow_patterns=wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(f"cannot fetch {source} from the hub ({type(error).__name__}); check the name and the network, "
                       "or download it elsewhere and give the folder") from error  # fmt: skip


def _with_rows(table_VD: Tensor, vocab: int, added: list[Added]) -> Tensor:
    """Rows for new tokens, each the mean of the rows it is to resemble."""
    spare = vocab - len(table_VD)
    table_VD = torch.cat([table_VD, table_VD.new_zeros(spare, table_VD.shape[1])]) if spare else table_VD
    for token in added:
        table_VD[token.id] = table_VD[token.like].float().mean(0)
    return table_VD


def export_model(checkpoint: Path, out: Path, dtype: torch.dtype = torch.bfloat16) -> ModelConfig:
    """What transformers, vLLM and SGLang load unmodified: every key of the class, tokenizer and chat template.

    An exaone_moe model without shared experts gets one of zeros: exact, and some engines build it in any case.
    """
    verify_checkpoint(checkpoint)
    config = read_config(checkpoint / CONFIG)
    tokenizer = Tokenizer.load(checkpoint)
    weights = Weights(checkpoint)
    check_names(expected_specs(config, dtype), weights, config)
    written = config
    if config.model_type == "exaone_moe" and "sparse" in config.mlp_layer_types and not config.num_shared_experts:
        written = config.model_copy(update={"num_shared_experts": 1})
    specs: dict[str, Spec] = expected_specs(written, dtype)

    def read(name: str) -> Tensor:
        return weights.read(name) if name in weights.places else torch.zeros(specs[name].shape, dtype=dtype)

    special = tokenizer.special
    fields = written.to_hf() | {"bos_token_id": special["<|bos|>"], "eos_token_id": special["<|end|>"],
                                "pad_token_id": special["<|pad|>"]}  # fmt: skip
    files: dict[str, Path | bytes | str] = {TOKENIZER_FILE: checkpoint / TOKENIZER_FILE}
    write_checkpoint(out, fields, specs, read, files | companion_files(tokenizer, config.max_position_embeddings))
    return written
