"""Which slot a prompt starts from, and what is in it."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from vivace.engine.cache import WORTH_WAITING, Lease, SlotCache
from vivace.model import Decoder

LONG = list(range(40))


@pytest.fixture
def cache(model: Decoder) -> SlotCache:
    return SlotCache(model.config, 3, 64)


def fill(cache: SlotCache, ids: list[int], release: bool = True) -> int:
    lease = cache.acquire(ids)
    assert lease is not None
    cache.written(lease.slot, lease.cached, ids[lease.cached :])
    if release:
        cache.release(lease.slot)
    return lease.slot


def test_a_continued_conversation_stays_in_its_slot(cache: SlotCache) -> None:
    slot = fill(cache, LONG)
    assert cache.acquire([*LONG, 50, 51]) == Lease(slot, len(LONG))


def test_the_same_prompt_is_copied_all_but_its_last_token(cache: SlotCache) -> None:
    slot = fill(cache, LONG)
    for layer, store in enumerate((*cache.keys, *cache.values)):
        store[slot] = layer + 1.0
    lease = cache.acquire(LONG)
    assert lease is not None
    assert lease.cached == len(LONG) - 1
    assert lease.slot != slot
    for layer, store in enumerate((*cache.keys, *cache.values)):
        assert torch.all(store[lease.slot, :, : lease.cached] == layer + 1.0)


def test_a_branch_leaves_the_trunk_whole(cache: SlotCache) -> None:
    slot = fill(cache, LONG)
    branch = cache.acquire([*LONG[:30], 90])
    assert branch is not None
    assert branch.cached == 30
    assert branch.slot != slot
    assert cache.acquire([*LONG, 91]) == Lease(slot, len(LONG))


def test_a_prefix_is_taken_from_a_sequence_that_still_runs(cache: SlotCache) -> None:
    slot = fill(cache, LONG, release=False)
    lease = cache.acquire([*LONG, 7])
    assert lease is not None
    assert lease == Lease(1 - slot, len(LONG))


def test_waits_for_a_prefix_that_is_being_written(cache: SlotCache) -> None:
    first = cache.acquire(LONG)
    assert first is not None
    assert cache.acquire([*LONG[:30], 90]) is None  # would compute 30 tokens twice
    short = cache.acquire([*LONG[: WORTH_WAITING - 1], 90])
    assert short is not None  # too little to wait for
    cache.written(first.slot, 0, LONG[:32])
    branch = cache.acquire([*LONG[:30], 90])
    assert branch is not None
    assert branch.cached == 30


def test_the_least_recently_used_slot_goes_first(cache: SlotCache) -> None:
    slots = [fill(cache, [n] * 20) for n in range(3)]
    assert sorted(slots) == [0, 1, 2]
    assert fill(cache, [9] * 20) == slots[0]
    assert fill(cache, [1] * 21) == slots[1]  # still there, and now the most recent
    assert fill(cache, [8] * 20) == slots[2]


def test_no_free_slot(cache: SlotCache) -> None:
    for n in range(3):
        fill(cache, [n] * 5, release=False)
    assert cache.acquire([7]) is None


def test_after_invalidation_nothing_is_reused(cache: SlotCache) -> None:
    fill(cache, LONG)
    cache.invalidate()
    lease = cache.acquire([*LONG, 1])
    assert lease is not None
    assert lease.cached == 0


def test_a_leased_prefix_is_always_the_one_written(cache: SlotCache) -> None:
    """Random traffic over few symbols; the stores hold a code of the tokens, so a wrong copy would show."""
    rng = random.Random(0)
    cache.max_slots = 3
    running: dict[int, tuple[list[int], int]] = {}
    reused = 0
    for _ in range(3000):
        if running and rng.random() < 0.6:
            slot = rng.choice(list(running))
            ids, done = running[slot]
            end = min(len(ids), done + rng.randint(1, 9))
            for t in range(done, end):
                cache.keys[0][slot, :, t] = hash(tuple(ids[: t + 1])) % 65521
            cache.written(slot, done, ids[done:end])
            running[slot] = (ids, end)
            if end == len(ids):
                cache.release(slot)
                del running[slot]
        else:
            ids = [rng.randrange(2) if t % 10 == 0 else 0 for t in range(rng.randint(1, 60))]
            if (lease := cache.acquire(ids)) is not None:
                reused += lease.cached
                assert lease.cached < len(ids)
                codes = [hash(tuple(ids[: t + 1])) % 65521 for t in range(lease.cached)]
                assert cache.keys[0][lease.slot, 0, : lease.cached, 0].tolist() == codes
                running[lease.slot] = (ids, lease.cached)
        assert set(np.flatnonzero(cache.in_use)) == set(running)
    assert reused > 1000
