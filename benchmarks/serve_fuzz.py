"""Random ids through the reader of answers, against the renderer; random JSON through the request parsers.

    python benchmarks/serve_fuzz.py [--inputs 20000] [--model models/nano-base]      (1000000 for the long run)
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

from vivace.serve.errors import ApiError
from vivace.serve.parse_openai import parse_chat, parse_completion, parse_response
from vivace.serve.parse_others import parse_anthropic, parse_ollama_chat, parse_ollama_generate
from vivace.serve.writing import AnswerWriter
from vivace.text.chat import Renderer
from vivace.text.tokenizer import Tokenizer

PARSERS = (parse_chat, parse_completion, parse_response, parse_anthropic, parse_ollama_chat, parse_ollama_generate)
KEYS = ("messages", "role", "content", "type", "text", "tools", "function", "name", "arguments", "tool_calls", "stop",
        "parameters", "id", "input", "prompt", "suffix", "n", "seed", "temperature", "logit_bias", "options", "system",
        "tool_choice", "max_tokens", "thinking", "reasoning", "stream_options")  # fmt: skip
LEAVES: tuple[Any, ...] = (None, True, 0, -1, 1.5, 2**70, "", "user", "assistant", "tool", "function", "{", "\x00", "é")


def value(rng: random.Random, depth: int) -> Any:
    kind = rng.random()
    if depth == 0 or kind < 0.4:
        return rng.choice(LEAVES)
    if kind < 0.7:
        return [value(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    return {rng.choice(KEYS): value(rng, depth - 1) for _ in range(rng.randint(0, 4))}


def request(rng: random.Random) -> None:
    """Refused with a 400 or read; anything else is an exception, and ends the run."""
    body = {rng.choice(KEYS): value(rng, 4) for _ in range(rng.randint(0, 8))}
    try:
        rng.choice(PARSERS)(body, "m")
    except ApiError as error:
        if error.status != 400:
            raise


def answer(rng: random.Random, renderer: Renderer, marks: list[int]) -> None:
    """What is read while it is written is what is read whole."""
    vocab = renderer.tokenizer.vocab_size
    ids = [rng.choice(marks) if rng.random() < 0.25 else rng.randrange(vocab) for _ in range(rng.randint(0, 60))]
    ids = [token for token in ids if token != renderer.end]
    writer = AnswerWriter(renderer.tokenizer, ())
    for token in ids:
        writer.feed(token)
    writer.finish()
    got, want = writer.message, renderer.parse(ids)
    if (got.content, [(c.name, c.arguments) for c in got.tool_calls]) != (
            want.content, [(c.name, c.arguments) for c in want.tool_calls]):  # fmt: skip
        raise SystemExit(f"differs: {json.dumps(ids)}")


def main() -> None:
    options_of = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options_of.add_argument("--inputs", type=int, default=20_000)
    options_of.add_argument("--seed", type=int, default=0)
    options_of.add_argument("--json", type=Path, default=None)
    options_of.add_argument("--model", type=Path, default=Path(__file__).parents[1] / "models" / "nano-base")
    options = options_of.parse_args()
    rng, renderer = random.Random(options.seed), Renderer(Tokenizer.load(options.model))
    marks = [renderer.tokenizer.special[name] for name in ("<|call|>", "<|arg|>", "<|value|>", "<|user|>")]
    start = time.perf_counter()
    for number in range(options.inputs):
        if number % 2:
            request(rng)
        else:
            answer(rng, renderer, marks)
    seconds = round(time.perf_counter() - start, 1)
    print(f"{options.inputs:,} inputs, no crash, no difference, {seconds} s")
    if options.json:
        options.json.write_text(json.dumps([{"inputs": options.inputs, "seconds": seconds}]))


if __name__ == "__main__":
    main()
