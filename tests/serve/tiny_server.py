"""A real server in a thread, on a free port, with a tiny random model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
from tiny_decoder import tiny

from vivace.engine import Engine
from vivace.serve.app import create_app
from vivace.serve.gateway import Gateway
from vivace.serve.limits import Keys
from vivace.serve.native import NativeTarget
from vivace.serve.server import serving
from vivace.text.chat import Renderer
from vivace.text.tokenizer import Tokenizer, train_tokenizer

CONTEXT = 512
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "grep_search", "description": "Search.", "parameters": {
        "type": "object", "required": ["query"], "properties": {
            "query": {"type": "string"}, "maxResults": {"type": "integer"}, "isRegexp": {"type": "boolean"}}}}},
    {"type": "function", "function": {"name": "grep", "parameters": {
        "type": "object", "properties": {"mode": {"enum": ["fast", "fastest", "slow"]}}}}},
    {"type": "function", "function": {"name": "runTests"}},
]  # fmt: skip


def tiny_tokenizer() -> Tokenizer:
    text = ["def f(x):\n    return x + 1  # größer, 日本語 🙂\n",
            "grep_search query maxResults isRegexp runTests mode fast"]  # fmt: skip
    return train_tokenizer(text * 40, 400)


def tiny_target(name: str = "tiny", seed: int = 0, *, speculate: bool = True, **options: Any) -> NativeTarget:
    tokenizer = tiny_tokenizer()
    model = tiny(seed, vocab_size=tokenizer.vocab_size, max_position_embeddings=CONTEXT)
    engine = Engine(model, max_slots=8, threads=1, speculate=speculate)
    return NativeTarget(name, engine, Renderer(tokenizer), **options)


@contextmanager
def running(gate: Gateway, keys: Keys | None = None, **options: Any) -> Iterator[str]:
    with serving(create_app(gate, keys, **options), gate) as url:
        yield url
