"""`vivace agent`: choose the model, let it work in the checkout, report what it cost."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vivace.core.errors import BadInput
from vivace.core.protocols import Client
from vivace.core.types import Sampling, Trajectory
from vivace.harness.agent import run_agent
from vivace.harness.hooks import Hooks
from vivace.harness.loop import Limits

SHIPPED = Path(__file__).parents[3] / "models"
SMALL_CONTEXT = 8192  # below this the terse profile is used
Mode = Literal["agent", "ask", "plan"]
_PROFILES: dict[str, dict[Mode, str]] = {
    "copilot": {"agent": "copilot", "ask": "ask", "plan": "plan"},
    "nano": {"agent": "nano", "ask": "nano-ask", "plan": "nano-ask"},
}


@dataclass(frozen=True)
class Outcome:
    """What came of one request. `applied`: the checkout was changed, or there was nothing to change."""

    trajectory: Trajectory
    applied: bool

    @property
    def answer(self) -> str:
        """The model's last words: what it said at the end, or the summary it closed with."""
        return self.trajectory.answer()

    def line(self) -> str:
        """One line for people: what happened, and how many tokens it took."""
        done = self.trajectory
        what = "no changes" if not done.patch else "changes applied" if self.applied else "changes not applied"
        why = "" if done.stop_reason == "complete" else f", stopped by: {done.error or done.stop_reason}"
        return (f"{what}{why}; {done.usage.output_tokens:,} tokens generated ({done.usage.input_tokens:,} read) in "
                f"{done.turns} turns, {done.test_runs} test runs, {done.seconds:.0f} s")


def work(
    prompt: str, repo: Path, *, model: str | None, base_url: str | None, temperature: float,
    approve: Callable[[str], bool], mode: Mode = "agent", hooks: Hooks | None = None,
    weights: str | None = None,
) -> Outcome:
    """Run the agent once.

    `model` is a checkpoint folder (default: the newest one at hand), or with `base_url` the endpoint's name for it;
    the key of an endpoint is read from VIVACE_API_KEY or OPENAI_API_KEY. In the modes "ask" and "plan" the model can
    only look; `hooks` is told what happens. `weights`: how a checkpoint's weights are kept ("int8" is quickest).
    """
    asked = False
    agreed = False

    def ask(diff: str) -> bool:
        nonlocal asked, agreed
        asked, agreed = True, approve(diff)
        return agreed

    client, profile, limits = _open(model, base_url, weights)
    profile = _PROFILES[profile][mode]
    sampling = Sampling(temperature=temperature)
    trajectory = run_agent(prompt, repo, client, limits, ask, profile=profile, sampling=sampling, hooks=hooks)
    return Outcome(trajectory, agreed or not asked)


def _open(model: str | None, base_url: str | None, weights: str | None) -> tuple[Client, str, Limits]:
    if base_url:
        if weights:
            raise BadInput("--weights is for a checkpoint of this machine; leave it out with --base-url")
        from vivace.harness.clients.openai import OpenAIClient

        if not model:
            raise BadInput("--base-url needs --model NAME, the endpoint's name of the model")
        key = os.environ.get("VIVACE_API_KEY") or os.environ.get("OPENAI_API_KEY") or ""
        return OpenAIClient(base_url, model, api_key=key), "copilot", Limits(max_turns=60, max_output_tokens=32_768)
    from vivace.engine.client import load_client

    client = load_client(Path(model) if model else default_model(), max_slots=1, weights=weights)
    window = client.engine.max_len
    small = window < SMALL_CONTEXT
    limits = Limits(max_context=window, max_turn_tokens=min(1024, window // 4), take_backs=14 if small else 0)
    return client, "nano" if small else "copilot", limits


def default_model() -> Path:
    """The model of the last demo run in this folder, else the one shipped with the checkout."""
    for path in (Path("runs/demo/rl/model"), SHIPPED / "nano", SHIPPED / "nano-base"):
        if (path / "config.json").exists():
            return path
    raise BadInput("no model here: run `make demo`, or name a checkpoint with --model, or an endpoint with --base-url")
