"""Where training tokens come from: a stream of token shards, or documents with a loss mask.

A source yields one global batch per call as a list of rows; the loop cuts it into micro-batches. Its `state()` is the
data cursor: restoring it continues with the very next row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from vivace.core.errors import BadInput
from vivace.train.packing import pack


class Row(NamedTuple):
    """`ids` (n + 1,) and `weights` (n,), the loss weight of predicting ids[1:]."""

    ids: np.ndarray
    weights: np.ndarray


class MicroBatch(NamedTuple):
    """(B, T) each: int64, int64, fp32, bool. Padding has weight 0 and sits at the end, where causality hides it."""

    input_ids: Tensor
    targets: Tensor
    weights: Tensor
    real: Tensor


class Source(Protocol):
    """Endless supply of global batches."""

    def next_batch(self) -> list[Row]: ...

    def state(self) -> dict[str, Any]: ...

    def load_state(self, state: dict[str, Any]) -> None: ...


def micro_batches(rows: Sequence[Row], micro_tokens: int) -> list[MicroBatch]:
    """Rows of similar length together, padded to the longest; at most `micro_tokens` each unless one row is longer."""
    groups: list[list[Row]] = []
    for row in sorted(rows, key=lambda r: -len(r.weights)):
        if groups and (len(groups[-1]) + 1) * len(groups[-1][0].weights) <= micro_tokens:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [_stack(group) for group in groups]


def _stack(rows: list[Row]) -> MicroBatch:
    length = len(rows[0].weights)
    ids = np.zeros((len(rows), length + 1), dtype=np.int64)
    weights = np.zeros((len(rows), length), dtype=np.float32)
    real = np.arange(length)[None] < np.array([len(row.weights) for row in rows])[:, None]
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = row.ids
        weights[i, : len(row.weights)] = row.weights
    tokens = torch.from_numpy(ids)
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    return MicroBatch(inputs, targets, torch.from_numpy(weights), torch.from_numpy(real))


def read_shards(directory: Path) -> list[np.ndarray]:
    """Token shards of a folder in name order, memory-mapped: uint16 `.bin` (raw), or 1-D `.npy` of uint16 or
    (vocabularies beyond 65,536) uint32."""
    paths = sorted(p for p in Path(directory).glob("*") if p.suffix in (".bin", ".npy"))
    if not paths:
        raise BadInput(f"no token shards (*.bin, *.npy) in {directory}; run the tokenizer stage first")
    shards = []
    for path in paths:
        try:
            is_npy = path.suffix == ".npy"
            shard = np.load(path, mmap_mode="r") if is_npy else np.memmap(path, dtype=np.uint16, mode="r")
        except (ValueError, EOFError, OSError) as error:
            raise BadInput(f"token shard {path} cannot be read ({error}); make it again") from error
        if shard.ndim != 1 or shard.dtype not in (np.uint16, np.uint32):
            found = f"{shard.ndim}-D {shard.dtype}"
            raise BadInput(f"token shard {path} must be one-dimensional uint16 or uint32, it is {found}")
        shards.append(shard)
    return shards


class StreamSource:
    """Windows of `seq_len` tokens from shards, in an order shuffled anew each epoch by `seed`.

    Windows start at an offset drawn per epoch, so that later epochs cut the text elsewhere.
    """

    def __init__(self, directory: Path, seq_len: int, batch_tokens: int, seed: int = 0) -> None:
        self.shards = read_shards(directory)
        self.seq_len, self.seed = seq_len, seed
        self.rows_per_batch = max(1, batch_tokens // seq_len)
        self.tokens = sum(len(shard) for shard in self.shards)
        self.epoch, self.position = 0, 0
        self._order = self._shuffle()
        if not len(self._order):
            raise BadInput(f"no shard in {directory} holds {2 * seq_len} tokens; use more data or a shorter seq_len")

    def _shuffle(self) -> np.ndarray:
        """(windows, 2): shard and start of each window of this epoch."""
        generator = np.random.default_rng((self.seed, self.epoch))
        offset = int(generator.integers(self.seq_len))
        starts = [np.arange(offset, len(shard) - self.seq_len, self.seq_len) for shard in self.shards]
        table = np.concatenate([np.stack([np.full_like(s, i), s], axis=1) for i, s in enumerate(starts)])
        return np.asarray(generator.permutation(table))

    def next_batch(self) -> list[Row]:
        rows: list[Row] = []
        while len(rows) < self.rows_per_batch:
            if self.position == len(self._order):
                self.epoch, self.position = self.epoch + 1, 0
                self._order = self._shuffle()
            shard, start = self._order[self.position]
            self.position += 1
            ids = np.asarray(self.shards[shard][start : start + self.seq_len + 1])
            rows.append(Row(ids, np.ones(self.seq_len, dtype=np.float32)))
        return rows

    def state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "position": self.position, "tokens": self.tokens, "seed": self.seed}

    def load_state(self, state: dict[str, Any]) -> None:
        if (state["tokens"], state["seed"]) != (self.tokens, self.seed):
            raise BadInput("the token shards or the data seed changed since this run was saved; start a new run")
        self.epoch, self.position = state["epoch"], state["position"]
        self._order = self._shuffle()


class DocumentSource:
    """Documents (ids, mask) whose masked tokens are learnt, shuffled each epoch; about `batch_tokens` per batch.

    `mask[i]` weighs the prediction of `ids[i]` (the first one is never predicted). With `pack_to`, documents are
    concatenated into rows of up to that many tokens (they then see each other); without, each is a row of its own and
    rows of similar length are padded together, which computes exactly what inference will.
    """

    def __init__(
        self, documents: Sequence[tuple[Sequence[int], Sequence[float]]], batch_tokens: int, *, max_len: int,
        seed: int = 0, pack_to: int | None = None,
    ) -> None:
        rows = [_document(ids, mask) for ids, mask in documents]
        self.dropped = sum(len(row.weights) > max_len for row in rows)
        rows = [row for row in rows if 0 < len(row.weights) <= max_len and row.weights.any()]
        if not rows:
            raise BadInput(f"no document of at most {max_len} tokens with something to learn; raise max_len")
        self.rows = _packed(rows, max(pack_to, max_len)) if pack_to else rows
        self.batch_tokens, self.seed = batch_tokens, seed
        self.epoch, self.position = 0, 0
        self._order = self._shuffle()

    def _shuffle(self) -> np.ndarray:
        return np.random.default_rng((self.seed, self.epoch)).permutation(len(self.rows))

    def next_batch(self) -> list[Row]:
        batch: list[Row] = []
        tokens = 0
        while tokens < self.batch_tokens:
            if self.position == len(self._order):
                self.epoch, self.position = self.epoch + 1, 0
                self._order = self._shuffle()
            batch.append(self.rows[self._order[self.position]])
            tokens += len(batch[-1].weights)
            self.position += 1
        return batch

    def state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "position": self.position, "rows": len(self.rows), "seed": self.seed}

    def load_state(self, state: dict[str, Any]) -> None:
        if (state["rows"], state["seed"]) != (len(self.rows), self.seed):
            raise BadInput("the documents or the data seed changed since this run was saved; start a new run")
        self.epoch, self.position = state["epoch"], state["position"]
        self._order = self._shuffle()


def _document(ids: Sequence[int], mask: Sequence[float]) -> Row:
    if len(ids) != len(mask):
        raise BadInput(f"a document has {len(ids)} ids but {len(mask)} mask entries")
    return Row(np.asarray(ids, dtype=np.int64), np.asarray(mask, dtype=np.float32)[1:])


def _packed(rows: list[Row], capacity: int) -> list[Row]:
    """Join rows; the step from one document to the next is not learnt."""
    joined = []
    for indices in pack([len(row.ids) for row in rows], capacity + 1):
        ids = np.concatenate([rows[i].ids for i in indices])
        weights = np.concatenate([np.concatenate([[0.0], rows[i].weights]) for i in indices])[1:]
        joined.append(Row(ids, weights.astype(np.float32)))
    return joined
