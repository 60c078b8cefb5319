"""Seconds of one group's policy-gradient pass (nano, one core): common starts run once, against padded rows.

    python benchmarks/rl_update.py [--json PATH]

The peer is the usual way: every rollout is a padded row with its own copy of the prompt. Both compute logits for
sampled tokens only, and their gradients are compared. Half of the rollouts agree on their first two turns.
"""

from __future__ import annotations

import random
import time
from functools import partial

import torch
from torch import Tensor

from rows import finish, parser, row
from vivace.core.types import Attempt, Grade, Segment, Trajectory
from vivace.model.decoder import Decoder
from vivace.model.presets import preset
from vivace.rl.batch import MicroBatch, collate, group_rows, micro_batches
from vivace.rl.config import RLConfig
from vivace.rl.update import gradients
from vivace.train.workers import Workers

SHAPES = {"prompt 150, rest 400": (150, 400), "prompt 300, rest 800": (300, 800)}
GROUP, TURNS, REPEATS = 8, 4, 3


def make_group(prompt: int, rest: int, vocab: int, rng: random.Random) -> list[Attempt]:
    """Eight rollouts of four uneven turns, a quarter of each sampled."""

    def turn() -> tuple[list[int], list[int]]:
        size = round(rest / TURNS * rng.uniform(0.6, 1.4))
        return [rng.randrange(vocab) for _ in range(size)], [1] * (size // 4) + [0] * (size - size // 4)

    start = [rng.randrange(vocab) for _ in range(prompt)]
    usual = [turn(), turn()]
    group = []
    for number in range(GROUP):
        ids, mask = list(start), [0] * prompt
        for more_ids, more_mask in [*(usual if number % 2 else [turn(), turn()]), turn(), turn()]:
            ids += more_ids
            mask += more_mask
        segment = Segment(ids=ids, mask=mask, logprobs=[-8.3 * m for m in mask], turns=[-1] * len(ids))
        group.append(Attempt(task_id="t", repo="r", trajectory=Trajectory(task_id="t", segments=[segment]),
                             grade=Grade(status="solved")))
    return group


def timed(model: Decoder, batches: list[MicroBatch]) -> tuple[float, Tensor]:
    """Least processor seconds of a few passes (steady on a busy machine), and the gradient."""
    config, workers = RLConfig(), Workers(1)
    work = partial(gradients, model, batches, config, workers)
    best = float("inf")
    for _ in range(REPEATS):
        start = time.process_time()
        _, grads, _ = work()
        best = min(best, time.process_time() - start)
    return best, torch.cat([grad.flatten() for grad in grads])


def main() -> None:
    options = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    model = Decoder(preset("nano"))
    rows = []
    for name, (prompt, rest) in SHAPES.items():
        attempts = make_group(prompt, rest, model.config.vocab_size, random.Random(0))
        held = group_rows(attempts, [0.5 if i % 2 else -0.5 for i in range(GROUP)], 1)
        ours, gradient = timed(model, micro_batches(held, 10**9))
        peer, expected = timed(model, [collate(held, 0)])
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
        rows.append(row(f"group of 8, {name}", ours, peer, "padded rows", "s"))
    finish(rows, options.json)


if __name__ == "__main__":
    main()
