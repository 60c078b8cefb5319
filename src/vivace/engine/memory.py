"""How many blocks there are for keys and values."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch

from vivace.core.errors import BadInput
from vivace.engine.blocks import BLOCK
from vivace.model.config import ModelConfig

MIB = 2**20
SHARE = 0.5  # of the machine's memory, for a cache whose size was not given
SPARE_CONTEXTS = 4  # beside those that run: conversations between two turns
PREFILL_BLOCKS = 16  # a step's prompt tokens, see scheduler.PREFILL_TOKENS


class Sizes(NamedTuple):
    """`blocks`, `bytes_each`: of layers that see everything, and of window layers. `window` 0: there are none."""

    blocks: tuple[int, int]
    bytes_each: tuple[int, int]
    window: int
    max_len: int

    @property
    def total_mib(self) -> float:
        return sum(count * each for count, each in zip(self.blocks, self.bytes_each)) / MIB

    @property
    def context_mib(self) -> float:
        """What one sequence of the greatest length needs by itself."""
        near = min(_near_blocks(self.window, 1), _whole(self.max_len))
        return (_whole(self.max_len) * self.bytes_each[0] + near * self.bytes_each[1]) / MIB


def plan(
    config: ModelConfig, max_slots: int, max_len: int, dtype: torch.dtype, device: torch.device, memory: int | None
) -> Sizes:
    """Room for every slot's whole context and some more, but not more than `memory` bytes (None: half the machine's).

    Window layers get room for two windows a slot whatever the length. Memory is touched only as blocks are used.
    BadInput when the memory does not even hold one context.
    """
    each = config.num_key_value_heads * BLOCK * config.head_dim * dtype.itemsize * 2
    window = config.sliding_window if config.sliding_window < max_len else 0
    near_layers = config.layer_types.count("sliding_attention") if window else 0
    window = window if near_layers else 0
    bytes_each = (each * (config.num_hidden_layers - near_layers), each * near_layers)
    wanted = _whole(max_len) * (max_slots + SPARE_CONTEXTS)
    near = min(_near_blocks(window, max_slots), wanted) if window else 0
    limit = memory if memory is not None else int(SHARE * _installed(device))
    room = (limit - near * bytes_each[1]) // bytes_each[0] if bytes_each[0] else wanted
    sizes = Sizes((max(0, min(wanted, room)), near), bytes_each, window, max_len)
    if sizes.blocks[0] < _whole(max_len):
        raise BadInput(
            f"a context of {max_len:,} tokens needs {sizes.context_mib:,.1f} MiB of keys and values beside "
            f"{near * bytes_each[1] / MIB:,.1f} MiB of windows, and the cache has {limit / MIB:,.1f} MiB; "
            "give a smaller max_len, fewer slots, or more memory")  # fmt: skip
    return sizes


def _near_blocks(window: int, slots: int) -> int:
    """Two windows a slot (one that runs, one that may be gone on with), and the prompt tokens of a step."""
    return 2 * slots * (_whole(window) + 3) + PREFILL_BLOCKS + slots


def _whole(positions: int) -> int:
    return -(-positions // BLOCK)


def _installed(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
