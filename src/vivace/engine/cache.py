"""Keys and values in blocks, shared by all sequences with the same prefix, and which of them a prompt may start from.

A running sequence has a slot: a row of block numbers in `tables`, one table for layers that see everything and one for
window layers. Sequences share the whole blocks of a common prefix (`blocks.Node`); the block in which they part is
copied. What a sequence wrote stays when it ends, until its blocks are needed: least recently used first.

Window layers keep a sequence's window and a block, not its past. So a prompt may start only where the window before
that place is still there; the windows at the ends of prompts and answers, and where prompts parted before, are kept
longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from vivace.engine.blocks import BLOCK, NONE, Node, Pool, common
from vivace.engine.memory import Sizes, plan
from vivace.model.config import ModelConfig

WORTH_WAITING = 16  # tokens of a prefix another sequence is writing right now, rather than computing them twice
FULL, NEAR = 0, 1  # kinds of layers, numbers of their tables


class Lease(NamedTuple):
    """A slot for one sequence; its first `cached` tokens are there already."""

    slot: int
    cached: int


class PagedCache:
    """`keys[layer]`, `values[layer]`: (blocks of its kind, K, BLOCK, d), written by a runner.

    `tables`: (2, max_slots, blocks of a context) int32, block numbers by kind of layer; NONE where there is none.
    One owner thread; nothing here locks. `memory`: bytes for all keys and values (None: see `memory.plan`).
    """

    def __init__(
        self, config: ModelConfig, max_slots: int, max_len: int, *, dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu", memory: int | None = None,
    ) -> None:
        self.sizes: Sizes = plan(config, max_slots, max_len, dtype, torch.device(device), memory)
        self.window = self.sizes.window
        self.kinds = [NEAR if config.layer_types[i] == "sliding_attention" and self.window else FULL
                      for i in range(config.num_hidden_layers)]  # fmt: skip
        shapes = [(count, config.num_key_value_heads, BLOCK, config.head_dim) for count in self.sizes.blocks]
        self.keys = [torch.empty(shapes[kind], dtype=dtype, device=device) for kind in self.kinds]
        self.values = [torch.empty(shapes[kind], dtype=dtype, device=device) for kind in self.kinds]
        self.max_slots, self.max_len = max_slots, max_len
        self.tables = np.full((2, max_slots, -(-max_len // BLOCK)), NONE, dtype=np.int32)
        self.length = np.zeros(max_slots, dtype=np.int64)
        self.in_use = np.zeros(max_slots, dtype=bool)
        self._near_from = [0] * max_slots  # the first block of each path that it still has in its window
        self.clear()

    def clear(self) -> None:
        """Forget everything; no slot may be in use."""
        if self.in_use.any():
            raise RuntimeError("the cache cannot be cleared while sequences run")
        self._root = Node(None)
        self._pools = [Pool(count) for count in self.sizes.blocks]
        self._paths: list[list[Node]] = [[] for _ in range(self.max_slots)]
        self._ready = [0] * self.max_slots  # blocks of each path that are there
        self._used = 0  # nodes of running sequences

    @property
    def bytes_touched(self) -> int:
        """Memory of keys and values that was used so far."""
        return sum(pool.touched * each for pool, each in zip(self._pools, self.sizes.bytes_each))

    def acquire(self, ids: Sequence[int]) -> Lease | None:
        """A slot for `ids` with the longest prefix there is; None: ask again after the next step.

        None means that all slots are in use, that there is no room for the prompt, or that another sequence is about to
        have written a longer prefix. The last token is never taken from the cache: its logits are wanted.
        """
        if self.in_use.all():
            return None
        prompt = list(ids)
        path, parting = self._follow(prompt)
        at, extra, source = self._start(path, parting, prompt)
        if self._is_coming(path, prompt, at + extra + WORTH_WAITING):
            return None
        known = len(path) * BLOCK
        known += max((common(node.tokens, prompt[known : known + BLOCK]) for node in parting), default=0)
        del path[at // BLOCK :]
        idle = sum(not node.users for node in path)
        if self._used + idle + -(-(len(prompt) + 1) // BLOCK) - len(path) > self.sizes.blocks[FULL] and self._used:
            return None
        slot = int(self.in_use.argmin())
        self.in_use[slot], self._near_from[slot] = True, max(0, at - self.window + 1) // BLOCK
        for index, node in enumerate(path):
            self._join(slot, index, node)
        if source and not self._branch(slot, source, prompt, at, extra):
            self.release(slot)
            return None
        for start in range(len(self._paths[slot]) * BLOCK, len(prompt), BLOCK):
            self._grow(slot, prompt[start : start + BLOCK])
        self._mark_forks(slot, known)
        self._mark_forks(slot, len(prompt))
        self.length[slot] = at + extra
        return Lease(slot, at + extra)

    def _follow(self, prompt: list[int]) -> tuple[list[Node], list[Node]]:
        """Whole blocks that hold the prompt's beginning, and the nodes that may hold a part of what follows."""
        path: list[Node] = []
        children = self._root.children
        while len(prompt) > (at := len(path) * BLOCK) + BLOCK:
            part = prompt[at : at + BLOCK]
            equal = [child for child in reversed(children) if child.written == BLOCK and child.tokens == part]
            if not equal:
                break
            path.append(max(equal, key=lambda child: child.near != NONE))  # of several the newest
            children = path[-1].children
        return path, children

    def _start(self, path: list[Node], parting: list[Node], prompt: list[int]) -> tuple[int, int, Node | None]:
        """Where the prompt may start: whole blocks, then so many tokens of a node."""
        at = len(path) * BLOCK
        part = prompt[at : at + BLOCK][: len(prompt) - 1 - at]
        shared = {node: min(common(node.tokens, part), node.written) for node in parting}
        source = max(shared, key=lambda node: (shared[node], not node.users), default=None)
        if source and shared[source] and (not self.window or (
                source.near != NONE and self._window_is_there(path, at + shared[source]))):
            return at, shared[source], source
        while not self._window_is_there(path, at):
            at -= BLOCK
        return at, 0, None

    def _window_is_there(self, path: list[Node], end: int) -> bool:
        """Whether window layers have what a token at `end` sees in whole blocks before it."""
        if not self.window:
            return True
        first = max(0, end - self.window + 1) // BLOCK
        return all(path[index].near != NONE for index in range(end // BLOCK - 1, first - 1, -1))

    def _is_coming(self, path: list[Node], prompt: list[int], enough: int) -> bool:
        """Whether a running sequence has the prompt's first `enough` tokens as its own, not all of them written yet."""
        if enough > len(prompt) - 1:
            return False
        level = [path[-1] if path else self._root]
        at = len(path) * BLOCK
        while level:
            part = prompt[at : at + BLOCK]
            shared = {child: common(child.tokens, part) for node in level for child in node.children if child.users}
            if any(at + count >= enough and count > child.written for child, count in shared.items()):
                return True
            level = [child for child, count in shared.items() if count == BLOCK]
            at += BLOCK
        return False

    def _join(self, slot: int, index: int, node: Node) -> None:
        """Whole blocks of others become part of the sequence."""
        self._use(node)
        self._paths[slot].append(node)
        self.tables[FULL, slot, index] = node.full
        if self.window and index >= self._near_from[slot]:
            node.near_users += 1
            self._pools[NEAR].idle.pop(node, None)
            self.tables[NEAR, slot, index] = node.near
        self._ready[slot] = index + 1

    def _use(self, node: Node) -> None:
        self._used += not node.users
        node.users += 1
        self._pools[FULL].idle.pop(node, None)

    def _branch(self, slot: int, source: Node, prompt: list[int], at: int, extra: int) -> bool:
        """Go on in a block after its first `extra` tokens: in the block itself if nobody loses by it, else in a copy.

        False when there is no block for a copy.
        """
        if not source.users and not source.children and source.written == extra:
            source.tokens = prompt[at : at + BLOCK]
            self._join(slot, at // BLOCK, source)
            return True
        self._use(source)  # or it could be taken for the copy
        source.near_users += bool(self.window)
        self._pools[NEAR].idle.pop(source, None)
        node = self._grow(slot, prompt[at : at + BLOCK])
        there = self.reserve(slot, at + 1)
        if there:
            for kind, keys, values in zip(self.kinds, self.keys, self.values):
                old, new = (source.full, node.full) if kind == FULL else (source.near, node.near)
                keys[new], values[new] = keys[old], values[old]
            node.written = extra
        self._leave(source)
        if self.window:
            self._out_of_sight(source, last=True)
        return there

    def _grow(self, slot: int, tokens: list[int]) -> Node:
        path = self._paths[slot]
        node = (path[-1] if path else self._root).child()
        node.tokens = tokens
        self._use(node)
        path.append(node)
        return node

    def _mark_forks(self, slot: int, end: int) -> None:
        """Others may want to start from the prompt's `end`: its window is worth more than what lies before."""
        for node in self._paths[slot][max(0, end - 1 - self.window) // BLOCK : -(-end // BLOCK)]:
            node.fork = True

    def reserve(self, slot: int, end: int) -> bool:
        """Have blocks for the slot's positions before `end`; False when there are not enough (some may be there)."""
        path = self._paths[slot]
        self.in_use[slot] = True
        for index in range(self._ready[slot], -(-end // BLOCK)):
            node = path[index] if index < len(path) else self._grow(slot, [])
            node.full = node.full if node.full != NONE else self._take_full()
            if node.full == NONE:
                return False
            if self.window:
                node.near = node.near if node.near != NONE else self._take_near()
                if node.near == NONE:
                    return False
                node.near_users = 1
            self.tables[:, slot, index] = node.full, node.near
            self._ready[slot] = index + 1
        return True

    def _take_full(self) -> int:
        pool = self._pools[FULL]
        if (block := pool.take()) == NONE and pool.idle:
            self._drop(next(iter(pool.idle)))
            block = pool.take()
        return block

    def _drop(self, node: Node) -> None:
        """A leaf that nobody uses goes; then what led to it alone may go next."""
        parent = node.parent
        assert parent is not None
        parent.children.remove(node)
        for pool, block in zip(self._pools, (node.full, node.near)):
            pool.idle.pop(node, None)
            pool.give_back(block)
        if parent is not self._root and not parent.users and not parent.children:
            self._pools[FULL].rest(parent, last=False)

    def _take_near(self) -> int:
        pool = self._pools[NEAR]
        if (block := pool.take()) == NONE and pool.idle:
            loser, _ = pool.idle.popitem(last=False)
            block, loser.near = loser.near, NONE
        return block

    def written(self, slot: int, start: int, ids: Sequence[int]) -> None:
        """Note that the keys and values of `ids` now stand at start, start + 1, ..."""
        end = start + len(ids)
        for index in range(start // BLOCK, -(-end // BLOCK)):
            node = self._paths[slot][index]
            first, last = max(start, index * BLOCK), min(end, (index + 1) * BLOCK)
            node.tokens[first - index * BLOCK : last - index * BLOCK] = ids[first - start : last - start]
            node.written = last - index * BLOCK
        self.length[slot] = end
        if self.window:
            self._leave_behind(slot, max(0, end - self.window - BLOCK + 1) // BLOCK)

    def _leave_behind(self, slot: int, first: int) -> None:
        """Blocks before number `first` have left the slot's window."""
        for index in range(self._near_from[slot], first):
            node = self._paths[slot][index]
            self.tables[NEAR, slot, index] = NONE
            self._out_of_sight(node, last=node.fork)
        self._near_from[slot] = max(first, self._near_from[slot])

    def _out_of_sight(self, node: Node, *, last: bool) -> None:
        node.near_users -= 1
        if not node.near_users and node.near != NONE:
            self._pools[NEAR].rest(node, last=last)

    def release(self, slot: int) -> None:
        """The sequence is over, or has to make room; what is written stays until its blocks are needed."""
        path = self._paths[slot]
        if self.window:
            for node in path[self._near_from[slot] : self._ready[slot]]:
                self._out_of_sight(node, last=True)
        for node in reversed(path):
            self._leave(node)
        self.tables[:, slot] = NONE
        self._paths[slot], self._ready[slot], self._near_from[slot] = [], 0, 0
        self.in_use[slot], self.length[slot] = False, 0

    def _leave(self, node: Node) -> None:
        node.users -= 1
        if node.users:
            return
        self._used -= 1
        del node.tokens[node.written :]
        if not node.written:
            self._drop(node)
        elif not node.children:
            self._pools[FULL].rest(node, last=True)
