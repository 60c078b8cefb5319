"""Asking a client for one answer: listened to where the front end wants that, and never recorded by halves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vivace.core.protocols import Client, StreamingClient
from vivace.core.types import Completion, Delta, Sampling
from vivace.harness.hooks import Hooks
from vivace.harness.limits import Budget
from vivace.harness.transcript import Transcript


class _Listener:
    """Implements `core.protocols.Listener` for a front end, within the seconds that are left."""

    def __init__(self, hooks: Hooks, budget: Budget) -> None:
        self._hooks, self._budget = hooks, budget

    def delta(self, delta: Delta) -> None:
        self._hooks.delta(delta)

    def stopped(self) -> bool:
        return self._budget.late or self._hooks.stopped()


def ask(
    client: Client, record: Transcript, tools: Sequence[dict[str, Any]], sampling: Sampling, hooks: Hooks,
    budget: Budget,
) -> Completion:
    """The next answer. Whatever goes wrong, the record is then as it was before.

    Raises:
        Stopped: an answer that was listened to was given up, by the user or for its time.
        InfraError, ContextOverflow: as the client does.
    """
    mark = record.mark()
    ids = record.open_answer()
    try:
        if hooks.listens and isinstance(client, StreamingClient):
            return client.stream(record.messages, tools=tools, sampling=sampling, prompt_ids=ids,
                                 listener=_Listener(hooks, budget))
        return client.complete(record.messages, tools=tools, sampling=sampling, prompt_ids=ids)
    except BaseException:
        record.take_back(mark)
        raise
