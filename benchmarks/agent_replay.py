"""Recorded sessions of the harness, replayed to the end: ours beside llama.cpp with the same weights (Qwen3-MoE, 179M).

The weights are random, so what is drawn is put in place of what would be: both engines compute every token of the
recorded answers, and guess and verify as they do, but the token that comes out is the recorded one. So the work is that
of the real session. Ours goes through the whole engine (scheduler, sampler, prefix cache, speculation, a watcher that
shapes the logits). llama.cpp goes through its C API, without sampler or server, which is in its favour: what a prompt
has in common with the one before stays in its cache, as in its server; with and without prompt lookup (that of the
llama-cpp-python package, 10 tokens). Its own Python class and server were not used: with lookup they compute logits for
every token of a prompt.

Sessions one after the other, turn by turn, as one agent at a time has them; engines take turns session by session; each
session's ratio is that of its own pair, and what is printed is the ratio of the sums and the median of sessions.

    python benchmarks/agent_replay.py [--threads 1] [--peers q4_0,q8_0] [--sessions 24] [--json rows.json]

The peer is got as for `engine_peers.py`; the sessions were recorded by `record_sessions.py`.
"""

from __future__ import annotations

import gzip
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from gguf_export import LlamaCpp, random_model, write_gguf
from rows import Row, finish, parser, row
from vivace.core.types import Sampling
from vivace.engine import Engine
from vivace.engine.packing import WeightFormat, weight_format
from vivace.model import Decoder

SESSIONS = Path(__file__).with_name("agent_sessions.json.gz")
FORCED = np.float32(1e9)

Turn = tuple[list[int], list[int]]
"""New ids of the prompt, ids of the answer."""


class Tally(NamedTuple):
    """One session: wall and processor seconds; tokens of prompts, of these cached; tokens answered, decoding steps."""

    wall: float
    busy: float
    prompt: int
    cached: int
    answer: int
    steps: int


class Script:
    """Implements `scheduler.Watcher`: the recorded answer is what is drawn."""

    def __init__(self, answer: Sequence[int]) -> None:
        self._answer, self._at = answer, 0

    def shape(self, logits_V: NDArray[np.float32]) -> NDArray[np.float32]:
        shaped_V = logits_V.copy()
        shaped_V[self._answer[self._at]] = FORCED
        return shaped_V

    def drawn(self, token: int, logprob: float, logits_V: NDArray[np.float32]) -> None:
        self._at += 1


class Ours:
    def __init__(self, model: Decoder, weights: WeightFormat, threads: int, longest: int, *, speculate: bool) -> None:
        self._engine = Engine(model, max_slots=1, max_len=longest, threads=threads, weights=weights,
                              speculate=speculate)  # fmt: skip

    def play(self, turns: Sequence[Turn]) -> Tally:
        ids: list[int] = []
        prompt = cached = answered = steps = 0
        wall, busy = time.perf_counter(), time.process_time()
        for new, answer in turns:
            ids += new
            wish = Sampling(temperature=0, max_tokens=len(answer))
            got = self._engine.submit(ids, wish, watcher=Script(answer)).result()
            if got.ids != answer:
                raise SystemExit("the recorded answer did not come out")
            prompt, cached = prompt + len(ids), cached + got.cached_tokens
            answered, steps = answered + len(answer), steps + len(answer) - got.accepted_tokens
            ids += answer
        return Tally(time.perf_counter() - wall, time.process_time() - busy, prompt, cached, answered, steps)


class Llama:
    """One sequence whose common prefix with the next prompt is kept; with `lookup`, guesses of up to ten tokens by the
    package's own prompt lookup, of which those that the script confirms are kept."""

    def __init__(self, path: Path, vocab: int, threads: int, longest: int, *, lookup: bool) -> None:
        from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

        self._peer = LlamaCpp(path, vocab, slots=1, context=longest, threads=threads)
        self._lookup = LlamaPromptLookupDecoding(num_pred_tokens=10) if lookup else None
        self._held: list[int] = []

    def play(self, turns: Sequence[Turn]) -> Tally:
        ids: list[int] = []
        prompt = cached = answered = steps = 0
        wall, busy = time.perf_counter(), time.process_time()
        for new, answer in turns:
            ids += new
            kept = self._read(ids)
            steps += 1 + self._write(ids, answer)
            prompt, cached, answered = prompt + len(ids) - len(answer), cached + kept, answered + len(answer)
        return Tally(time.perf_counter() - wall, time.process_time() - busy, prompt, cached, answered, steps)

    def _read(self, ids: Sequence[int]) -> int:
        """Have the prompt in the cache; returns how much of it was."""
        agree = (n for n, (one, other) in enumerate(zip(self._held, ids)) if one != other)
        kept = min(next(agree, min(len(self._held), len(ids))), len(ids) - 1)
        self._peer.forget(kept)
        for start in range(kept, len(ids), 512):
            self._peer.extend(start, list(ids[start : start + 512]), int(start + 512 >= len(ids)))
        return kept

    def _write(self, ids: list[int], answer: Sequence[int]) -> int:
        """The answer's tokens go into `ids`; returns the steps that took after the prompt's own."""
        steps, end = 0, len(ids) + len(answer)
        ids.append(answer[0])
        first = end - len(answer)
        while len(ids) < end:
            draft = self._lookup(np.array(ids, dtype=np.intc)).tolist() if self._lookup else []
            draft = draft[: end - len(ids)]
            self._peer.extend(len(ids) - 1, [ids[-1], *draft], 1 + len(draft))
            steps, at = steps + 1, len(ids) - first
            held = next((n for n, guess in enumerate(draft) if guess != answer[at + n]), len(draft))
            ids += answer[at : at + held + 1]
            self._peer.forget(len(ids) - 1)
        self._held = ids[:-1]
        return steps


class Player(Protocol):
    def play(self, turns: Sequence[Turn]) -> Tally: ...


def compare(players: dict[str, Player], sessions: Sequence[Sequence[Turn]]) -> dict[str, list[Tally]]:
    """Session by session, each by every engine; who begins changes from session to session."""
    tallies: dict[str, list[Tally]] = {name: [] for name in players}
    order = list(players)
    for number, turns in enumerate(sessions):
        for name in order[number % len(order) :] + order[: number % len(order)]:
            tallies[name].append(players[name].play(turns))
        seconds = {name: round(done[-1].wall, 2) for name, done in tallies.items()}
        print(f"session {number + 1}: {seconds}", flush=True)
    return tallies


def as_rows(tallies: dict[str, list[Tally]], ours: str) -> list[Row]:
    rows = []
    mine = tallies[ours]
    for name, theirs in tallies.items():
        for what, unit, value in (("wall time", "s", lambda t: t.wall), ("processor time", "s", lambda t: t.busy)):
            pairs = statistics.median(value(a) / value(b) for a, b in zip(mine, theirs))
            if name != ours:
                rows.append(row(f"{what}, all sessions", sum(map(value, mine)), sum(map(value, theirs)), name, unit))
                rows.append(row(f"{what}, median of sessions", statistics.median(map(value, mine)),
                                statistics.median(map(value, theirs)), name, unit, pairs))  # fmt: skip
        cached, prompt, answer, steps = (sum(getattr(t, field) for t in theirs)
                                         for field in ("cached", "prompt", "answer", "steps"))  # fmt: skip
        print(f"{name}: {cached / prompt:.1%} of prompt tokens cached, {answer / steps:.2f} tokens a decoding step")
    return rows


@torch.inference_mode()
def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--threads", type=int, default=1)
    options_of.add_argument("--peers", default="q4_0,q8_0")
    options_of.add_argument("--weights", default="int8")
    options_of.add_argument("--sessions", type=int, default=1000)
    options_of.add_argument("--without", action="store_true", help="also ours without guesses")
    options = options_of.parse_args()
    torch.set_num_threads(1)
    sessions = [one["turns"] for one in json.loads(gzip.decompress(SESSIONS.read_bytes()))]
    sessions = sessions[:: max(1, len(sessions) // options.sessions)][: options.sessions]
    longest = max(sum(len(new) + len(answer) for new, answer in turns) for turns in sessions) + 32
    size = sum(len(new) + len(answer) for turns in sessions for new, answer in turns)
    print(f"{len(sessions)} sessions, in the mean {statistics.mean(map(len, sessions)):.1f} turns and "
          f"{size / len(sessions):,.0f} tokens; {sum(len(b) for one in sessions for _, b in one):,} tokens answered")
    model = random_model(positions=longest)
    ours = f"ours {options.weights}"
    players: dict[str, Player] = {
        ours: Ours(model, weight_format(options.weights), options.threads, longest, speculate=True)}
    if options.without:
        players[f"{ours}, no guesses"] = Ours(model, weight_format(options.weights), options.threads, longest,
                                              speculate=False)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.peers.split(","):
            path = Path(folder) / f"{kind}.gguf"
            write_gguf(model, path, kind)
            for lookup in (False, True):
                name = f"llama.cpp {kind}{', lookup' * lookup}"
                players[name] = Llama(path, model.config.vocab_size, options.threads, longest, lookup=lookup)
        finish(as_rows(compare(players, sessions), ours), options.json)


if __name__ == "__main__":
    main()
