"""`vivace agent`: choose the model, let it work in the checkout, report what it cost."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vivace.core.errors import BadInput
from vivace.core.protocols import Client
from vivace.core.types import Effort, Sampling, Trajectory
from vivace.harness.agent import run_agent
from vivace.harness.clients.openai import Api, OpenAIClient
from vivace.harness.hooks import Event, Hooks
from vivace.harness.limits import Limits, Prices
from vivace.harness.mcp import ToolServers
from vivace.harness.policy.config import Settings, settings
from vivace.harness.policy.gate import Approve, Gate, nobody

SHIPPED = Path(__file__).parents[3] / "models"
SMALL_CONTEXT = 8192  # below this the terse profile is used
COMPACT_AT = 0.8  # of the window: the rest is for the summary
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
    held: tuple[str, ...] = ()
    """Changed files that were left out because the host runs them later, and nobody agreed to that."""

    @property
    def answer(self) -> str:
        """The model's last words: what it said at the end, or the summary it closed with."""
        return self.trajectory.answer()

    def line(self) -> str:
        """One line for people: what happened, and how many tokens it took."""
        done = self.trajectory
        what = "no changes" if not done.patch else "changes applied" if self.applied else "changes not applied"
        why = "" if done.stop_reason == "complete" else f", stopped by: {done.error or done.stop_reason}"
        if self.held:
            what += f", not to {', '.join(self.held)} (run later on this machine: agree to it in a session)"
        return (f"{what}{why}; {done.usage.output_tokens:,} tokens generated ({done.usage.input_tokens:,} read) in "
                f"{done.turns} turns, {done.test_runs} test runs, {done.seconds:.0f} s")


@dataclass(frozen=True)
class Choice:
    """Which model is to work, and what it may use.

    `model` is a checkpoint folder (None: the newest one at hand), or with `base_url` the endpoint's name for it; the
    key of an endpoint is read from VIVACE_API_KEY or OPENAI_API_KEY. `prices` are per million tokens. `weights`: how a
    checkpoint's are kept ("int8" is quickest; None: as they are loaded).
    """

    model: str | None = None
    base_url: str | None = None
    api: Api | None = None
    effort: Effort | None = None
    temperature: float = 0.0
    max_seconds: float | None = None
    max_cost: float | None = None
    prices: Prices | None = None
    weights: str | None = None

    @property
    def sampling(self) -> Sampling:
        return Sampling(temperature=self.temperature)


@dataclass(frozen=True)
class Opened:
    """A model ready to work: its client, the family of profiles it gets, and the budgets of one request."""

    client: Client
    family: str
    limits: Limits

    def profile(self, mode: Mode) -> str:
        return _PROFILES[self.family][mode]


def work(
    prompt: str, repo: Path, choice: Choice, *, approve: Callable[[str], bool], mode: Mode = "agent",
    hooks: Hooks | None = None, held_by: Settings | None = None, ask_user: Approve = nobody,
    agree: Callable[[str, str], bool] | None = None,
) -> Outcome:
    """Run the agent once. In the modes "ask" and "plan" the model can only look; `hooks` is told what happens.

    Args:
        held_by: the settings in force; default: those of the user and the checkout.
        ask_user: asked about calls, where the policy wants that.
        agree: asked about changed files that the host runs later: (path, why); default: none is agreed to.
    """
    asked = False
    agreed = False

    def ask(diff: str) -> bool:
        nonlocal asked, agreed
        asked, agreed = True, approve(diff)
        return agreed

    held: list[str] = []

    def agree_to(path: str, why: str) -> bool:
        if agree is not None and agree(path, why):
            return True
        held.append(path)
        return False

    held_by = held_by or settings(repo)
    opened, sandbox = open_choice(choice), held_by.policy.open(held_by.trusted)
    if hooks and mode == "agent":  # the others have nothing to hold
        hooks.event(Event(type="policy", text=held_by.policy.line(sandbox)))
    with ToolServers(held_by.servers if mode == "agent" else {}, repo) as servers:
        for problem in servers.problems:
            if hooks:
                hooks.event(Event(type="policy", text=problem))
        trajectory = run_agent(prompt, repo, opened.client, opened.limits, ask, profile=opened.profile(mode),
                               sampling=choice.sampling, hooks=hooks, gate=Gate(held_by.policy, ask_user),
                               more_tools=servers.tools, sandbox=sandbox, agree=agree_to)
    return Outcome(trajectory, agreed or not asked, tuple(held))


def open_choice(choice: Choice) -> Opened:
    """Load the checkpoint, or make ready to ask the endpoint.

    Raises:
        BadInput: no such checkpoint, or what was given does not go together.
    """
    if choice.max_cost is not None and choice.prices is None:
        raise BadInput("--max-cost needs --price IN/CACHED/OUT, in the same money per million tokens")
    given = {"max_seconds": choice.max_seconds, "max_cost": choice.max_cost, "prices": choice.prices}
    budget = {name: value for name, value in given.items() if value is not None}
    if choice.base_url:
        if choice.weights:
            raise BadInput("--weights is for a checkpoint of this machine; leave it out with --base-url")
        if not choice.model:
            raise BadInput("--base-url needs --model NAME, the endpoint's name of the model")
        key = os.environ.get("VIVACE_API_KEY") or os.environ.get("OPENAI_API_KEY") or ""
        remote = OpenAIClient(choice.base_url, choice.model, api_key=key, api=choice.api, effort=choice.effort)
        return Opened(remote, "copilot", Limits.model_validate(
            {"max_turns": 60, "max_output_tokens": 32_768, "max_turn_tokens": 4096, "max_context": 131_072,
             "compact_at": COMPACT_AT, **budget}))
    from vivace.engine.client import load_client

    client = load_client(Path(choice.model) if choice.model else default_model(), max_slots=1, effort=choice.effort,
                         weights=choice.weights)
    window = client.engine.max_len
    small = window < SMALL_CONTEXT
    limits = Limits.model_validate({"max_context": window, "max_turn_tokens": min(1024, window // 4),
                                    "take_backs": 14 if small else 0,
                                    "compact_at": None if small else COMPACT_AT, **budget})
    return Opened(client, "nano" if small else "copilot", limits)


def default_model() -> Path:
    """The model of the last demo run in this folder, else the one shipped with the checkout."""
    for path in (Path("runs/demo/rl/model"), SHIPPED / "nano", SHIPPED / "nano-base"):
        if (path / "config.json").exists():
            return path
    raise BadInput("no model here: run `make demo`, or name a checkpoint with --model, or an endpoint with --base-url")
