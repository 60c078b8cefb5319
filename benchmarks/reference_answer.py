"""How likely a model finds the reference answer at once: a quieter measure of progress than attempts.

For every one-bug task the expert's first answer (an edit and `runTests`), as the harness records it, is scored by each
checkpoint after the same prompt: its probability at the given temperature, and that of its beginning up to the new text
(the right place is found). Percent, mean over tasks; the difference to the first checkpoint is paired, with its 95%
interval. Other edits may solve a task too, so this is a lower bound of what single answers solve.

    python benchmarks/reference_answer.py runs/demo/sft/model runs/demo/mid2-b/model runs/demo/rl/model \\
        [--tasks recipes/tasks/eval.jsonl] [--most 96] [--temperature 0.3] [--json rows.json]
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch

from rows import Row, finish, parser, row
from vivace.core.crew import cores
from vivace.core.errors import BadInput
from vivace.core.types import Task
from vivace.evals.stats import mean_interval
from vivace.harness.loop import Limits
from vivace.model.checkpoint import load_checkpoint
from vivace.sandbox import open_sandbox
from vivace.tasks.attempt import Player
from vivace.tasks.experts import expert_client
from vivace.tasks.layers import build_layers
from vivace.tasks.registry import read_tasks
from vivace.tasks.sources import load_manifest
from vivace.text.chat import Renderer
from vivace.text.tokenizer import Tokenizer

ONE_ANSWER = Limits(max_turns=1, max_output_tokens=4096, max_turn_tokens=4096, max_context=1 << 20, max_test_runs=1)
NEW_TEXT = 2  # of the values of `replace_string_in_file`, counted from 0


class Answer(NamedTuple):
    """A prompt with its reference answer: ids[start:] is the answer, ids[start:place] its part up to the new text."""

    ids: list[int]
    start: int
    place: int


def reference_answers(tasks: Sequence[Task], manifest: Path, tokenizer: Tokenizer) -> list[Answer]:
    pins = load_manifest(manifest)
    layers = build_layers(pins, [pins.by_env(env) for env in sorted({task.env for task in tasks})])
    renderer, value = Renderer(tokenizer), tokenizer.special["<|value|>"]
    with Player(layers, open_sandbox(), ONE_ANSWER) as player, ThreadPoolExecutor(2 * cores()) as pool:

        def play(task: Task) -> Answer | None:
            client = expert_client(task, layers[task.env], renderer, "direct", 0)
            segment = player.play(task, client, 0).segments[0]
            start = segment.mask.index(True)
            end = next((n for n in range(start, len(segment.mask)) if not segment.mask[n]), len(segment.mask))
            values = [n for n in range(start, end) if segment.ids[n] == value]
            return Answer(segment.ids[:end], start, values[NEW_TEXT]) if len(values) > NEW_TEXT else None

        return [answer for answer in pool.map(play, tasks) if answer is not None]


@torch.no_grad()
def probabilities(checkpoint: Path, answers: Sequence[Answer], temperature: float) -> tuple[list[float], list[float]]:
    """(of the answers, of their beginnings), each from 0 to 1."""
    model, _ = load_checkpoint(checkpoint)
    whole, place = [], []
    for ids, start, end in answers:
        ids_L = torch.tensor(ids)
        logits_LV = model(ids_L[None])[0].float() / temperature
        logprobs_L = torch.log_softmax(logits_LV, -1)[torch.arange(start - 1, len(ids) - 1), ids_L[start:]]
        whole.append(logprobs_L.sum().exp().item())
        place.append(logprobs_L[: end - start].sum().exp().item())
    return whole, place


def measure(checkpoints: Sequence[Path], answers: Sequence[Answer], temperature: float) -> list[Row]:
    found = [probabilities(checkpoint, answers, temperature) for checkpoint in checkpoints]
    rows: list[Row] = []
    for checkpoint, values in zip(checkpoints, found, strict=True):
        for what, mine, first in zip(("answer", "place"), values, found[0], strict=True):
            gain = mean_interval([100 * (a - b) for a, b in zip(mine, first, strict=True)])
            low, high = gain.ci95
            name = f"{checkpoint}: {what}, {gain.value:+.2f} [{low:+.2f}, {high:+.2f}]"
            rows.append(row(name, 100 * sum(mine) / len(mine), 100 * sum(first) / len(first), str(checkpoints[0]), "%"))
    return rows


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("checkpoints", type=Path, nargs="*", default=[Path("models/nano-base")])
    options_of.add_argument("--tasks", type=Path, default=Path("recipes/tasks/eval.jsonl"))
    options_of.add_argument("--manifest", type=Path, default=Path("recipes/packages.toml"))
    options_of.add_argument("--most", type=int, default=96)
    options_of.add_argument("--temperature", type=float, default=0.3)
    options = options_of.parse_args()
    tokenizers = [Tokenizer.load(checkpoint) for checkpoint in options.checkpoints]
    if len({one.inner.to_str() for one in tokenizers}) > 1:
        raise BadInput("these checkpoints have different tokenizers; their probabilities cannot be compared")
    tasks = [task for task in read_tasks(options.tasks) if task.stage == "simple"][: options.most]
    answers = reference_answers(tasks, options.manifest, tokenizers[0])
    finish(measure(options.checkpoints, answers, options.temperature), options.json)


if __name__ == "__main__":
    main()
