"""The engine with guesses beside itself without: tokens per second on text that repeats, and on text that does not.

Alternating runs of nano-base (greedy, so both write the same), medians of the pairs. "repeats": the model is given a
function twice over and goes on copying it; "new": an ordinary opening of a file.

    python benchmarks/speculation.py [--repeats 5] [--threads N] [--json rows.json]
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from rows import Row, finish, paired, parser
from vivace.core.types import Sampling
from vivace.engine import NativeClient, load_client

MODEL = Path(__file__).parents[1] / "models" / "nano-base"
FUNCTION = """def clamp(value, low, high):
    if value < low:
        return low
    if value > high:
        return high
    return value


"""
TEXTS = {"repeats": FUNCTION * 3, "new": "import json\n\n\nclass Reader:\n    def __init__(self, path):\n"}
TOKENS = 96


def rate(client: NativeClient, text: str) -> float:
    ids = [client.codec.bos, *client.codec.tokenizer.encode(text)]
    start = time.perf_counter()
    answer = client.engine.generate(ids, Sampling(temperature=0, max_tokens=TOKENS))
    return len(answer.ids) / (time.perf_counter() - start)


def measure(repeats: int, threads: int | None) -> list[Row]:
    plain, guessing = (load_client(MODEL, max_slots=1, threads=threads, speculate=on) for on in (False, True))
    rows: list[Row] = []
    for name, text in TEXTS.items():
        before = (guessing.engine.stats.drafted_tokens, guessing.engine.stats.accepted_tokens)
        rows.append(paired(f"{name}, 1 stream", "tokens/s", partial(rate, guessing, text), partial(rate, plain, text),
                           "no guesses", repeats))  # fmt: skip
        drafted, accepted = (now - then for now, then in zip(
            (guessing.engine.stats.drafted_tokens, guessing.engine.stats.accepted_tokens), before))  # fmt: skip
        print(f"{name}: {accepted} of {drafted} guesses held; one token more costs "
              f"{guessing.engine._scheduler.costs.each(1):.2f} of a step")  # fmt: skip
    plain.close()
    guessing.close()
    return rows


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--repeats", type=int, default=5)
    options_of.add_argument("--threads", type=int, default=None)
    options = options_of.parse_args()
    finish(measure(options.repeats, options.threads), options.json)


if __name__ == "__main__":
    main()
