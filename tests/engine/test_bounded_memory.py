"""With too little memory for all that is asked, answers are those of the plain loop all the same, only later."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from test_engine import GREEDY, assert_plain, prompt, wait_for
from tiny_decoder import tiny

from vivace.core.errors import BadInput
from vivace.core.types import Sampling
from vivace.engine import Engine
from vivace.engine.blocks import BLOCK, NONE
from vivace.engine.cache import FULL, NEAR
from vivace.engine.memory import MIB, plan
from vivace.engine.runner import RunnerKind
from vivace.engine.scheduler import PATIENCE, Scheduler, Ticket
from vivace.engine.without_replacement import WithoutReplacement
from vivace.model import Decoder

KINDS: list[RunnerKind] = ["cpu", "torch"]


def small(model: Decoder, runner: RunnerKind = "cpu", *, speculate: bool = False) -> Engine:
    """Four slots; windows, and ten blocks of layers that see everything: two whole contexts."""
    ample = plan(model.config, 4, 160, torch.float32, torch.device("cpu"), None)
    bytes_wanted = ample.blocks[NEAR] * ample.bytes_each[NEAR] + 10 * ample.bytes_each[FULL]
    engine = Engine(model, max_slots=4, threads=1, runner=runner, speculate=speculate, cache_mib=bytes_wanted / MIB)
    assert engine._cache.sizes.blocks[FULL] == 10
    return engine


@pytest.mark.parametrize("runner", KINDS)
def test_sequences_that_outgrow_the_memory_take_turns(model: Decoder, runner: RunnerKind) -> None:
    with small(model, runner) as engine:
        wishes = [prompt(8 + 5 * n, n) for n in range(6)]
        tickets = [engine.submit(ids, Sampling(temperature=0, max_tokens=100)) for ids in wishes]
        for ids, ticket in zip(wishes, tickets):
            assert_plain(model, ids, ticket.result(60))
        assert engine.stats.preempted > 0
        assert not engine._cache.in_use.any()
        assert engine._cache._used == 0


def test_conversations_beside_each_other_in_little_memory(model: Decoder) -> None:
    system = prompt(40, 99)

    def converse(number: int) -> None:
        ids = [*(system if number % 3 else []), *prompt(3 + number % 20, number)]
        for turn in range(3):
            got = engine.generate(ids, Sampling(temperature=0, max_tokens=1 + (number + turn) % 25))
            assert_plain(model, ids, got)
            ids = [*ids, *got.ids, *prompt(4, turn)]

    with small(model) as engine, ThreadPoolExecutor(16) as pool:
        list(pool.map(converse, range(32)))
        assert engine.stats.cached_tokens > 0


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_guesses_and_little_memory(model: Decoder, temperature: float) -> None:
    repetitive = [5, 6, 7, 8, 9, 10, 11, 12] * 4
    prompts = [repetitive, prompt(30), repetitive[3:30], [4] * 20, prompt(50, 4)]

    def ask(engine: Engine) -> list[list[int]]:
        engine._scheduler.costs.each = lambda sequences: 0.001  # type: ignore[method-assign]  # always worth it
        asked = [engine.submit(ids, Sampling(temperature=temperature, seed=n, max_tokens=90))
                 for n, ids in enumerate(prompts)]  # fmt: skip
        return [ticket.result(60).ids for ticket in asked]

    with Engine(model, max_slots=5, threads=1) as plain, small(model, speculate=True) as engine:
        assert ask(engine) == ask(plain)
        assert engine.stats.preempted > 0
        assert engine.stats.drafted_tokens > 0


def test_a_swap_while_sequences_wait_for_memory(model: Decoder) -> None:
    other = tiny(seed=7)
    with small(model) as engine:
        wishes = [prompt(20, n) for n in range(6)]
        tickets = [engine.submit(ids, Sampling(temperature=0, max_tokens=130)) for ids in wishes]
        wait_for(lambda: engine.stats.preempted or all(t.logprobs for t in tickets[:3]))
        engine.update_weights(other)
        late = [ticket.result(60) for ticket in tickets]
        assert {got.version for got in late} == {1}
        assert_plain(other, prompt(33, 8), engine.generate(prompt(33, 8), GREEDY))
        with torch.inference_mode():
            for ids, got in zip(wishes, late):
                best = other(torch.tensor([[*ids, *got.ids]]))[0, len(ids) - 1 : -1].argmax(-1).tolist()
                assert best[-60:] == got.ids[-60:]  # long after the swap, all is computed with the new weights


@pytest.mark.parametrize("runner", KINDS)
def test_long_contexts_keep_only_windows(runner: RunnerKind) -> None:
    """Many tokens through a window of 12: text, samples and a next turn as the plain loop has them."""
    model, length = tiny(max_position_embeddings=4096), 2500 if runner == "cpu" else 300
    with Engine(model, max_slots=4, threads=1, runner=runner) as engine:
        ids = prompt(length)
        first = engine.generate(ids, GREEDY)
        assert_plain(model, ids, first)
        samples = [engine.submit(ids, Sampling(seed=n, max_tokens=40)) for n in range(4)]
        for sample in samples:
            got = sample.result(60)
            assert got.cached_tokens == length - 1
            with torch.inference_mode():
                expected = model.logprobs(torch.tensor([[*ids, *got.ids]]))[0, len(ids) - 1 :]
            assert got.logprobs == pytest.approx(expected.tolist(), abs=2e-4)
        following = [*ids, *first.ids, 3, 4]
        again = engine.generate(following, GREEDY)
        assert again.cached_tokens == len(ids) + len(first.ids) - 1
        assert_plain(model, following, again)
        changed = [*ids[:200], 97, *ids[201:280]]
        assert_plain(model, changed, engine.generate(changed, GREEDY))
        cache = engine._cache
        assert cache._pools[NEAR].touched <= 52
        assert cache._pools[FULL].touched > length // BLOCK


def test_a_step_holds_little_of_a_long_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """While 3,000 tokens are read, window layers never hold more than a step's tokens and a window."""
    model = tiny(max_position_embeddings=4096)
    with Engine(model, max_slots=1, threads=1) as engine:
        cache, most = engine._cache, 0
        written = cache.written

        def watch(slot: int, start: int, ids: list[int]) -> None:
            nonlocal most
            most = max(most, int((cache.tables[NEAR, slot] != NONE).sum()))
            written(slot, start, ids)

        monkeypatch.setattr(cache, "written", watch)
        engine.generate(prompt(3000), Sampling(temperature=0, max_tokens=50))
        assert 512 // BLOCK <= most <= 512 // BLOCK + 3


def test_a_long_prompt_is_not_passed_for_ever(model: Decoder) -> None:
    """Four short ones at any time leave no room for the one that needs half of the memory, until none may pass it."""

    def ticket(length: int, answer: int = 20) -> Ticket:
        return Ticket(prompt(length, next(seeds)), Sampling(), frozenset(), random.Random(0), WithoutReplacement([]),
                      prompt_len=length, max_tokens=answer)  # fmt: skip

    seeds = iter(range(10_000))
    with small(model) as engine:
        scheduler = Scheduler(engine._cache)
        big = ticket(150)
        scheduler.waiting.extend([*(ticket(40, n) for n in (5, 10, 15, 20)), big])
        steps = 0
        while not big.admitted:
            steps += 1
            assert steps < 20 * PATIENCE
            while len(scheduler.waiting) + len(scheduler.running) < 8:
                scheduler.waiting.append(ticket(40))
            chunks = scheduler.schedule()
            scheduler.commit(chunks, [[(1, -1.0)] for chunk in chunks if chunk.last])
        assert big.refused > PATIENCE


def test_a_cache_must_hold_one_context(model: Decoder) -> None:
    with pytest.raises(BadInput, match="more memory"):
        Engine(model, max_slots=1, cache_mib=0.05)
