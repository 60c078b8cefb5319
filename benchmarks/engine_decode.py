"""The engine beside a plain loop over `Decoder.forward` and beside its own torch runner: tokens per second.

Same weights (preset nano, random), same machine, alternating, medians. Decoding goes through the whole engine
(scheduler, cache, sampler). The plain loop has no cache: it computes the whole sequence for each new token.

    python benchmarks/engine_decode.py [--repeats 5] [--threads N] [--json rows.json]
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial

import torch

from rows import Row, finish, paired, parser
from vivace.core.types import Sampling
from vivace.engine import Engine
from vivace.model import Decoder, preset

PROMPT, ANSWER, LONG = 128, 64, 1024
TURNS, NEW_TOKENS = 8, 150


def prompt(length: int, vocab: int) -> list[int]:
    return [random.randrange(vocab) for _ in range(length)]


def decode_rate(engine: Engine, batch: int, vocab: int) -> float:
    """Tokens per second from the moment all sequences are decoding until the first of them is done."""
    tickets = [engine.submit(prompt(PROMPT, vocab), Sampling(max_tokens=ANSWER, seed=i)) for i in range(batch)]
    while not all(ticket.logprobs for ticket in tickets):
        time.sleep(0.0005)
    before, start = sum(len(t.logprobs) for t in tickets), time.perf_counter()
    tickets[0].result()
    seconds, after = time.perf_counter() - start, sum(len(t.logprobs) for t in tickets)
    for ticket in tickets:
        ticket.result()
    return (after - before) / seconds


@torch.inference_mode()
def plain_rate(model: Decoder, batch: int, vocab: int, tokens: int = 4) -> float:
    """Tokens per second of the loop without a cache, in the middle of an answer of the same length."""
    ids = torch.randint(vocab, (batch, PROMPT + ANSWER // 2))
    start = time.perf_counter()
    for _ in range(tokens):
        probs = torch.softmax(torch.nn.functional.linear(model.hidden(ids)[:, -1], model.head_weight), -1)
        ids = torch.cat([ids, torch.multinomial(probs, 1)], dim=1)
    return batch * tokens / (time.perf_counter() - start)


def prefill_rate(engine: Engine, vocab: int) -> float:
    ids = prompt(LONG, vocab)
    start = time.perf_counter()
    engine.generate(ids, Sampling(max_tokens=1))
    return LONG / (time.perf_counter() - start)


@torch.inference_mode()
def plain_prefill_rate(model: Decoder, vocab: int) -> float:
    ids = torch.randint(vocab, (1, LONG))
    start = time.perf_counter()
    torch.nn.functional.linear(model.hidden(ids)[:, -1], model.head_weight)
    return LONG / (time.perf_counter() - start)


def turns_rate(engine: Engine, vocab: int, *, reuse: bool) -> float:
    """Turns per second of a conversation that grows by appending: NEW_TOKENS are read, 8 are answered."""
    ids: list[int] = []
    start = time.perf_counter()
    for _ in range(TURNS):
        ids = [*ids, *prompt(NEW_TOKENS, vocab)]
        if not reuse:
            ids[0] = random.randrange(vocab)  # another first token: nothing in the cache fits
        ids += engine.generate(ids, Sampling(max_tokens=8)).ids
    return TURNS / (time.perf_counter() - start)


Comparison = tuple[str, str, str, Callable[[], float], Callable[[], float]]


def comparisons(model: Decoder, ours: Engine, other: Engine) -> list[Comparison]:
    """(name, name of the peer, unit, measure ours, measure the peer)."""
    vocab = model.config.vocab_size
    plain, torch_runner = "Decoder.forward, no cache", "engine on the torch runner"
    rows: list[Comparison] = []
    for batch in (1, 8, 32):
        name = f"decode, batch {batch}, context {PROMPT}-{PROMPT + ANSWER}"
        mine = partial(decode_rate, ours, batch, vocab)
        rows.append((name, plain, "tokens/s", mine, partial(plain_rate, model, batch, vocab)))
        rows.append((name, torch_runner, "tokens/s", mine, partial(decode_rate, other, batch, vocab)))
    name, mine = f"prefill, {LONG} tokens", partial(prefill_rate, ours, vocab)
    rows.append((name, plain, "tokens/s", mine, partial(plain_prefill_rate, model, vocab)))
    rows.append((name, torch_runner, "tokens/s", mine, partial(prefill_rate, other, vocab)))
    turns = partial(turns_rate, ours, vocab)
    rows.append((f"{TURNS} turns that append", "engine, nothing reused", "turns/s", partial(turns, reuse=True),
                 partial(turns, reuse=False)))  # fmt: skip
    return rows


def measure(repeats: int, threads: int | None) -> list[Row]:
    model = Decoder(preset("nano"))
    with Engine(model, threads=threads) as ours, Engine(model, threads=threads, runner="torch") as other:
        print(f"runner: {ours.runner}; nano, {threads or 'all'} threads, median of {repeats} alternating runs")
        return [paired(name, unit, mine, peer, peer_name, repeats)
                for name, peer_name, unit, mine, peer in comparisons(model, ours, other)]  # fmt: skip


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--repeats", type=int, default=5)
    options_of.add_argument("--threads", type=int, default=None)
    options = options_of.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    random.seed(0)
    finish(measure(options.repeats, options.threads), options.json)


if __name__ == "__main__":
    main()
