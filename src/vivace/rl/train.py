"""The RL loop: draw tasks, roll out, reward, update, push the weights to the engine, save; resumable at any step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from vivace.core.errors import BadInput, InfraError
from vivace.core.files import append_jsonl
from vivace.core.progress import Progress
from vivace.core.types import Task
from vivace.model.decoder import Decoder
from vivace.rl.config import RLConfig
from vivace.rl.curriculum import Curriculum
from vivace.rl.meter import Meter, used
from vivace.rl.rollout import Clients, Play, Scored, collect
from vivace.rl.update import make_optimizer, update
from vivace.tasks.attempt import require_verdict
from vivace.train.state import latest_state, load_state, save_state
from vivace.train.workers import Workers, open_workers

Log = Callable[[dict[str, Any]], None]
KEEP_STATES = 2


class WeightSink(Protocol):
    """Where new weights go: the engine that samples."""

    def update_weights(self, new: Decoder) -> int: ...


@dataclass(frozen=True)
class RLResult:
    """Where the stage ended; `pass_rate` and `reward` are means over its last five steps' rollouts."""

    steps: int
    rollouts: int
    seconds: float
    pass_rate: float
    reward: float


def train_rl(
    model: Decoder,
    engine: WeightSink,
    clients: Clients,
    play: Play,
    tasks: Sequence[Task],
    config: RLConfig,
    out: Path,
    log: Log,
) -> RLResult:
    """Train `model` in place on `tasks` until `steps` or `max_seconds` is used up.

    `out`/state holds the resume files: when one is there, the run goes on from it with the same ledger, the same next
    tasks and seeds. Ctrl-C between updates saves first; inside one, the state before it stays the newest. `log` gets
    one row a step. The first attempts of every step are kept in `out`/rollouts.jsonl.

    Raises:
        BadInput: no tasks, or a state that belongs to another model or configuration.
        InfraError: not one attempt of a step has a verdict. What came before it is saved: a rerun tries it again.
    """
    if not tasks:
        raise BadInput("RL has no tasks to train on; make some with the tasks stage, or relax its filters")
    trainer = _Trainer(model, engine, clients, play, tasks, config, out, log)
    trainer.resume()
    engine.update_weights(model)
    with open_workers(0, model.head_weight.device) as workers:
        return trainer.loop(workers)


class _Trainer:
    def __init__(
        self, model: Decoder, engine: WeightSink, clients: Clients, play: Play, tasks: Sequence[Task], config: RLConfig,
        out: Path, log: Log,
    ) -> None:
        self.model, self.engine, self.clients, self.play, self.config = model, engine, clients, play, config
        self.tasks = {task.id: task for task in tasks}
        self.out, self.log = out, log
        self.optimizer = make_optimizer(model, config)
        self.curriculum = Curriculum(list(self.tasks), config.curriculum, config.seed)
        self.step, self.elapsed, self.rollouts, self.saved = 0, 0.0, 0, -1
        self.recent: list[dict[str, float]] = []

    def loop(self, workers: Workers) -> RLResult:
        config = self.config
        with Progress("rl", 100.0, done=100 * used(config, self.step, self.elapsed)) as bar:
            meter = Meter(bar, config, self.rollouts)
            while self.step < config.steps and (config.max_seconds is None or self.elapsed < config.max_seconds):
                started = time.monotonic()
                try:
                    scored = self.roll_out(meter)
                except (KeyboardInterrupt, InfraError):
                    self.save()
                    raise
                row = self.train(scored, workers, started)
                meter.end(self.step, self.elapsed, self.rollouts,
                          f", pass {row['pass_rate']:.0%}, {row['tokens_mean']:.0f} tokens")
                if self.step % config.save_every == 0:
                    self.save()
        self.save()
        means = [fmean(row[key] for row in self.recent) if self.recent else 0.0 for key in ("pass_rate", "reward")]
        return RLResult(self.step, self.rollouts, round(self.elapsed, 2), *means)

    def roll_out(self, meter: Meter) -> list[Scored]:
        meter.begin(self.step, self.elapsed)
        drawn = [self.tasks[task_id] for task_id in self.curriculum.draw(self.step, self.config.prompts)]
        scored = collect(drawn, self.clients, self.play, self.config, self.step, meter.attempted)
        require_verdict([attempt for one in scored for attempt in one.group.attempts], f"RL step {self.step + 1}")
        return scored

    def train(self, scored: list[Scored], workers: Workers, started: float) -> dict[str, Any]:
        """Learn from one step's rollouts; counts and the ledger move only after the update."""
        rolled = time.monotonic()
        row = rollout_metrics(scored)
        row |= update(self.model, self.optimizer, scored, self.config, self.lr_factor(), workers)
        if row["groups_used"]:
            self.engine.update_weights(self.model)
        for one in scored:
            if one.reward.valid:
                self.curriculum.record(one.group.task.id, one.reward.pass_rate, self.step)
        self.step += 1
        self.rollouts += int(row["rollouts"])
        self.elapsed += time.monotonic() - started
        self.recent = [*self.recent[-4:], {key: row[key] for key in ("pass_rate", "reward")}]
        row |= {"seconds": round(time.monotonic() - started, 2), "rollout_seconds": round(rolled - started, 2)}
        self.log({"step": self.step, **row})
        append_jsonl(self.out / "rollouts.jsonl",
                     {"step": self.step, **scored[0].group.attempts[0].model_dump(mode="json")})
        return row

    def lr_factor(self) -> float:
        """Of the update that is next: warm-up by steps, decay by whichever budget is nearer its end."""
        config, left = self.config, 1.0 - used(self.config, self.step, self.elapsed)
        warm = min(1.0, (self.step + 1) / config.warmup) if config.warmup else 1.0
        return min(warm, left / config.decay) if config.decay else warm

    def save(self) -> None:
        if self.saved == self.step:
            return
        save_state(self.out / "state", {
            "step": self.step, "elapsed": self.elapsed, "rollouts": self.rollouts, "recent": self.recent,
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "ledger": self.curriculum.state(), "config": self._identity(),
        }, KEEP_STATES)
        self.saved = self.step

    def resume(self) -> None:
        path = latest_state(self.out / "state")
        if path is None:
            return
        state = load_state(path)
        if state["config"] != self._identity():
            raise BadInput(f"{path} belongs to another model or RL configuration; use another run folder")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.curriculum.load(state["ledger"])
        self.step, self.elapsed, self.rollouts = state["step"], state["elapsed"], state["rollouts"]
        self.recent, self.saved = state["recent"], state["step"]

    def _identity(self) -> dict[str, Any]:
        """What must agree for a resume; budgets may be raised."""
        budgets = {"steps", "max_seconds", "save_every", "workers"}
        return {"model": self.model.config.model_dump(mode="json"),
                "rl": self.config.model_dump(mode="json", exclude=budgets)}


def rollout_metrics(scored: Sequence[Scored]) -> dict[str, Any]:
    """What the rollouts of one step came to. Means are over attempts with a verdict; 0 when there are none.

    `pass_rate` is that of the tests also under the random-reward control; `canary` counts solved attempts at tasks
    whose provenance says they cannot be solved, which only a hack could bring about.
    """
    attempts = [attempt for one in scored for attempt in one.group.attempts]
    valid = [attempt for attempt in attempts if attempt.grade.verdict]
    rewards = [reward for one in scored for reward in one.reward.rewards if reward is not None]
    tokens = [attempt.trajectory.usage.output_tokens for attempt in valid]
    solved = sum(attempt.grade.solved for attempt in valid)
    impossible = {one.group.task.id for one in scored if one.group.task.provenance.get("canary")}
    return {
        "rollouts": len(attempts), "infra": len(attempts) - len(valid), "groups": len(scored),
        "reward": fmean(rewards) if rewards else 0.0,
        "pass_rate": solved / len(valid) if valid else 0.0,
        "tokens_mean": fmean(tokens) if tokens else 0.0,
        "tokens_per_solved": sum(tokens) / solved if solved else None,
        "turns_mean": fmean(attempt.trajectory.turns for attempt in valid) if valid else 0.0,
        "test_runs_mean": fmean(attempt.trajectory.test_runs for attempt in valid) if valid else 0.0,
        "taken_back_mean": fmean(attempt.trajectory.taken_back for attempt in valid) if valid else 0.0,
        "truncated": sum(attempt.grade.status == "budget" for attempt in valid),
        "canary": sum(attempt.grade.solved for attempt in valid if attempt.task_id in impossible),
    }
