"""Blocks of keys and values, and the tree of prefixes whose blocks they are.

A node is one block of positions after one prefix (the tokens on the way to it from the root). What it holds:

    |<-- tokens[:written]: keys and values are there -->|<-- tokens[written:]: prompt still to be written -->|

Layers that see everything keep `full` as long as the node lives. Window layers keep `near` only while some sequence
has the node in its window; after that the block stays where it is until it is needed elsewhere.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

BLOCK = 32  # positions; a runner may lay each block out as it likes
NONE = -1


@dataclass(eq=False, slots=True)
class Node:
    parent: Node | None
    tokens: list[int] = field(default_factory=list)
    written: int = 0
    users: int = 0  # sequences that go through it
    near_users: int = 0  # of these, how many have it in their window
    full: int = NONE
    near: int = NONE
    fork: bool = False  # sequences are likely to part here: worth keeping in window layers too
    children: list[Node] = field(default_factory=list)

    def child(self) -> Node:
        made = Node(self)
        self.children.append(made)
        return made


class Pool:
    """Numbers of the blocks of one kind of layers. `idle` nodes may lose theirs, the first of them first."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self.touched = 0  # blocks that were ever used: memory is touched no earlier
        self.idle: OrderedDict[Node, None] = OrderedDict()
        self._free: list[int] = []

    def take(self) -> int:
        """A block that nobody has; NONE when there is none."""
        if self._free:
            return self._free.pop()
        if self.touched < self.blocks:
            self.touched += 1
            return self.touched - 1
        return NONE

    def give_back(self, block: int) -> None:
        if block != NONE:
            self._free.append(block)

    def rest(self, node: Node, *, last: bool) -> None:
        """`node` may lose its block: as the last of those that may now, or as the first."""
        self.idle[node] = None
        self.idle.move_to_end(node, last=last)


def common(a: list[int], b: list[int]) -> int:
    """Tokens that agree before the first that does not."""
    if a == b:
        return len(a)
    return next((n for n, (one, other) in enumerate(zip(a, b)) if one != other), min(len(a), len(b)))
