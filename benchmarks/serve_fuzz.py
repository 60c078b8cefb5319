"""Random ids through the reader of answers, against the renderer; random and damaged JSON through the request parsers.

Every input has a seed of its own. With --state FILE a run that was ended goes on where it was.

    python benchmarks/serve_fuzz.py [--inputs 20000] [--model models/nano-base]      (1000000 for the long run)
    python benchmarks/serve_fuzz.py --inputs 1000000 --state fuzz.json
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import resource
import time
from pathlib import Path
from typing import Any

from vivace.core.files import read_json, write_json
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

CALL = {"id": "call_1", "type": "function", "function": {"name": "read", "arguments": '{"path": "a.py"}'}}
TOOL = {"name": "read", "description": "d", "parameters": {"type": "object",
        "properties": {"path": {"type": "string"}}}}  # fmt: skip
TURNS: list[Any] = [
    {"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "hi"}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "x"}, {"role": "user", "content": "go on"},
]  # fmt: skip
GOOD: tuple[dict[str, Any], ...] = (
    {"model": "m", "messages": TURNS, "tools": [{"type": "function", "function": TOOL}], "tool_choice": "auto",
     "stop": ["a", "b"], "stream": True, "stream_options": {"include_usage": True}, "logit_bias": {"5": 1.5},
     "logprobs": True, "top_logprobs": 3, "n": 2, "temperature": 0.5, "response_format": {"type": "text"}},
    {"model": "m", "prompt": "def f(", "suffix": ")", "max_tokens": 5, "options": {"num_predict": 3, "stop": ["x"]}},
    {"model": "m", "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
     {"type": "function_call", "call_id": "c", "name": "read", "arguments": "{}"},
     {"type": "function_call_output", "call_id": "c", "output": "x"}], "tools": [{"type": "function", **TOOL}],
     "text": {"format": {"type": "text"}}, "reasoning": {"effort": "low"}, "instructions": "i"},
    {"model": "m", "max_tokens": 9, "system": "s", "tools": [{"name": "read", "input_schema": TOOL["parameters"]}],
     "messages": [{"role": "user", "content": [{"type": "text", "text": "t"}]},
      {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "read", "input": {"path": "p"}}]},
      {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}]},
)  # fmt: skip


def value(rng: random.Random, depth: int) -> Any:
    kind = rng.random()
    if depth == 0 or kind < 0.4:
        return rng.choice(LEAVES)
    if kind < 0.7:
        return [value(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    return {rng.choice(KEYS): value(rng, depth - 1) for _ in range(rng.randint(0, 4))}


def damaged(rng: random.Random) -> dict[str, Any]:
    """A good request, of which some places hold something else."""
    body = copy.deepcopy(rng.choice(GOOD))
    for _ in range(rng.randint(0, 3)):
        place: Any = body
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = rng.choice(keys)
            if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
                place = place[key]
                continue
            if rng.random() < 0.3:
                del place[key]
            else:
                place[key] = value(rng, 2)
            break
        if not body:
            break
    return body


def request(rng: random.Random) -> None:
    """Refused with a 400 or read; anything else is an exception, and ends the run."""
    body = damaged(rng)
    if rng.random() < 0.3:
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


def fuzz(numbers: range, seed: int, renderer: Renderer, state: Path | None) -> None:
    marks = [renderer.tokenizer.special[name] for name in ("<|call|>", "<|arg|>", "<|value|>", "<|user|>")]
    for number in numbers:
        rng = random.Random(f"{seed}/{number}")
        try:
            if number % 2:
                request(rng)
            else:
                answer(rng, renderer, marks)
        except BaseException:
            print(f"input {number} of seed {seed}")
            raise
        if state and (number + 1) % 5000 == 0:
            write_json(state, {"seed": seed, "inputs": number + 1})


def main() -> None:
    options_of = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options_of.add_argument("--inputs", type=int, default=20_000)
    options_of.add_argument("--seed", type=int, default=0)
    options_of.add_argument("--state", type=Path, default=None, help="where to keep how far the run came")
    options_of.add_argument("--json", type=Path, default=None)
    options_of.add_argument("--model", type=Path, default=Path(__file__).parents[1] / "models" / "nano-base")
    options = options_of.parse_args()
    first = 0
    if options.state and options.state.exists():
        kept = read_json(options.state, "delete it to start over")
        first = kept["inputs"] if kept["seed"] == options.seed else 0
    start = time.perf_counter()
    fuzz(range(first, options.inputs), options.seed, Renderer(Tokenizer.load(options.model)), options.state)
    seconds = round(time.perf_counter() - start, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"inputs {first:,} to {options.inputs:,}: no crash, no difference, {seconds} s, {peak} MiB at most")
    if options.json:
        write_json(options.json, [{"inputs": options.inputs, "seconds": seconds, "peak_mib": peak}])


if __name__ == "__main__":
    main()
