"""Which blocks a prompt starts from, what is in them, and that none is lost or held twice."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from tiny_decoder import tiny

from vivace.core.errors import BadInput
from vivace.engine.blocks import BLOCK, NONE, Node
from vivace.engine.cache import FULL, NEAR, WORTH_WAITING, Lease, PagedCache
from vivace.model import Decoder

LONG = [*range(80)]
WINDOW = 12


@pytest.fixture
def cache(model: Decoder) -> PagedCache:
    return PagedCache(model.config, 3, 128)


def code(ids: list[int]) -> int:
    return hash(tuple(ids)) % 65521


def write(cache: PagedCache, slot: int, ids: list[int], start: int, end: int) -> bool:
    """As a runner would: what stands at a position depends on all tokens up to it."""
    if not cache.reserve(slot, end):
        return False
    for position in range(start, end):
        for layer, kind in enumerate(cache.kinds):
            block = cache.tables[kind, slot, position // BLOCK]
            assert block != NONE
            for store in (cache.keys[layer], cache.values[layer]):
                store[block, :, position % BLOCK] = code(ids[: position + 1])
    cache.written(slot, start, ids[start:end])
    return True


def check(cache: PagedCache, slot: int, ids: list[int], end: int) -> None:
    """What a token at `end` sees is what the tokens before it left."""
    for layer, kind in enumerate(cache.kinds):
        for position in range(max(0, end - WINDOW + 1) if kind == NEAR else 0, end):
            block = cache.tables[kind, slot, position // BLOCK]
            assert block != NONE
            assert cache.keys[layer][block, 0, position % BLOCK, 0] == code(ids[: position + 1])
            assert cache.values[layer][block, 1, position % BLOCK, 3] == code(ids[: position + 1])


def fill(cache: PagedCache, ids: list[int], release: bool = True) -> int:
    """Returns how much was cached."""
    lease = cache.acquire(ids)
    assert lease is not None
    check(cache, lease.slot, ids, lease.cached)
    assert write(cache, lease.slot, ids, lease.cached, len(ids))
    check(cache, lease.slot, ids, len(ids))
    if release:
        cache.release(lease.slot)
    return lease.cached


def integrity(cache: PagedCache) -> None:
    """Every block belongs to exactly one node or to nobody; every count is what the paths say."""
    users: dict[Node, int] = {}
    near: dict[Node, int] = {}
    for slot, path in enumerate(cache._paths):
        assert not path or cache.in_use[slot]
        for index, node in enumerate(path):
            assert node.parent is (path[index - 1] if index else cache._root)
            users[node] = users.get(node, 0) + 1
            if cache._near_from[slot] <= index < cache._ready[slot]:
                near[node] = near.get(node, 0) + 1
                assert cache.tables[NEAR, slot, index] == node.near
            if index < cache._ready[slot]:
                assert cache.tables[FULL, slot, index] == node.full
    nodes, level = [], [cache._root]
    while level:
        level = [child for node in level for child in node.children]
        nodes += level
    assert cache._used == len(users)
    for node in nodes:
        assert node.users == users.get(node, 0)
        assert node.near_users == near.get(node, 0)
        assert (node in cache._pools[FULL].idle) == (not node.users and not node.children)
        assert (node in cache._pools[NEAR].idle) == (not node.near_users and node.near != NONE)
        assert node.written == len(node.tokens) or node.users
    for kind, name in ((FULL, "full"), (NEAR, "near")):
        held = [getattr(node, name) for node in nodes if getattr(node, name) != NONE]
        free = cache._pools[kind]._free
        assert sorted([*held, *free]) == [*range(cache._pools[kind].touched)]


def test_a_continued_conversation_starts_where_it_stopped(cache: PagedCache) -> None:
    fill(cache, LONG)
    touched = cache.bytes_touched
    assert fill(cache, [*LONG, 50, 51]) == len(LONG)
    assert cache.bytes_touched == touched  # in the same blocks
    integrity(cache)


def test_the_same_prompt_is_shared_all_but_its_last_token(cache: PagedCache) -> None:
    fill(cache, LONG, release=False)
    assert [fill(cache, LONG, release=False) for _ in range(2)] == [len(LONG) - 1] * 2
    whole = len(LONG) // BLOCK
    assert len({tuple(row) for row in cache.tables[FULL, :, :whole].tolist()}) == 1
    assert len(set(cache.tables[FULL, :, whole].tolist())) == 3
    integrity(cache)


def test_a_branch_leaves_the_trunk_whole(cache: PagedCache) -> None:
    fill(cache, LONG)
    assert fill(cache, [*LONG[:50], 90]) == 50
    assert fill(cache, [*LONG, 91]) == len(LONG)
    integrity(cache)


def test_waits_for_a_prefix_that_is_being_written(cache: PagedCache) -> None:
    first = cache.acquire(LONG)
    assert first is not None
    assert cache.acquire([*LONG[:30], 90]) is None  # would compute 30 tokens twice
    short = cache.acquire([*LONG[: WORTH_WAITING - 1], 90])
    assert short is not None  # too little to wait for
    cache.release(short.slot)
    assert write(cache, first.slot, LONG, 0, 70)
    assert cache.acquire([*LONG, 7]) == Lease(1, 70)
    assert cache.acquire([*LONG[:60], 7]) == Lease(2, 60)
    integrity(cache)


def test_no_free_slot(cache: PagedCache) -> None:
    for n in range(3):
        fill(cache, [n] * 5, release=False)
    assert cache.acquire([7]) is None


def test_window_layers_hold_a_window_only(model: Decoder) -> None:
    """However long the context: two windows a slot, the tokens of a step, and no more."""
    cache = PagedCache(model.config, 1, 8192)
    rng = random.Random(0)
    ids = [rng.randrange(96) for _ in range(8000)]
    lease = cache.acquire(ids)
    assert lease is not None
    for start in range(0, 8000, 64):
        assert cache.reserve(lease.slot, start + 64)
        cache.written(lease.slot, start, ids[start : start + 64])
        assert (cache.tables[NEAR, lease.slot] != NONE).sum() <= 64 // BLOCK + 2
    assert cache._pools[NEAR].touched <= cache.sizes.blocks[NEAR] < 30
    assert cache._pools[FULL].touched == 8000 // BLOCK
    cache.release(lease.slot)
    again = cache.acquire([*ids, 5])
    assert again == Lease(0, 8000)
    cache.release(0)
    early = cache.acquire([*ids[:4000], 96])
    assert early is not None
    assert early.cached < 1000  # the window at 4000 is gone
    integrity(cache)


def test_where_prompts_parted_is_kept(model: Decoder) -> None:
    """A common beginning is found again although much longer prompts went through the window layers since."""
    cache = PagedCache(model.config, 1, 4096)
    rng = random.Random(0)
    system = [rng.randrange(96) for _ in range(300)]

    def ask(beginning: list[int]) -> int:
        ids = [*beginning, *(rng.randrange(96) for _ in range(1500))]
        lease = cache.acquire(ids)
        assert lease is not None
        for start in range(lease.cached, len(ids), 64):
            end = min(start + 64, len(ids))
            assert cache.reserve(lease.slot, end)
            cache.written(lease.slot, start, ids[start:end])
        cache.release(lease.slot)
        return lease.cached

    assert ask([]) == 0  # takes all window blocks
    first, second, *later = (ask(system) for _ in range(5))
    assert first == 0
    assert second < 300  # nobody knew that it would be asked for
    assert later == [300] * 3


def test_the_least_recently_used_goes_first(model: Decoder) -> None:
    config = model.config
    each = 2 * config.num_key_value_heads * config.head_dim * BLOCK * 4
    cache = PagedCache(config, 1, 128, memory=each * (6 + 3 * 1000))  # six blocks that see everything
    cache = PagedCache(config, 1, 128, memory=each * (6 + 3 * cache.sizes.blocks[NEAR]))
    assert cache.sizes.blocks[FULL] == 6
    for n in range(3):
        fill(cache, [n] * 60)
    assert fill(cache, [1] * 61) == 60  # the most recent now
    fill(cache, [9] * 60)  # needs the two blocks of [0] * 60
    assert [fill(cache, [n] * 64) for n in (1, 9)] == [61, 60]
    assert fill(cache, [0] * 60) == 0
    integrity(cache)


def test_one_context_must_fit(model: Decoder) -> None:
    with pytest.raises(BadInput, match="give a smaller max_len"):
        PagedCache(model.config, 2, 128, memory=100_000)


def test_cleared_it_knows_nothing(cache: PagedCache) -> None:
    fill(cache, LONG)
    cache.clear()
    assert fill(cache, [*LONG, 1]) == 0


@pytest.mark.parametrize("full_blocks", [5, 9, 30])
def test_random_traffic(full_blocks: int) -> None:
    """Few symbols, many forks, long and short, more than there is room for; what is leased is what was written."""
    config = tiny().config
    each = 2 * config.num_key_value_heads * config.head_dim * BLOCK * 4
    near = PagedCache(config, 4, 160).sizes.blocks[NEAR]
    cache = PagedCache(config, 4, 160, memory=each * (full_blocks + 3 * near))
    assert cache.sizes.blocks[FULL] == min(full_blocks, 40)
    for store in (*cache.keys, *cache.values):
        store.fill_(float("nan"))
    rng = random.Random(full_blocks)
    running: dict[int, tuple[list[int], int]] = {}
    reused = refused = preempted = 0
    for _ in range(700):
        if running and rng.random() < 0.75:
            slot = rng.choice(list(running))
            ids, done = running[slot]
            end = min(len(ids), done + rng.choice([1, 1, 5, 40]))
            if rng.random() < 0.2:
                check(cache, slot, ids, done)
            if rng.random() < 0.1:
                cache.reserve(slot, min(end + 9, 160))  # for guesses that do not hold
            if not write(cache, slot, ids, done, end):
                preempted += 1
                cache.release(slot)
                del running[slot]
                continue
            running[slot] = (ids, end)
            if end == len(ids) and len(ids) < 150 and rng.random() < 0.95:
                running[slot] = ([*ids, rng.randrange(3)], end)  # it is an answer now
            elif end == len(ids):
                cache.release(slot)
                del running[slot]
        else:
            ids = [rng.randrange(2) if t % 16 == 0 else 0 for t in range(rng.randint(1, 150))]
            lease = cache.acquire(ids)
            if lease is None:
                refused += 1
                continue
            reused += lease.cached
            assert lease.cached < len(ids)
            check(cache, lease.slot, ids, lease.cached)
            running[lease.slot] = (ids, lease.cached)
        assert set(np.flatnonzero(cache.in_use)) == set(running)
        integrity(cache)
    for slot in list(running):
        cache.release(slot)
    integrity(cache)
    assert cache._used == 0
    assert reused > 300
    assert refused
    assert bool(preempted) == (full_blocks < 20)


def test_a_model_without_windows_needs_no_window_blocks() -> None:
    cache = PagedCache(tiny(layer_types=["full_attention"] * 4).config, 2, 128)
    assert (cache.window, cache.sizes.blocks[NEAR]) == (0, 0)
    fill(cache, LONG)
    assert fill(cache, [*LONG[:70], 3]) == 70
    assert torch.isfinite(cache.keys[0][: cache._pools[FULL].touched]).any()
