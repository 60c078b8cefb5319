"""Many callers, one model: same answers as a plain loop, whatever runs beside them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

import numpy as np
import pytest
import torch
from tiny_decoder import tiny

from vivace.core.errors import BadInput, ModelError
from vivace.core.types import Drawn, Sampling
from vivace.engine import Engine, Generated
from vivace.model import Decoder

GREEDY = Sampling(temperature=0, max_tokens=20)


def prompt(length: int, seed: int = 0) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(96) for _ in range(length)]


@torch.inference_mode()
def greedy_choices(model: Decoder, ids: Sequence[int], answer: Sequence[int]) -> tuple[list[int], list[float]]:
    """What the training forward, without any cache, would choose at each position of `answer`, and how sure it is."""
    best = model(torch.tensor([[*ids, *answer]]))[0, len(ids) - 1 : -1].log_softmax(-1).max(-1)
    return best.indices.tolist(), best.values.tolist()


def samples(engine: Engine, ids: Sequence[int], sampling: Sampling, n: int) -> list[Generated]:
    """`n` draws from one prompt, asked for at the same time."""
    wishes = [sampling.model_copy(update={"seed": sampling.seed + i}) for i in range(n)]
    return [ticket.result(60) for ticket in [engine.submit(ids, wish) for wish in wishes]]


def assert_plain(model: Decoder, ids: Sequence[int], got: Generated) -> None:
    expected, logprobs = greedy_choices(model, ids, got.ids)
    assert got.ids == expected
    assert got.logprobs == pytest.approx(logprobs, abs=1e-4)


def test_greedy_is_the_plain_loop(model: Decoder, engine: Engine) -> None:
    got = engine.generate(prompt(30), GREEDY)
    assert (len(got.ids), got.finish_reason, got.cached_tokens) == (20, "length", 0)
    assert_plain(model, prompt(30), got)


def test_the_torch_runner_serves_alike(model: Decoder, engine: Engine) -> None:
    with Engine(model, max_slots=4, runner="torch") as other:
        assert other.runner == "torch"
        for got in samples(other, prompt(30), GREEDY, 2):
            assert_plain(model, prompt(30), got)
        drawn = Sampling(seed=3, max_tokens=30)
        assert other.generate(prompt(40), drawn).ids == engine.generate(prompt(40), drawn).ids


def test_stops_at_a_stop_id_and_includes_it(model: Decoder, engine: Engine) -> None:
    free = engine.generate(prompt(30), GREEDY)
    stop = free.ids[7]
    got = engine.generate(prompt(30), GREEDY, [stop])
    assert got.ids == free.ids[: free.ids.index(stop) + 1]
    assert got.finish_reason == "stop"


def test_turns_that_append_compute_only_what_is_new(model: Decoder, engine: Engine) -> None:
    ids, written = prompt(30), 0
    for turn in range(4):
        got = engine.generate(ids, GREEDY)
        assert_plain(model, ids, got)
        assert got.cached_tokens == written
        written = len(ids) + len(got.ids) - 1  # the last token was sampled, not computed
        ids = [*ids, *got.ids, *prompt(5, turn)]
    assert engine.stats.computed_tokens == written


def test_a_changed_history_is_computed_again_from_the_change(model: Decoder, engine: Engine) -> None:
    ids = prompt(60)
    engine.generate(ids, GREEDY)
    changed = [*ids[:40], (ids[40] + 1) % 96, *ids[41:]]
    got = engine.generate(changed, GREEDY)
    assert got.cached_tokens == 40
    assert_plain(model, changed, got)


def test_samples_of_one_prompt_share_it(engine: Engine) -> None:
    ids = prompt(100)
    answers = samples(engine, ids, Sampling(max_tokens=12), 6)
    assert [a.cached_tokens for a in answers] == [0, 99, 99, 99, 99, 99]
    assert len({tuple(a.ids) for a in answers}) == 6
    assert engine.stats.computed_tokens < 100 + 6 * 12


def test_a_seed_gives_the_same_ids_alone_and_in_a_crowd(engine: Engine) -> None:
    wishes = [(prompt(5 + 9 * i, i), Sampling(seed=i, max_tokens=25, temperature=0.8, top_p=0.95)) for i in range(12)]
    alone = [engine.generate(ids, sampling).ids for ids, sampling in wishes]
    with ThreadPoolExecutor(12) as pool:
        crowd = [f.result() for f in [pool.submit(engine.generate, *wish) for wish in reversed(wishes)]]
    assert [c.ids for c in reversed(crowd)] == alone


def test_logprobs_are_those_of_the_training_forward(model: Decoder, engine: Engine) -> None:
    ids = prompt(40)
    for got in samples(engine, ids, Sampling(max_tokens=30), 5):
        with torch.inference_mode():
            expected = model.logprobs(torch.tensor([[*ids, *got.ids]]))[0, len(ids) - 1 :]
        assert got.logprobs == pytest.approx(expected.tolist(), abs=1e-4)


def test_more_threads_than_slots_all_get_the_right_answer(model: Decoder) -> None:
    """48 threads hold conversations of three turns over 6 slots; a third of the prompts share a system prompt."""
    system = prompt(40, 99)

    def converse(number: int) -> list[tuple[list[int], Generated]]:
        ids = [*(system if number % 3 else []), *prompt(3 + number % 20, number)]
        turns = []
        for turn in range(3):
            got = engine.generate(ids, Sampling(temperature=0, max_tokens=1 + (number + turn) % 9))
            turns.append((ids, got))
            ids = [*ids, *got.ids, *prompt(4, turn)]
        return turns

    with Engine(model, max_slots=6, threads=1) as engine, ThreadPoolExecutor(48) as pool:
        results = list(pool.map(converse, range(48)))
    for turns in results:
        for ids, got in turns:
            assert_plain(model, ids, got)


def test_a_weight_swap_takes_effect_and_nothing_stale_survives(model: Decoder, engine: Engine) -> None:
    other = tiny(seed=7)
    before = engine.generate(prompt(30), GREEDY)
    assert engine.update_weights(other) == 1
    got = engine.generate(prompt(30), GREEDY)
    assert (got.cached_tokens, got.version, before.version) == (0, 1, 0)
    assert_plain(other, prompt(30), got)
    engine.update_weights(model.state_dict())
    assert engine.generate(prompt(30), GREEDY).ids == before.ids


def test_a_swap_in_flight_goes_on_with_the_new_weights(model: Decoder) -> None:
    other = tiny(seed=7)
    ids = prompt(20)
    with Engine(model, max_slots=2, threads=1) as engine:
        ticket = engine.submit(ids, Sampling(temperature=0, max_tokens=130))
        wait_for(lambda: len(ticket.logprobs) > 5)
        engine.update_weights(other)
        got = ticket.result(30)
    assert got.version == 1
    old, new = (greedy_choices(m, ids, got.ids)[0] for m in (model, other))
    split = max(i for i in range(130) if old[:i] == got.ids[:i])
    assert 5 < split < 130
    assert new[split:] == got.ids[split:]


def wait_for(condition: object, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.001)


def test_cancelling_gives_what_there_is_and_frees_the_slot(model: Decoder) -> None:
    with Engine(model, max_slots=1, threads=1) as engine:
        running = engine.submit(prompt(10), Sampling(max_tokens=140))
        waiting = engine.submit(prompt(10, 1), Sampling(max_tokens=140))
        wait_for(lambda: running.logprobs)
        waiting.cancel()
        running.cancel()
        got = running.result(10)
        assert got.finish_reason == "cancelled"
        assert 0 < len(got.ids) < 140
        assert waiting.result(10) == Generated([], [], "cancelled", 0, 0)
        assert_plain(model, prompt(30), engine.generate(prompt(30), GREEDY))


def test_closing_answers_everyone(model: Decoder) -> None:
    engine = Engine(model, max_slots=1, threads=1)
    tickets = [engine.submit(prompt(10, n), Sampling(max_tokens=150)) for n in range(5)]
    engine.close()
    for ticket in tickets:
        with pytest.raises(ModelError, match="closed"):
            ticket.result(10)
    with pytest.raises(ModelError, match="closed"):
        engine.generate([1], GREEDY)


def test_a_broken_step_reaches_the_callers(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    engine = Engine(model, max_slots=1, threads=1)
    monkeypatch.setattr(engine._runner, "step", None)
    with pytest.raises(ModelError, match="the engine stopped"):
        engine.generate([1, 2], GREEDY)
    engine.close()


class Broken:
    """A watcher that breaks at its third token."""

    def __init__(self, how: str) -> None:
        self.how, self.seen = how, 0

    def shape(self, logits_V: np.ndarray) -> np.ndarray:
        if self.seen == 2 and self.how == "shape":
            raise KeyError("no such state")
        if self.seen == 2 and self.how == "nan":
            return logits_V * np.float32("nan")
        return logits_V[:-1] if self.seen == 2 and self.how == "size" else logits_V

    def drawn(self, token: int, logprob: float, logits_V: np.ndarray) -> None:
        self.seen += 1
        if self.seen == 3 and self.how == "drawn":
            raise KeyError("no such state")


@pytest.mark.parametrize("how", ["shape", "drawn", "nan", "size"])
@pytest.mark.parametrize("speculate", [False, True])
def test_a_broken_watcher_fails_only_its_request(model: Decoder, how: str, speculate: bool) -> None:
    wish, repeating = Sampling(max_tokens=30, temperature=0), [5, 6, 7, 8] * 6
    with Engine(model, max_slots=3, threads=1, speculate=speculate) as engine:
        alone = engine.generate(prompt(9), wish)
        before = engine.submit(prompt(9), wish)
        broken = engine.submit(repeating, wish, watcher=Broken(how), expected=repeating)
        with pytest.raises(ModelError, match=r"watcher failed: (Key|Value)Error"):
            broken.result(30)
        assert before.result(30).ids == alone.ids
        assert engine.generate(prompt(9), wish).ids == alone.ids
        assert engine.load == (0, 0)
        assert not engine._scheduler.cache.in_use.any()


def test_ids_of_no_token_are_refused_wherever_they_come_in(engine: Engine) -> None:
    with pytest.raises(BadInput, match="outside the vocabulary"):
        engine.submit([1, 2], Sampling(), expected=[1, 99_999])
    with pytest.raises(BadInput, match="outside the vocabulary"):
        engine.submit([1, 2], Sampling(avoid=[Drawn(ids=[99_999], logprobs=[-1.0])]))
    with pytest.raises(BadInput, match="one log probability for each"):
        engine.submit([1, 2], Sampling(avoid=[Drawn(ids=[5, 6], logprobs=[-1.0])]))


def test_the_coldest_temperature_is_greedy(engine: Engine) -> None:
    greedy = engine.generate(prompt(9), Sampling(temperature=0, max_tokens=12))
    assert engine.generate(prompt(9), Sampling(temperature=1e-60, max_tokens=12)).ids == greedy.ids


def test_a_swap_that_fails_reaches_all_who_wait_for_one(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    engine = Engine(model, max_slots=1, threads=1)
    started, go = threading.Event(), threading.Event()

    def load(state: object) -> None:
        started.set()
        go.wait(20)
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engine._runner, "load", load)
    answers: Queue[BaseException | int] = Queue()

    def swap() -> None:
        try:
            answers.put(engine.update_weights(model))
        except ModelError as error:
            answers.put(error)

    for _ in range(2):  # the second waits behind the first; daemons, so that one that hangs fails only this test
        threading.Thread(target=swap, daemon=True).start()
        assert started.wait(20)
    wait_for(lambda: len(engine._commands) == 2)
    go.set()
    for _ in range(2):
        assert "out of memory" in str(answers.get(timeout=20))
    with pytest.raises(ModelError, match="closed"):
        engine.generate([1, 2], GREEDY)
    engine.close()


def test_max_tokens_is_cut_to_the_room_left(engine: Engine) -> None:
    got = engine.generate(prompt(155), Sampling(max_tokens=100))
    assert (len(got.ids), got.finish_reason) == (5, "length")


@pytest.mark.parametrize("bad", [[], [1] * 160, [99], [-1]])
def test_impossible_prompts_are_refused(engine: Engine, bad: list[int]) -> None:
    with pytest.raises(BadInput):
        engine.generate(bad, GREEDY)


def test_impossible_sizes_are_refused(model: Decoder) -> None:
    with pytest.raises(BadInput):
        Engine(model, max_slots=0)
    with pytest.raises(BadInput):
        Engine(model, max_len=161)


def test_a_long_prompt_alone_goes_in_chunks(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivace.engine.scheduler.PREFILL_TOKENS", 8)
    with Engine(model, max_slots=1, threads=1) as engine:
        assert_plain(model, prompt(100), engine.generate(prompt(100), GREEDY))
        assert engine.stats.steps == 13 + 19


def test_long_prompts_do_not_stall_running_sequences(model: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivace.engine.scheduler.PREFILL_TOKENS", 8)
    with Engine(model, max_slots=3, threads=1) as engine:
        talking = engine.submit(prompt(5), Sampling(temperature=0, max_tokens=100))
        wait_for(lambda: talking.logprobs)
        ahead, steps = len(talking.logprobs), engine.stats.steps
        late = engine.submit(prompt(120, 3), Sampling(temperature=0, max_tokens=5))
        late.result(30)
        assert len(talking.logprobs) - ahead >= 15  # 15 chunks of 8, a token of the other one with each
        assert engine.stats.steps - steps >= 15
        assert_plain(model, prompt(120, 3), late.result())
        assert_plain(model, prompt(5), talking.result(30))
