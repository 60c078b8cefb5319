"""Any endpoint that speaks /v1/chat/completions or /v1/responses: tools, streams, usage, retries, and one clear typed
error for each way to fail."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import httpx

from vivace.core.errors import BadAnswer, CutAnswer, ModelError, RequestRefused, Stopped, Unreachable
from vivace.core.protocols import Codec, Listener
from vivace.core.types import Completion, Delta, Effort, Message, Sampling
from vivace.harness.clients import refusals
from vivace.harness.clients.chat_wire import ChatDialect
from vivace.harness.clients.responses_wire import ResponsesDialect
from vivace.harness.clients.sse import events
from vivace.harness.clients.transport import Exchange
from vivace.harness.clients.wire import Dialect

Api = Literal["chat", "responses"]
DIALECTS: dict[Api, Dialect] = {"chat": ChatDialect(), "responses": ResponsesDialect()}
_LONGEST_WAIT = 30.0
_T = TypeVar("_T")
_OPTIONAL = ("stream_options", "seed", "reasoning_effort", "reasoning", "temperature", "top_p", "store")
"""Fields that an endpoint may not know; left out from then on if it says so."""


class OpenAIClient:
    """A remote or local model behind an OpenAI-compatible endpoint. Safe to use from several threads.

    Args:
        base_url: with or without /v1, or the whole address of chat/completions or responses.
        model: as the endpoint names it.
        api_key: sent as a bearer token if given.
        api: which of the two; None: as `base_url` ends, else chat.
        effort: `reasoning_effort`, sent if given. May be set later.
        timeout_s: for connecting and between bytes.
        answer_s: for the whole of an answer.
        retries: further tries after failures that pass: 429, 5xx, timeouts, broken connections and cut answers (none
            where nobody ever answered).
        backoff_s: first wait; it doubles with every try, with jitter, and `Retry-After` is obeyed.
    """

    codec: Codec | None

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str = "",
        api: Api | None = None,
        effort: Effort | None = None,
        timeout_s: float = 120.0,
        answer_s: float = 900.0,
        retries: int = 4,
        backoff_s: float = 1.0,
    ) -> None:
        self.codec = None
        self.name = self.model = model
        self.effort = effort
        self.api, self.root = _endpoint(base_url, api)
        self._dialect = DIALECTS[self.api]
        self.url = self.root + self._dialect.path
        self.retries, self.backoff_s, self.answer_s = retries, backoff_s, answer_s
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(timeout=timeout_s, headers=headers)
        self._renamed: dict[str, str] = {}
        self.left_out: set[str] = set()
        """Fields that the endpoint has refused and that are no longer sent."""
        self._answered = False

    def close(self) -> None:
        self._http.close()

    def models(self) -> list[str]:
        """Names of the models that the endpoint lists.

        Raises:
            ModelError: it does not answer or has no list.
        """
        status, text = self._retrying(lambda: self._whole("GET", self.root + "/models", None, _never), _never)
        if status >= 300:
            raise RequestRefused(f"{self.root}/models answered {status} {refusals.detail(text)}")
        data = _object(text, self.root + "/models")
        rows = data.get("data") or data.get("models") or []
        names = [row.get("id") or row.get("name") for row in rows if isinstance(row, dict)]
        return sorted(name for name in names if isinstance(name, str))

    def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[dict[str, Any]],
        sampling: Sampling,
        prompt_ids: Sequence[int] = (),
    ) -> Completion:
        """One answer, asked for as a whole.

        Raises:
            ModelError: no usable answer; the subclass says how it failed, the text why and what to do.
            ContextOverflow: the endpoint says that the prompt is too long.
        """
        body = self._dialect.body(self.model, messages, tools, sampling, self.effort, stream=False)

        def once() -> Completion:
            status, text = self._whole("POST", self.url, self._bent(body), _never)
            refusals.check(self, status, text)
            return self._dialect.whole(_object(text, self.url), body)

        return self._retrying(once, _never, body)

    def stream(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[dict[str, Any]],
        sampling: Sampling,
        prompt_ids: Sequence[int] = (),
        listener: Listener,
    ) -> Completion:
        """The same answer, told to `listener` piece by piece; raises as `complete`, and Stopped when it wants no more.

        An answer that breaks off is asked for again from its beginning, after a delta that says so.
        """
        body = self._dialect.body(self.model, messages, tools, sampling, self.effort, stream=True)
        told = False

        def once() -> Completion:
            nonlocal told
            if told:
                listener.delta(Delta(again=True))
                told = False

            def tell(delta: Delta) -> None:
                nonlocal told
                told = True
                listener.delta(delta)

            return self._listen(body, tell, listener.stopped)

        return self._retrying(once, listener.stopped, body)

    def _listen(
        self, body: dict[str, Any], tell: Callable[[Delta], None], stopped: Callable[[], bool]
    ) -> Completion:
        with Exchange(self._http, "POST", self.url, self._bent(body), timeout_s=self.answer_s,
                      stopped=stopped) as exchange:  # fmt: skip
            exchange.open()
            self._answered = True
            if exchange.status >= 300:
                refusals.check(self, exchange.status, exchange.text(), exchange.headers)
            if "event-stream" not in exchange.headers.get("content-type", ""):  # it does not stream, then
                whole = self._dialect.whole(_object(exchange.text(), self.url), body)
                tell(Delta(text=whole.message.content))
                return whole
            assembler, said_done = self._dialect.assembler(), False
            for data in events(exchange.chunks()):
                if said_done := data.strip() == "[DONE]":
                    break
                for delta in assembler.feed(self._event(data)):
                    tell(delta)
            if not (assembler.ended or said_done):
                raise CutAnswer(f"{self.url} ended its answer in the middle; check the server's log")
            return assembler.completion(body)

    def _event(self, data: str) -> dict[str, Any]:
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            raise BadAnswer(f"{self.url} sent an event that is not JSON ({data[:60]!r}); check the server's log",
                            passing=True)
        if event.get("type") == "error" or event.get("error"):
            raise refusals.in_a_stream(self, event)
        return event

    def _whole(
        self, method: str, url: str, body: dict[str, Any] | None, stopped: Callable[[], bool]
    ) -> tuple[int, str]:
        """Status and text of an answer; those that pass are raised, because only they know how long to wait."""
        with Exchange(self._http, method, url, body, timeout_s=self.answer_s, stopped=stopped) as exchange:
            exchange.open()
            self._answered = True
            text = exchange.text()
            refusals.check_passing(self, exchange.status, text, exchange.headers)
            return exchange.status, text

    def _retrying(self, once: Callable[[], _T], stopped: Callable[[], bool],
                  body: dict[str, Any] | None = None) -> _T:  # fmt: skip
        """`once()` until it succeeds, its failure is no passing one, or the tries are used up."""
        tries = 0
        while True:
            try:
                return once()
            except refusals.FieldRefused as refused:
                if body is None or not self._learn(refused.detail, body):
                    raise refused.error() from None
                continue
            except ModelError as error:
                restarting = isinstance(error, Unreachable) and self._answered  # a wrong address, otherwise
                if tries >= self.retries or not (error.passing or restarting):
                    raise
                wait = min(self.backoff_s * 2**tries, _LONGEST_WAIT) * random.uniform(0.75, 1.25)
                wait = max(wait, min(error.retry_after_s, _LONGEST_WAIT))
            tries += 1
            _sleep(wait, stopped)

    def _learn(self, detail: str, body: dict[str, Any]) -> bool:
        """Whether the endpoint's words name a field that can be called otherwise or left out."""
        if "max_completion_tokens" in detail and "max_tokens" in body and "max_tokens" not in self._renamed:
            self._renamed["max_tokens"] = "max_completion_tokens"
            return True
        for name in _OPTIONAL:
            if name in body and name not in self.left_out and re.search(rf"\b{name}\b", detail):
                self.left_out.add(name)
                return True
        return False

    def _bent(self, body: dict[str, Any]) -> dict[str, Any]:
        """The request as this endpoint has been found to want it."""
        return {self._renamed.get(name, name): value for name, value in body.items() if name not in self.left_out}


def _never() -> bool:
    return False


def _sleep(seconds: float, stopped: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if stopped():
            raise Stopped
        time.sleep(min(left, 0.1))


def _object(text: str, url: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        start = text[:60].replace("\n", " ")
        raise BadAnswer(f"{url} did not answer in JSON ({start!r}); check --base-url (it ends in /v1)")
    return data


def _endpoint(base_url: str, api: Api | None) -> tuple[Api, str]:
    """(API, address without its path). As editors do: a whole address says which, /vN is kept, else /v1 is added."""
    url = base_url.strip().rstrip("/")
    for name, dialect in DIALECTS.items():
        if url.endswith(dialect.path):
            return api or name, url.removesuffix(dialect.path)
    return api or "chat", url if re.search(r"/v[0-9]+$", url) else f"{url}/v1"
