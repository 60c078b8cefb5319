"""Settings of one training run."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TrainConfig(BaseModel):
    """At least one of the three budgets must be set; the one used up first ends the run and drives the decay."""

    model_config = ConfigDict(extra="forbid")

    max_steps: int | None = Field(None, ge=1)
    max_tokens: int | None = Field(None, ge=1)
    max_seconds: float | None = Field(None, gt=0)

    muon_lr: float = 0.02
    embedding_lr: float = 4e-3
    router_lr: float = 4e-3
    norm_lr: float = 4e-3
    adapter_lr: float = 2e-4  # of low-rank adapters, which are all that moves when there are any
    weight_decay: float = 0.05  # of Muon's matrices, times the learning rate
    momentum: float = 0.95
    beta1: float = 0.9
    beta2: float = 0.95
    grad_clip: float = 1.0

    warmup_steps: int = Field(40, ge=0)
    decay_fraction: float = Field(0.5, ge=0, le=1)  # of the whole budget, at its end
    final_lr: float = Field(0.02, ge=0, le=1)  # of the peak

    balance_rate: float = 0.01  # step of the router bias per update, decaying with the learning rate

    micro_tokens: int = Field(2048, ge=1)  # tokens processed at a time by one worker
    workers: int = Field(0, ge=0)  # threads working on micro-batches; 0: every core on CPU, 1 on an accelerator
    recompute: bool = False  # blocks anew in the backward pass: memory of long sequences for a third more time
    save_seconds: float = Field(600.0, gt=0)
    save_steps: int | None = Field(None, ge=1)
    keep_last: int = Field(2, ge=1)
    eval_steps: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.max_steps is None and self.max_tokens is None and self.max_seconds is None:
            raise ValueError("set max_steps, max_tokens or max_seconds: a run needs an end")
        return self
