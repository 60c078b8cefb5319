"""Records sessions of the harness for `agent_replay.py`: scripted experts on training tasks, token by token.

An expert in the style "recover" reads, makes wrong edits, takes them back when the tests say so, and mends the bug; the
harness, its tools, its tests and the ids are the real ones. What is kept are sessions of at least `--turns` answers,
each as [new ids of the prompt, ids of the answer] for every turn, in the ids of nano-base's tokenizer.

    python benchmarks/record_sessions.py [--sessions 24] [--turns 4] [--out benchmarks/agent_sessions.json.gz]
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from itertools import groupby
from pathlib import Path

from vivace.core.errors import BadInput
from vivace.core.files import atomic_write_bytes
from vivace.core.types import Segment
from vivace.harness.loop import Limits
from vivace.sandbox import open_sandbox
from vivace.tasks.attempt import Player
from vivace.tasks.experts import expert_client
from vivace.tasks.layers import build_layers
from vivace.tasks.registry import read_tasks
from vivace.tasks.sources import load_manifest
from vivace.text.chat import Renderer
from vivace.text.tokenizer import Tokenizer

ROOT = Path(__file__).parents[1]
GENEROUS = Limits(max_turns=24, max_output_tokens=4096, max_turn_tokens=1024, max_context=1 << 20, max_test_runs=24)


def turns_of(segment: Segment) -> list[list[list[int]]]:
    """[new prompt ids, answer ids] of each turn; results after the last answer are left out."""
    marked = zip(segment.mask, segment.ids)
    parts = [[token for _, token in run] for _, run in groupby(marked, key=lambda pair: pair[0])]
    return [parts[n : n + 2] for n in range(0, len(parts) - 1, 2)]


def record(count: int, least: int, model: Path) -> list[dict[str, object]]:
    tasks = read_tasks(ROOT / "recipes" / "tasks" / "train.jsonl")
    random.Random(0).shuffle(tasks)
    pins = load_manifest(ROOT / "recipes" / "packages.toml")
    renderer, sessions = Renderer(Tokenizer.load(model)), []
    envs = sorted({task.env for task in tasks})[:6]
    layers = build_layers(pins, [pins.by_env(env) for env in envs])
    share = -(-count // len(envs))
    with Player(layers, open_sandbox(), GENEROUS, profile="copilot") as player:
        for env in envs:
            kept = 0
            for task in (task for task in tasks if task.env == env):
                if kept == share or len(sessions) == count:
                    break
                try:
                    trajectory = player.play(task, expert_client(task, layers[env], renderer, "recover", 0), 0)
                except BadInput:
                    continue
                turns = turns_of(trajectory.segments[0])
                if len(turns) >= least and len(trajectory.segments) == 1 and trajectory.tests_at_end == "passed":
                    sessions.append({"task": task.id, "licence": task.licence, "turns": turns})
                    kept += 1
                    print(f"{len(sessions)}: {task.id}, {len(turns)} turns, {len(trajectory.segments[0].ids)} tokens",
                          flush=True)  # fmt: skip
    return sessions


def main() -> None:
    options_of = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options_of.add_argument("--sessions", type=int, default=24)
    options_of.add_argument("--turns", type=int, default=4)
    options_of.add_argument("--model", type=Path, default=ROOT / "models" / "nano-base")
    options_of.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "agent_sessions.json.gz")
    options = options_of.parse_args()
    sessions = record(options.sessions, options.turns, options.model)
    data = json.dumps(sessions, separators=(",", ":")).encode()
    atomic_write_bytes(options.out, gzip.compress(data, mtime=0))


if __name__ == "__main__":
    main()
