"""Documents to token shards: flat little-endian uint16 files in which every document begins with `<|bos|>`."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vivace.core.errors import BadInput
from vivace.core.files import atomic_write_bytes
from vivace.core.progress import progress
from vivace.data.config import CorpusConfig
from vivace.data.documents import Document
from vivace.text.fim import fim_ids, split_for_fim
from vivace.text.tokenizer import Tokenizer


def pieces(text: str, size: int) -> Iterator[str]:
    """A text cut at line ends into parts of about `size` characters, so that a whole fill-in task fits one context."""
    part: list[str] = []
    length = 0
    for line in text.splitlines(keepends=True):
        part.append(line)
        length += len(line)
        if length >= size:
            yield "".join(part)
            part, length = [], 0
    if part:
        yield "".join(part)


def training_ids(document: Document, tokenizer: Tokenizer, config: CorpusConfig, rng: random.Random) -> list[int]:
    """Ids of one training document: plain, with its path as first line, or cut up for fill-in-the-middle."""
    bos = tokenizer.special["<|bos|>"]
    if rng.random() < config.fim_rate:
        ids: list[int] = []
        for piece in pieces(document.text, config.fim_chars):
            prefix, middle, suffix = split_for_fim(piece, rng)
            ids += [bos, *fim_ids(tokenizer, prefix, suffix, middle)]
        return ids
    header = f"# path: {document.path}\n" if rng.random() < config.path_header_rate else ""
    return [bos, *tokenizer.encode(header + document.text)]


def write_train(path: Path, documents: Sequence[Document], tokenizer: Tokenizer, config: CorpusConfig) -> int:
    """Write the training shard, documents in seeded order; the number of tokens."""
    rng = random.Random(f"{config.seed}:shard")
    order = list(documents)
    rng.shuffle(order)
    return _write(path, [training_ids(doc, tokenizer, config, rng) for doc in progress(order, "tokenise")], tokenizer)


def write_validation(path: Path, documents: Sequence[Document], tokenizer: Tokenizer) -> list[dict[str, int | str]]:
    """Write plain documents (no path line, no fill-in); a row each with its bytes and its place in the shard.

    `offset` and `tokens` count ids, `<|bos|>` included; `bytes` counts the UTF-8 text, for bits per byte.
    """
    bos = tokenizer.special["<|bos|>"]
    ids = [[bos, *tokenizer.encode(document.text)] for document in documents]
    _write(path, ids, tokenizer)
    rows: list[dict[str, int | str]] = []
    offset = 0
    for document, part in zip(documents, ids, strict=True):
        rows.append({
            "path": document.path, "package": document.package, "version": document.version,
            "bytes": document.nbytes, "offset": offset, "tokens": len(part), "text": document.text,
        })
        offset += len(part)
    return rows


def _write(path: Path, documents: Sequence[list[int]], tokenizer: Tokenizer) -> int:
    if tokenizer.vocab_size > 1 << 16:
        raise BadInput(f"shards hold 16-bit ids, the vocabulary has {tokenizer.vocab_size}; use at most 65536")
    shard = np.concatenate([np.array(ids, dtype="<u2") for ids in documents] or [np.zeros(0, dtype="<u2")])
    atomic_write_bytes(path, shard.tobytes())
    return len(shard)
