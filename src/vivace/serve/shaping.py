"""What bends one request's logits before a token is drawn, and what is noted after. Runs in the engine's thread."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vivace.serve.ask import Shaping, TokenLogprob
from vivace.text.grammar import Choice
from vivace.text.tokenizer import Tokenizer

Floats = NDArray[np.float32]
NEVER = np.float32(-1e30)


class Grammar(Protocol):
    """Which tokens may come next; see `text.grammar.CallGrammar` and `text.json_grammar.JsonGrammar`."""

    def allowed(self) -> Choice: ...
    def advance(self, token: int) -> None: ...


class Watch:
    """Implements `engine.scheduler.Watcher`. `tell` is called with each token (and its logprobs, if wanted)."""

    def __init__(
        self, tokenizer: Tokenizer, tell: Callable[[int, TokenLogprob | None], None], *, shaping: Shaping,
        temperature: float, grammar: Grammar | None, top: int | None,
    ) -> None:
        self._tokenizer, self._tell, self._shaping, self._grammar, self._top = tokenizer, tell, shaping, grammar, top
        self._temperature = temperature or 1.0
        self._counts: Counter[int] = Counter()

    def shape(self, logits_V: Floats) -> Floats:
        how = self._shaping
        if how == Shaping() and self._grammar is None:
            return logits_V
        shaped_V = logits_V.copy()
        for token, count in self._counts.items() if _penalised(how) else ():
            if how.repeat_penalty != 1:
                shaped_V[token] *= how.repeat_penalty if shaped_V[token] < 0 else 1 / how.repeat_penalty
            shaped_V[token] -= how.presence_penalty + how.frequency_penalty * count
        for token, bias in how.bias.items():
            shaped_V[token] += np.float32(bias)
        if self._grammar:
            shaped_V = self._constrain(self._grammar, shaped_V)
        if how.top_k and how.top_k < len(shaped_V):
            shaped_V[shaped_V < np.partition(shaped_V, -how.top_k)[-how.top_k]] = NEVER
        if how.min_p:
            shaped_V[shaped_V < shaped_V.max() + self._temperature * math.log(how.min_p)] = NEVER
        return shaped_V

    def drawn(self, token: int, logprob: float, logits_V: Floats) -> None:
        if _penalised(self._shaping):
            self._counts[token] += 1
        if self._grammar:
            self._grammar.advance(token)
        self._tell(token, None if self._top is None else self._logprobs(token, logits_V, self._top))

    def _constrain(self, grammar: Grammar, logits_V: Floats) -> Floats:
        allowed = grammar.allowed()
        if allowed.only is None:
            logits_V[list(allowed.never)] = NEVER
            return logits_V
        only_V = np.full_like(logits_V, NEVER)
        ids = allowed.only if isinstance(allowed.only, np.ndarray) else list(allowed.only)
        only_V[ids] = logits_V[ids]
        return only_V

    def _logprobs(self, token: int, logits_V: Floats, top: int) -> TokenLogprob:
        """The model's own log probabilities (temperature 1), after bias and grammar."""
        scores_V = logits_V - logits_V.max()
        scores_V = scores_V - math.log(float(np.exp(scores_V).sum()))
        best = np.argpartition(scores_V, -top)[-top:] if top else np.empty(0, dtype=np.int64)
        ranked = sorted(best.tolist(), key=lambda number: -float(scores_V[number]))
        text, raw = self._named(token)
        alternatives = [(*self._named(number), max(float(scores_V[number]), -9999.0)) for number in ranked]
        return TokenLogprob(text, raw, max(float(scores_V[token]), -9999.0), alternatives)

    def _named(self, token: int) -> tuple[str, bytes]:
        return self._tokenizer.show([token]), self._tokenizer.token_bytes[token]


def _penalised(how: Shaping) -> bool:
    return bool(how.frequency_penalty or how.presence_penalty or how.repeat_penalty != 1)
