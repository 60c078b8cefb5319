"""The training loop: batches in, a better model out, resumable at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vivace.core.errors import BadInput, InfraError
from vivace.core.interrupt import Interrupt
from vivace.core.progress import Progress
from vivace.model.decoder import Decoder
from vivace.train.balance import load_metrics, update_router_bias
from vivace.train.batches import Row, Source, micro_batches
from vivace.train.config import TrainConfig
from vivace.train.parallel.data import local
from vivace.train.parallel.mesh import Mesh
from vivace.train.parallel.team import Gradients, assemble
from vivace.train.schedule import lr_factor, progress_fraction
from vivace.train.state import StateWriter, latest_state, load_state
from vivace.train.workers import Workers, open_workers

Log = Callable[[dict[str, Any]], None]
Evaluate = Callable[[Decoder], dict[str, Any]]


@dataclass(frozen=True)
class TrainResult:
    """Where a run ended. `loss` is the mean over its last 20 steps, nats per token; `seconds` spans all resumes."""

    steps: int
    tokens: int
    seconds: float
    loss: float


@dataclass
class _Cursor:
    step: int = 0
    tokens: int = 0
    elapsed: float = 0.0
    losses: list[float] = field(default_factory=list)


def train(
    model: Decoder, source: Source, config: TrainConfig, run_dir: Path, log: Log, *, evaluate: Evaluate | None = None,
    description: str = "train", mesh: Mesh | None = None,
) -> TrainResult:
    """Train `model` in place until the first budget is used up; every process of a `mesh` calls this alike.

    `run_dir`/state holds the resume files: when one is there, the run continues from it, bit for bit with the same
    number of workers and processes, to rounding with another. `log` gets a row per step, on the first process.
    `evaluate` runs every `eval_steps` and at the end, and its row is logged too. SIGINT or SIGTERM: the step is
    finished, the state saved, KeyboardInterrupt raised.
    """
    trainer = _Trainer(model, source, config, Path(run_dir) / "state", log, evaluate, mesh)
    trainer.resume()
    interrupt = Interrupt()
    with trainer.writer, open_workers(trainer.team.threads or config.workers, trainer.device) as workers, \
            interrupt.installed():
        return trainer.loop(workers, interrupt, description)


class _Trainer:
    def __init__(
        self, model: Decoder, source: Source, config: TrainConfig, folder: Path, log: Log, evaluate: Evaluate | None,
        mesh: Mesh | None,
    ) -> None:
        self.model, self.source, self.config, self.folder, self.log = model, source, config, folder, log
        self.evaluate, self.evaluated = evaluate, -1
        model.recompute = config.recompute
        self.team = assemble(mesh, model)
        self.device = next(model.parameters()).device
        self.writer = StateWriter(folder, config.keep_last, self.team.rank, self.team.ranks)
        self.optimizer = self.team.optimizer(
            model, muon_lr=config.muon_lr, embedding_lr=config.embedding_lr, router_lr=config.router_lr,
            norm_lr=config.norm_lr, weight_decay=config.weight_decay, momentum=config.momentum,
            betas=(config.beta1, config.beta2), adapter_lr=config.adapter_lr,
        )
        self.cursor = _Cursor()

    def loop(self, workers: Workers, interrupt: Interrupt, description: str) -> TrainResult:
        cursor, config = self.cursor, self.config
        last_save = time.monotonic()
        shown = 100 * progress_fraction(config, cursor.step, cursor.tokens, cursor.elapsed)
        with Progress(description, 100.0, done=shown) as bar:
            while (fraction := progress_fraction(config, cursor.step, cursor.tokens, cursor.elapsed)) < 1.0:
                row = self.step(workers, fraction)
                now = 100 * progress_fraction(config, cursor.step, cursor.tokens, cursor.elapsed)
                bar.advance(now - shown, f"step {row['step']} loss {row['loss']:.3f} {row['tok_s']:,.0f} tok/s")
                shown = now
                if config.eval_steps and cursor.step % config.eval_steps == 0:
                    self.run_evaluation()
                self.writer.check()
                late = time.monotonic() - last_save > config.save_seconds
                stop, due = (bool(flag) for flag in self.team.agree(interrupt.received, late))
                if stop or due or (config.save_steps and cursor.step % config.save_steps == 0):
                    self.save()
                    last_save = time.monotonic()
                if stop:
                    self.writer.wait()
                    raise KeyboardInterrupt
        self.run_evaluation()
        self.save()
        self.writer.wait()
        if interrupt.received:  # after the last step: whoever called must not go on to what comes next
            raise KeyboardInterrupt
        recent = cursor.losses[-20:]
        return TrainResult(cursor.step, cursor.tokens, cursor.elapsed, sum(recent) / max(1, len(recent)))

    def step(self, workers: Workers, fraction: float) -> dict[str, Any]:
        """One global batch: gradients, clipping, update, balancing, metrics."""
        started = time.monotonic()
        cursor, config = self.cursor, self.config
        factor = lr_factor(config, cursor.step, fraction)
        rows = self.source.next_batch()
        loss, grads, counts_LE = self.gradients(workers, rows)
        norm = self.team.norm(grads)
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise InfraError(
                f"loss {loss} or gradient norm {norm} is not finite at step {cursor.step}; "
                "lower the learning rates and resume from the last saved state"
            )
        if norm > config.grad_clip:
            torch._foreach_mul_(list(grads.values()), config.grad_clip / norm)
        self.optimizer.step(grads, factor, workers.run)
        update_router_bias(self.model, counts_LE, config.balance_rate * factor)
        tokens = sum(len(row.weights) for row in rows)
        (seconds,) = self.team.agree(time.monotonic() - started)
        cursor.step, cursor.tokens, cursor.elapsed = cursor.step + 1, cursor.tokens + tokens, cursor.elapsed + seconds
        cursor.losses = [*cursor.losses[-19:], loss]
        result = {
            "step": cursor.step, "tokens": cursor.tokens, "loss": loss, "lr": config.muon_lr * factor,
            "tok_s": round(tokens / seconds, 1), "grad_norm": norm, "elapsed": round(cursor.elapsed, 3),
            **load_metrics(counts_LE),
        }
        if self.team.first:
            self.log(result)
        return result

    def gradients(self, workers: Workers, rows: list[Row]) -> Gradients:
        """Mean loss over the global batch, its gradients, and tokens per expert; summed in micro-batch order."""
        weight = float(sum(row.weights.sum(dtype="float64") for row in rows))
        if weight <= 0:
            raise BadInput("a batch has nothing to learn: every loss weight is zero")
        return self.team.gradients(self.model, micro_batches(rows, self.config.micro_tokens), weight, workers)

    def run_evaluation(self) -> None:
        if self.evaluate is not None and self.evaluated != self.cursor.step:
            self.evaluated = self.cursor.step
            row = {"step": self.cursor.step, "tokens": self.cursor.tokens, **self.evaluate(self.model)}
            if self.team.first:
                self.log(row)

    def save(self) -> None:
        cursor = self.cursor
        self.writer.save({
            "step": cursor.step, "tokens": cursor.tokens, "elapsed": cursor.elapsed, "losses": cursor.losses,
            "model": self.held(), "optimizer": self.optimizer.state_dict(), "source": self.source.state(),
            "rng": torch.get_rng_state(), "config": self.model.config.model_dump(mode="json"),
            "spans": {name: tuple(span) for name, span in self.team.spans.items()},
        })

    def resume(self) -> None:
        path = latest_state(self.folder)
        if path is None:
            return
        state = load_state(path, self.team.spans)
        if state["config"] != self.model.config.model_dump(mode="json"):
            raise BadInput(f"{path} belongs to a model of another configuration; use another run folder")
        for name, tensor in self.held().items():
            tensor.copy_(state["model"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.source.load_state(state["source"])
        torch.set_rng_state(state["rng"])
        self.cursor = _Cursor(state["step"], state["tokens"], state["elapsed"], state["losses"])

    def held(self) -> dict[str, Tensor]:
        """What of the model's state lives in this process."""
        return {name: local(tensor.detach()) for name, tensor in self.model.state_dict().items()}


@torch.no_grad()
def mean_loss(model: Decoder, rows: list[Row], micro_tokens: int = 4096) -> float:
    """Weighted mean cross entropy of held-out rows, nats per token."""
    device = next(model.parameters()).device
    losses = [model.loss(*(t.to(device) for t in batch)) for batch in micro_batches(rows, micro_tokens)]
    return float(sum(loss.total for loss in losses) / sum(loss.weight for loss in losses))
