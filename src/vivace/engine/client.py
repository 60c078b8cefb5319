"""The engine as a `Client`: messages in, a parsed message with its exact ids and logprobs out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vivace.core.errors import ContextOverflow
from vivace.core.protocols import Listener
from vivace.core.types import Completion, Effort, Message, Sampling, Usage
from vivace.engine.engine import Engine
from vivace.engine.listening import generate_aloud
from vivace.engine.packing import weight_format
from vivace.model.checkpoint import load_checkpoint
from vivace.text.chat import Renderer
from vivace.text.tokenizer import Tokenizer

NEVER = np.float32(-1e30)


class _Words:
    """Implements `scheduler.Watcher`: where nothing can be called, an answer is words, as behind our server."""

    def __init__(self, tokenizer: Tokenizer, end: int) -> None:
        self._never = [token for token in tokenizer.special.values() if token != end]

    def shape(self, logits_V: NDArray[np.float32]) -> NDArray[np.float32]:
        shaped_V = logits_V.copy()
        shaped_V[self._never] = NEVER
        return shaped_V

    def drawn(self, token: int, logprob: float, logits_V: NDArray[np.float32]) -> None:
        """Nothing is kept."""


class NativeClient:
    """Implements `core.protocols.Client`. Any number of threads may share one."""

    def __init__(self, engine: Engine, renderer: Renderer, name: str) -> None:
        self.engine, self.codec, self.name = engine, renderer, name

    @property
    def window(self) -> int:
        """Tokens of prompt and answer together that the model can read."""
        return self.engine.max_len

    @property
    def effort(self) -> Effort | None:
        """Which effort conversations ask for; may be set for those rendered from then on."""
        return self.codec.effort

    @effort.setter
    def effort(self, effort: Effort | None) -> None:
        self.codec = Renderer(self.codec.tokenizer, effort)

    def complete(
        self, messages: Sequence[Message], *, tools: Sequence[dict[str, Any]] = (), sampling: Sampling,
        prompt_ids: Sequence[int] = (),
    ) -> Completion:
        """Answer to `prompt_ids`, or to the rendered messages when there are none.

        `tools` are not rendered here: what a native model knows of them stands in its system message. A question
        without tools and without ids of its own is answered in words: no call can begin.
        The answer gets at most the room left in the context; ContextOverflow when there is none.
        """
        return self._answer(messages, tools, sampling, prompt_ids, None)

    def stream(
        self, messages: Sequence[Message], *, tools: Sequence[dict[str, Any]] = (), sampling: Sampling,
        prompt_ids: Sequence[int] = (), listener: Listener,
    ) -> Completion:
        """The same answer, told to `listener` while it is drawn; raises Stopped when it wants no more."""
        return self._answer(messages, tools, sampling, prompt_ids, listener)

    def _answer(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling,
        prompt_ids: Sequence[int], listener: Listener | None,
    ) -> Completion:
        watcher = None if tools or prompt_ids else _Words(self.codec.tokenizer, self.codec.end)
        ids = list(prompt_ids) or [*self.codec.render(messages)[0], *self.codec.generation_prompt()]
        room = self.engine.max_len - len(ids)
        if room < 1:
            raise ContextOverflow(
                f"the conversation has {len(ids)} tokens, {self.name} reads {self.engine.max_len}; start a new one"
            )
        if listener is None:
            answer = self.engine.generate(ids, sampling, [self.codec.end], watcher=watcher)
        else:
            answer = generate_aloud(self.engine, self.codec.tokenizer, ids, sampling, [self.codec.end], listener,
                                    watcher)
        return Completion(
            message=self.codec.parse(answer.ids), ids=answer.ids, logprobs=answer.logprobs,
            finish_reason="stop" if answer.finish_reason == "stop" else "length",
            usage=Usage(input_tokens=len(ids), cached_tokens=answer.cached_tokens, output_tokens=len(answer.ids)),
        )

    def close(self) -> None:
        self.engine.close()


def load_client(
    checkpoint: Path, *, name: str | None = None, max_slots: int = 32, max_len: int | None = None,
    threads: int | None = None, effort: Effort | None = None, speculate: bool = False,
    weights: str | None = None, cache_mib: float | None = None,
) -> NativeClient:
    """A client for a checkpoint folder that holds its tokenizer too. BadInput when it is missing or damaged.

    `weights`: "fp32", "bf16" or "int8", see `engine.packing`; None: as the checkpoint is loaded.
    """
    model, _ = load_checkpoint(checkpoint)
    renderer = Renderer(Tokenizer.load(checkpoint), effort)
    engine = Engine(model, max_slots=max_slots, max_len=max_len, threads=threads, speculate=speculate,
                    weights=weight_format(weights) if weights else None, cache_mib=cache_mib)  # fmt: skip
    return NativeClient(engine, renderer, name or checkpoint.name)
