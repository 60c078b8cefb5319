"""An answer of the engine told while it is drawn."""

from __future__ import annotations

import queue
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vivace.core.errors import Stopped
from vivace.core.protocols import Listener
from vivace.core.types import Delta, Sampling
from vivace.engine.engine import Engine
from vivace.engine.scheduler import Generated, Watcher
from vivace.text.answers import AnswerReader, ArgumentNamed, ArgumentSaid, CallNamed, Heard, Said
from vivace.text.tokenizer import Tokenizer

_POLL_S = 0.05


class _Ear:
    """Implements `scheduler.Watcher`: passes every token on; what may be drawn is `shaper`'s to say."""

    def __init__(self, shaper: Watcher | None) -> None:
        self.tokens: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._shaper = shaper

    def shape(self, logits_V: NDArray[np.float32]) -> NDArray[np.float32]:
        return logits_V if self._shaper is None else self._shaper.shape(logits_V)

    def drawn(self, token: int, logprob: float, logits_V: NDArray[np.float32]) -> None:
        self.tokens.put(token)


def generate_aloud(
    engine: Engine, tokenizer: Tokenizer, prompt_ids: Sequence[int], sampling: Sampling, stop_ids: Sequence[int],
    listener: Listener, shaper: Watcher | None = None,
) -> Generated:
    """`Engine.generate`, with the answer told to `listener` as text and calls; the ids are the same.

    Raises:
        Stopped: the listener wants no more.
    """
    ear, reader = _Ear(shaper), AnswerReader(tokenizer)
    ticket = engine.submit(prompt_ids, sampling, stop_ids, watcher=ear)
    try:
        while not (ticket.future.done() and ear.tokens.empty()):
            if listener.stopped():
                raise Stopped
            try:
                token = ear.tokens.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            for heard in reader.feed(token):
                listener.delta(_delta(heard))
        for heard in reader.finish():
            listener.delta(_delta(heard))
        return ticket.result()
    except BaseException:
        ticket.cancel()
        raise


def _delta(heard: Heard) -> Delta:
    match heard:
        case Said(text):
            return Delta(text=text)
        case CallNamed(name):
            return Delta(call=name)
        case ArgumentNamed(key):
            return Delta(arguments=f"\n{key}: ")
        case ArgumentSaid(text):
            return Delta(arguments=text)
