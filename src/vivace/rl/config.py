"""What an RL run is told. Defaults suit the nano preset; a large model wants lr 1e-6 and bigger batches."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from vivace.core.types import Effort


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LengthConfig(_Table):
    """Adaptive solution length: see `rl.length` for the formula each number belongs to."""

    weight: float = Field(default=0.25, ge=0, lt=1)
    """w: the most a solved rollout can lose; below 1, so no failure outranks a solution. 0 turns it off."""
    threshold: float = Field(default=0.25, ge=0, le=1)
    """No pressure on tasks whose group passes less often than this."""
    effort: dict[Effort, float] = {"low": 2.0, "medium": 1.0, "high": 0.2}
    """Factor on w by reasoning effort; the product is capped below 1."""
    sampled: float = 1.0
    """Cost of a generated token (text and tool arguments alike)."""
    observed: float = 0.05
    """Cost of a token of tool output read."""
    turn: float = 10.0
    """Cost of a turn, in tokens."""
    unit: float = Field(default=100.0, gt=0)
    """Tokens at which the concave curve starts to bend."""
    budget: float = Field(default=1000.0, gt=0)
    """Tokens at which the cost reaches 1."""
    only_solved: bool = False
    """Charge only solved rollouts; then failing fast earns nothing."""


class LossConfig(_Table):
    """Guards of the policy loss: see `rl.loss`."""

    cap: float = Field(default=5.0, gt=1)
    band: tuple[float, float] = (0.5, 5.0)
    reject: tuple[float, float] = (1e-4, 1e4)


class CurriculumConfig(_Table):
    """Which tasks a step draws: see `rl.curriculum`."""

    learnable: tuple[float, float] = (0.1, 0.9)
    shares: tuple[float, float, float] = (0.7, 0.2, 0.1)
    """Learnable, unseen, re-check of the solved and the hopeless."""
    memory: float = Field(default=0.5, gt=0, le=1)
    """Weight of the newest visit in a task's running pass rate."""


class RLConfig(_Table):
    """One RL stage. A step samples `prompts` tasks, `group` rollouts of each, and updates the model once."""

    steps: int = Field(default=40, ge=0)
    max_seconds: float | None = Field(default=None, gt=0)
    """Stop at the first step boundary after this much time, over all sittings."""
    prompts: int = Field(default=8, ge=1)
    group: int = Field(default=8, ge=2)
    probe: int = Field(default=0, ge=0)
    """Attempts made first; a task whose probe all passes or all fails gets no more. 0: the group at once."""
    workers: int = Field(default=8, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    efforts: list[Effort] = Field(default_factory=list)
    """Reasoning efforts to train: each group draws one. Empty: prompts carry no effort."""

    lr: float = Field(default=1e-4, ge=0)
    warmup: int = Field(default=3, ge=0)
    decay: float = Field(default=0.0, ge=0, le=1)
    """Last share of the stage, by steps or seconds, over which the learning rate falls to zero: the last updates'
    noise is what the model would otherwise be left with."""
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    grad_clip: float = Field(default=1.0, gt=0)
    optimizer: Literal["adamw", "muon"] = "adamw"
    micro_tokens: int = Field(default=16_384, ge=1)
    """Padded tokens in one forward pass."""

    reward: Literal["task", "random"] = "task"
    """`random` is the control that must not improve: a coin instead of the tests."""
    effect: float = Field(default=0.0, ge=0, le=0.5)
    """Reward of an attempt that changed something without solving its task. A small model's answers mostly have no
    effect at all, which groups that fail as a whole would never teach it. 0: only solutions count."""
    take_back_price: float = Field(default=0.05, ge=0)
    """Taken off the advantage of answers that were taken back: see `rl.advantage.taken_back_advantage`."""
    length: LengthConfig = Field(default_factory=LengthConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    curriculum: CurriculumConfig = Field(default_factory=CurriculumConfig)

    seed: int = 0
    save_every: int = Field(default=1, ge=1)
    """Steps between states written for resume; Ctrl-C and the end write one in any case."""
