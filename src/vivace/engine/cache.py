"""Keys and values in slots, and which prompt may start from which slot.

A slot belongs to one sequence at a time and stays resident when that sequence ends, so that the next turn of the same
conversation goes on where it stopped. What a slot holds (n = `length[slot]`, m = `planned[slot]`, n <= m):

    |<-- tokens[slot, :n]: keys and values written -->|<-- tokens[slot, n:m]: prompt still to be written -->|

Every layer keeps every position (a sliding layer reads only its window of them), so any common prefix can be reused,
wherever it ends. Memory is touched only as positions are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from vivace.model.config import ModelConfig

BLOCK = 32  # positions; stores are whole blocks long, so that a runner may lay each block out as it likes
WORTH_WAITING = 16  # tokens of a prefix another sequence is writing right now, rather than computing them twice


class Lease(NamedTuple):
    """A slot for one sequence; its first `cached` tokens are there already."""

    slot: int
    cached: int


class SlotCache:
    """`keys[layer]`, `values[layer]`: (max_slots, K, max_len rounded up to BLOCK, d), written by a runner.

    One owner thread; nothing here locks.
    """

    def __init__(
        self, config: ModelConfig, max_slots: int, max_len: int, *, dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (max_slots, config.num_key_value_heads, max_len + -max_len % BLOCK, config.head_dim)
        layers = range(config.num_hidden_layers)
        self.keys = [torch.empty(shape, dtype=dtype, device=device) for _ in layers]
        self.values = [torch.empty(shape, dtype=dtype, device=device) for _ in layers]
        self.max_slots, self.max_len = max_slots, max_len
        self.tokens = np.zeros((max_slots, max_len), dtype=np.int64)
        self.length = np.zeros(max_slots, dtype=np.int64)
        self.planned = np.zeros(max_slots, dtype=np.int64)
        self.in_use = np.zeros(max_slots, dtype=bool)
        self._used_at = np.zeros(max_slots, dtype=np.int64)
        self._clock = 0

    def acquire(self, ids: Sequence[int]) -> Lease | None:
        """A slot for `ids` with the longest prefix there is; None: ask again after the next step.

        None means that all slots are in use, or that another sequence is about to have written a longer prefix.
        The last token is never taken from the cache: its logits are wanted.
        """
        if self.in_use.all():
            return None
        prompt = np.asarray(ids, dtype=np.int64)
        equal = self.tokens[:, : len(prompt)] == prompt
        common = np.where(equal.all(1), len(prompt), equal.argmin(1)).clip(max=len(prompt) - 1)
        usable = np.minimum(common, self.length)
        best = int(usable.argmax())
        cached = int(usable[best])
        if int(np.minimum(common, self.planned).max()) >= cached + WORTH_WAITING:
            return None
        slot = self._place(best, cached)
        if slot != best:
            self._copy_prefix(best, slot, cached)
        self.in_use[slot] = True
        self.length[slot], self.planned[slot] = cached, len(prompt)
        self.tokens[slot, : len(prompt)] = prompt
        return Lease(slot, cached)

    def _place(self, best: int, cached: int) -> int:
        """Go on in `best` when nothing is lost by it; otherwise leave it be and take the least recently used slot."""
        if not self.in_use[best] and cached == self.length[best] > 0:
            return best
        return int(np.where(self.in_use, np.iinfo(np.int64).max, self._used_at).argmin())

    def _copy_prefix(self, source: int, target: int, count: int) -> None:
        end = count + -count % BLOCK
        for store in (*self.keys, *self.values):
            store[target, :, :end] = store[source, :, :end]

    def written(self, slot: int, start: int, ids: Sequence[int]) -> None:
        """Note that the keys and values of `ids` now stand at start, start + 1, ..."""
        end = start + len(ids)
        self.tokens[slot, start:end] = ids
        self.length[slot] = end
        self.planned[slot] = max(self.planned[slot], end)

    def release(self, slot: int) -> None:
        """The sequence is over; what is written stays resident until the slot is needed."""
        self._clock += 1
        self.in_use[slot], self._used_at[slot], self.planned[slot] = False, self._clock, self.length[slot]

    def invalidate(self) -> None:
        """Nothing written counts any more (the weights changed). Sequences keep their slots and start over."""
        self.length[:] = 0
        self.planned[~self.in_use] = 0
        self._used_at[~self.in_use] = 0
