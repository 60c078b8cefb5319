"""`auto`: which model answers. Cheap first where the request looks easy, and only models whose context it fits.

Difficulty is a logistic function of what can be seen before answering: length, files, tools, turns, words of design.
`fit` calibrates its weights to measured outcomes (did the cheap model solve it?); without that they are a guess, and
the decision says so.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vivace.core.errors import BadInput
from vivace.core.files import write_json
from vivace.serve.ask import Ask, Target
from vivace.serve.errors import ApiError

AUTO = "auto"
FEATURES = ("bias", "log_tokens", "files", "tools", "turns", "hard_words")
_GUESS = (-3.0, 0.25, 0.2, 0.02, 0.05, 0.8)
_HARD = re.compile(r"\b(architect\w*|design|refactor\w*|redesign|migrat\w*|concurren\w*|race|deadlock|prove|security|"
                   r"performance|optimi[sz]\w*|why)\b", re.IGNORECASE)  # fmt: skip
_FILE = re.compile(r"[\w/.-]+\.(?:py|ts|js|tsx|rs|go|c|cpp|h|java|rb|toml|yaml|json|md)\b")
_THRESHOLDS = {"low": 0.8, "": 0.5, "medium": 0.5, "high": 0.2}
_CHARACTERS_PER_TOKEN = 3.4


@dataclass(frozen=True)
class Decision:
    """Models in the order they are tried, and why."""

    order: list[str]
    difficulty: float
    why: str
    model: str = ""

    def taken(self, name: str) -> Decision:
        fell = self.order[: self.order.index(name)]
        return replace(self, model=name, why=self.why + "".join(f"; {other} failed" for other in fell))

    @property
    def header(self) -> str:
        return f"{self.model}; difficulty={self.difficulty:.2f}; {self.why}"


def features(ask: Ask) -> list[float]:
    text = "\n".join(m.content for m in ask.messages) + (ask.text or "")
    asked = next((m.content for m in reversed(ask.messages) if m.role == "user"), ask.text or "")
    turns = sum(m.role == "assistant" for m in ask.messages)
    return [1.0, math.log1p(len(text) / _CHARACTERS_PER_TOKEN), min(len(set(_FILE.findall(asked))), 10),
            len(ask.tools), min(turns, 40), min(len(_HARD.findall(asked)), 5)]  # fmt: skip


class Router:
    """Targets are tried cheapest first: in the order in which they were given to the server."""

    def __init__(self, weights: Sequence[float] = (), *, calibrated: bool = False) -> None:
        self.weights = list(weights or _GUESS)
        self.calibrated = calibrated

    def difficulty(self, ask: Ask) -> float:
        """Estimated probability that the cheapest model does not solve it."""
        return _logistic(float(np.dot(self.weights, features(ask))))

    def decide(self, ask: Ask, targets: Mapping[str, Target], budget: str = "") -> Decision:
        """`budget` low, medium or high: how readily a dearer model is taken. ApiError 400 when it fits none."""
        if budget not in _THRESHOLDS:
            raise ApiError(400, "the budget is low, medium or high", param="x-vivace-budget")
        sizes = {name: target.count_tokens(ask) for name, target in targets.items()}
        fits = [name for name, target in targets.items() if sizes[name] < target.context_length]
        if not fits:
            most = max(target.context_length for target in targets.values())
            raise ApiError(400, f"the maximum context length of these models is {most} tokens, and the prompt has "
                           f"{min(sizes.values())}", code="context_length_exceeded", param="messages")  # fmt: skip
        difficulty = self.difficulty(ask)
        hard = difficulty >= _THRESHOLDS[budget]
        order = fits[::-1] if hard else fits
        why = "hard" if hard else "easy"
        why += "" if len(fits) == len(targets) else f"; too long for {', '.join(t for t in targets if t not in fits)}"
        return Decision(order, difficulty, why if self.calibrated else f"{why}; uncalibrated")

    def save(self, path: Path) -> None:
        write_json(path, {"features": FEATURES, "weights": self.weights})

    @classmethod
    def load(cls, path: Path) -> Router:
        try:
            data = json.loads(path.read_text())
            weights = [float(weight) for weight in data["weights"]]
        except (OSError, ValueError, KeyError, TypeError):
            raise BadInput(f"{path} is not a router made by Router.fit(...).save; make it again") from None
        if tuple(data.get("features", ())) != FEATURES or len(weights) != len(FEATURES):
            raise BadInput(f"{path} was made for other features than {', '.join(FEATURES)}; make it again")
        return cls(weights, calibrated=True)

    @classmethod
    def fit(cls, asks: Sequence[Ask], solved: Sequence[bool], ridge: float = 1.0) -> Router:
        """Logistic regression (Newton's method, L2 `ridge` on all but the bias) of the cheap model's failures."""
        x_NF = np.array([features(ask) for ask in asks])
        y_N = 1.0 - np.array(solved, dtype=float)
        if len(y_N) < 20 or y_N.min() == y_N.max():
            raise BadInput("a router needs at least 20 measured requests, solved and unsolved ones; measure more")
        penalty_FF = ridge * np.diag([0.0] + [1.0] * (x_NF.shape[1] - 1))
        w_F = np.zeros(x_NF.shape[1])
        for _ in range(50):
            p_N = 1 / (1 + np.exp(-np.clip(x_NF @ w_F, -30, 30)))
            gradient_F = x_NF.T @ (p_N - y_N) + penalty_FF @ w_F
            curvature_FF = (x_NF * (p_N * (1 - p_N))[:, None]).T @ x_NF + penalty_FF + 1e-6 * np.eye(len(w_F))
            step_F = np.linalg.solve(curvature_FF, gradient_F)
            w_F = w_F - step_F
            if np.abs(step_F).max() < 1e-8:
                break
        return cls(w_F.tolist(), calibrated=True)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, x))))
