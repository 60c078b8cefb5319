"""A server under many clients at once, some of which hang up: errors, latencies, memory.

A tiny or given model is served by this process on a free port; each client holds a conversation that grows by
appending, asks for a stream, and now and then goes away in the middle or has the server compute for nobody. After one
and two thirds of the time the weights are swapped under way. At the end nothing may be left in work.

    python benchmarks/serve_load.py [--clients 64] [--seconds 20] [--ten-minutes] [--model models/nano-base] [--json F]
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import httpx
from rich.console import Console
from rich.table import Table

from rows import parser
from vivace.commands.serve import native
from vivace.core.files import write_json
from vivace.engine import Engine
from vivace.model.checkpoint import load_checkpoint
from vivace.serve.app import create_app
from vivace.serve.gateway import Gateway
from vivace.serve.native import NativeTarget
from vivace.serve.server import serving

WORDS = ("def", "class", "return", "import", "for", "while", "list", "value", "test", "parse", "read", "write", "path")
HANG_UP = 0.2
LONGEST_TALK = 6  # turns


@dataclass
class Seen:
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    tokens: int = 0
    hung_up: int = 0
    swaps: int = 0
    memory: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


async def client(number: int, url: str, until: float, seen: Seen) -> None:
    rng = random.Random(number)
    async with httpx.AsyncClient(base_url=url, timeout=120) as http:
        talk: list[dict[str, str]] = []
        while time.monotonic() < until:
            if len(talk) >= 2 * LONGEST_TALK:
                talk = []
            talk.append({"role": "user", "content": " ".join(rng.choices(WORDS, k=rng.randint(5, 40)))})
            said = await turn(http, talk, rng, seen)
            if said is None:
                talk.pop()
            else:
                talk.append({"role": "assistant", "content": said})


async def turn(http: httpx.AsyncClient, talk: list[dict[str, str]], rng: random.Random, seen: Seen) -> str | None:
    """One answer, or None when this client hung up."""
    leaves_after = rng.randint(1, 6) if rng.random() < HANG_UP else None
    body = {"messages": talk, "stream": True, "max_tokens": 24, "seed": rng.randrange(10**6),
            "stream_options": {"include_usage": True}}  # fmt: skip
    start, said, chunks = time.perf_counter(), "", 0
    try:
        async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            if answer.status_code != 200:
                seen.errors.append(f"{answer.status_code} {(await answer.aread())[:100]!r}")
                return None
            async for line in answer.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line[6:])
                if "error" in chunk:
                    seen.errors.append(str(chunk["error"]))
                chunks += 1
                if chunks == 1:
                    seen.first.append(time.perf_counter() - start)
                if leaves_after is not None and chunks >= leaves_after:
                    seen.hung_up += 1
                    return None
                for choice in chunk.get("choices", []):
                    said += choice["delta"].get("content") or ""
                if chunk.get("usage"):
                    seen.tokens += chunk["usage"]["completion_tokens"]
    except httpx.HTTPError as error:
        seen.errors.append(type(error).__name__)
        return None
    seen.whole.append(time.perf_counter() - start)
    return said


async def crowd(url: str, clients: int, seconds: float, swap: Callable[[], object]) -> Seen:
    seen = Seen()
    until = time.monotonic() + seconds

    async def watch() -> None:
        for _ in range(2):
            await asyncio.sleep(seconds / 3)
            seen.memory.append(memory_mib())
            await asyncio.to_thread(swap)
            seen.swaps += 1

    await asyncio.gather(watch(), *(client(number, url, until, seen) for number in range(clients)))
    seen.memory.append(memory_mib())
    return seen


def memory_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def quantiles(values: list[float]) -> tuple[float, float, float]:
    """p50, p95, p99 in ms."""
    cuts = statistics.quantiles(values, n=100, method="inclusive") if len(values) > 1 else [0.0] * 99
    return tuple(round(cuts[at] * 1000, 1) for at in (49, 94, 98))  # type: ignore[return-value]


def measure(model: Path, clients: int, seconds: float) -> dict[str, object]:
    target = native(model, max_slots=clients, max_len=1024)
    assert isinstance(target, NativeTarget)
    gate = Gateway({target.name: target})
    weights, _ = load_checkpoint(model)
    engine = cast(Engine, target.engine)

    def swap() -> int:
        return engine.update_weights(weights)

    with serving(create_app(gate), gate) as url:
        asyncio.run(crowd(url, clients, min(seconds / 2, 30), swap))  # fills slots and allocators
        before = memory_mib()
        start = time.perf_counter()
        seen = asyncio.run(crowd(url, clients, seconds, swap))
        took = time.perf_counter() - start
        deadline = time.monotonic() + 30
        while target.engine.load != (0, 0) and time.monotonic() < deadline:
            time.sleep(0.05)
        left, grown = sum(target.engine.load) + gate.active, memory_mib() - before
        prompt, cached = gate.metrics.total("prompt_tokens_total"), gate.metrics.total("cached_tokens_total")
    return {
        "clients": clients, "seconds": round(took, 1), "answers": len(seen.whole), "hung up": seen.hung_up,
        "errors": len(seen.errors), "left in work": left, "tokens/s": round(seen.tokens / took, 1),
        "cached prompt tokens": round(cached / max(prompt, 1), 3),
        "first token p50/p95/p99 ms": quantiles(seen.first), "answer p50/p95/p99 ms": quantiles(seen.whole),
        "weights swapped": seen.swaps, "memory MiB, by thirds": tuple(round(m, 1) for m in (before, *seen.memory)),
        "memory grown MiB": round(grown, 1), "first error": seen.errors[0] if seen.errors else "",
    }  # fmt: skip


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--clients", type=int, default=64)
    options_of.add_argument("--seconds", type=float, default=20)
    options_of.add_argument("--ten-minutes", action="store_true")
    options_of.add_argument("--model", type=Path, default=Path(__file__).parents[1] / "models" / "nano-base")
    options = options_of.parse_args()
    row = measure(options.model, options.clients, 600 if options.ten_minutes else options.seconds)
    table = Table("", "measured")
    for name, value in row.items():
        table.add_row(name, " / ".join(map(str, value)) if isinstance(value, tuple) else str(value))
    Console().print(table)
    if options.json:
        write_json(options.json, [row])


if __name__ == "__main__":
    main()
