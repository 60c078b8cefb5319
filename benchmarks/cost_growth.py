"""What a context and what a stream more costs: time and memory against 1K to 256K tokens, and against 1 to 64 streams.

The nano preset with random weights, its window layers keeping their window; beside it the same model in which every
layer keeps and sees everything. What stands before a step is random keys and values, not computed ones: the cost of a
step depends on how many there are alone. Times are medians of steps that alternate between the two, processor time on
one thread; memory is that of the blocks in use.

    python benchmarks/cost_growth.py [--longest 262144] [--steps 5] [--svg docs/cost_growth.svg] [--json rows.json]
"""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import torch

from plot import Chart, Line, write_svg
from rows import Row, finish, parser, row
from vivace.engine.blocks import BLOCK
from vivace.engine.cache import PagedCache
from vivace.engine.cpu_runner import CpuRunner, library
from vivace.engine.memory import MIB
from vivace.engine.runner import Piece
from vivace.model import Decoder, preset

CHUNK = 512  # tokens that are put in at a time
READ = 128  # tokens of a prompt that are read
STREAM_CONTEXT = 1024
WINDOWS, EVERYTHING = "window layers", "every layer sees everything"


class Cost(NamedTuple):
    """Milliseconds of a token drawn, of READ tokens read; MiB of keys and values."""

    draw: float
    read: float
    cache: float


class Subject:
    """A model whose streams have so many tokens behind them."""

    def __init__(self, kinds: list[str], streams: int, context: int) -> None:
        compiled = library()
        if isinstance(compiled, str):
            raise SystemExit(compiled)
        room = context + CHUNK
        config = preset("nano").model_copy(update={"layer_types": kinds, "max_position_embeddings": room})
        self._cache = PagedCache(config, streams, room)
        for slot in range(streams):
            self._fill(slot, context)
        self.cache_mib = self._cache.bytes_touched / MIB
        model = Decoder(config)
        self._runner = CpuRunner(config, model.state_dict(), self._cache, compiled, 1)
        self._streams, self._context, self._vocab = streams, context, config.vocab_size

    def _fill(self, slot: int, context: int) -> None:
        ids, past = [0] * CHUNK, torch.randn(CHUNK // BLOCK, *self._cache.keys[0].shape[1:])
        for start in range(0, context, CHUNK):
            if not self._cache.reserve(slot, start + CHUNK):
                raise SystemExit("the cache is too small for this")
            for kind, *stores in zip(self._cache.kinds, self._cache.keys, self._cache.values):
                blocks = self._cache.tables[kind, slot, start // BLOCK : (start + CHUNK) // BLOCK].tolist()
                for store in stores:
                    store[blocks] = past
            self._cache.written(slot, start, ids)

    def draw(self) -> float:
        """Milliseconds of one token more of each stream."""
        return self._timed([Piece(slot, self._context, [self._token()]) for slot in range(self._streams)])

    def read(self) -> float:
        return self._timed([Piece(0, self._context, [self._token() for _ in range(READ)])])

    def _token(self) -> int:
        return random.randrange(self._vocab)

    def _timed(self, pieces: list[Piece]) -> float:
        start = time.process_time()
        self._runner.step(pieces, range(len(pieces)))
        return (time.process_time() - start) * 1000


def costs(streams: int, context: int, steps: int) -> tuple[Cost, Cost]:
    """Of the model with windows, and of the one without."""
    ours = list(preset("nano").layer_types)
    subjects = [Subject(kinds, streams, context) for kinds in (ours, ["full_attention"] * len(ours))]
    for subject in subjects:
        subject.draw()
    draws = [[subject.draw() for subject in subjects] for _ in range(steps)]
    reads = [[subject.read() for subject in subjects] for _ in range(max(1, steps // 2))]
    first, second = (
        Cost(statistics.median(one), statistics.median(other), subject.cache_mib)
        for one, other, subject in zip(zip(*draws), zip(*reads), subjects))  # fmt: skip
    return first, second


def as_rows(what: str, pair: tuple[Cost, Cost], *, reading: bool) -> list[Row]:
    ours, peer = pair
    named = [("a token of each", ours.draw, peer.draw, "ms"), (f"reading {READ} tokens", ours.read, peer.read, "ms"),
             ("keys and values", ours.cache, peer.cache, "MiB")]
    return [row(f"{what}, {name}", one, other, EVERYTHING, unit)
            for name, one, other, unit in named if reading or not name.startswith("reading")]  # fmt: skip


def charts(by_context: dict[int, tuple[Cost, Cost]], by_streams: dict[int, tuple[Cost, Cost]]) -> list[Chart]:
    def lines(of: dict[int, tuple[Cost, Cost]], field: str) -> list[Line]:
        return [Line(name, [(at, getattr(pair[number], field)) for at, pair in of.items()])
                for number, name in enumerate((WINDOWS, EVERYTHING))]  # fmt: skip

    context, streams = "tokens of context", f"streams of {STREAM_CONTEXT} tokens"
    return [
        Chart("A token drawn", context, "ms", lines(by_context, "draw")),
        Chart(f"{READ} tokens read", context, "ms", lines(by_context, "read")),
        Chart("Keys and values", context, "MiB", lines(by_context, "cache")),
        Chart("A token of each stream", streams, "ms", lines(by_streams, "draw")),
        Chart("Keys and values", streams, "MiB", lines(by_streams, "cache")),
    ]


@torch.inference_mode()
def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--longest", type=int, default=262_144)
    options_of.add_argument("--most-streams", type=int, default=64)
    options_of.add_argument("--steps", type=int, default=5)
    options_of.add_argument("--svg", type=Path, default=None, help="also draw it")
    options = options_of.parse_args()
    random.seed(0)
    torch.manual_seed(0)
    rows, by_context, by_streams = [], {}, {}
    context = 1024
    while context <= options.longest:
        by_context[context] = costs(1, context, options.steps)
        rows += as_rows(f"{context // 1024}K tokens", by_context[context], reading=True)
        print(context, by_context[context], flush=True)
        context *= 4
    streams = 1
    while streams <= options.most_streams:
        by_streams[streams] = costs(streams, STREAM_CONTEXT, options.steps)
        rows += as_rows(f"{streams} stream{'s' * (streams > 1)} of 1K", by_streams[streams], reading=False)
        print(streams, by_streams[streams], flush=True)
        streams *= 2
    if options.svg:
        write_svg(options.svg, charts(by_context, by_streams))
    finish(rows, options.json)


if __name__ == "__main__":
    main()
