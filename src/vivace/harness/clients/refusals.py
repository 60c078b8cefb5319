"""Answers that are none: status codes and words of an endpoint as typed errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from vivace.core.errors import (
    ContextOverflow,
    EndpointFailed,
    EndpointTimeout,
    KeyRefused,
    ModelError,
    RateLimited,
    RequestRefused,
    UnknownModel,
    VivaceError,
)

_OVERFLOW = re.compile(
    r"context.{0,20}(length|window|size)|maximum.{0,20}(context|tokens)|too many tokens|prompt is too long|"
    r"exceeds.{0,40}(context|tokens)",
    re.IGNORECASE,
)
_BUSY = re.compile(r"overload|busy|capacity|unavailable|internal|server_error|timed? ?out", re.IGNORECASE)
_FIELD = re.compile(r"unsupported|unknown|unrecognized|not (supported|permitted|allowed|accept)|extra|invalid|use '",
                    re.IGNORECASE)


class Asked(Protocol):
    """Whom the request was put to."""

    url: str
    model: str

    def models(self) -> list[str]: ...


class FieldRefused(Exception):
    """A 400 or 422 that may be about one field; `error()` is what it is otherwise."""

    def __init__(self, detail: str, error: Callable[[], ModelError]) -> None:
        super().__init__(detail)
        self.detail, self.error = detail, error


def check(asked: Asked, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
    """Nothing for a 2xx.

    Raises:
        ContextOverflow: the prompt is too long.
        ModelError: by status.
        FieldRefused: the request may do without what is refused.
    """
    check_passing(asked, status, text, headers or {})
    if status < 300:
        return
    said = detail(text) or f"status {status}"
    if status in (400, 413, 422) and _OVERFLOW.search(text):
        raise ContextOverflow(f"{asked.model}: the conversation is longer than its context ({said})")
    if status in (401, 403):
        mend = "put a valid one in VIVACE_API_KEY or OPENAI_API_KEY"
        raise KeyRefused(f"{asked.url} refused the key ({status}); {mend}")
    refused = RequestRefused(f"{asked.url} refused the request ({status}): {said}")
    if status == 404 or (status == 400 and "model" in said.lower() and not _FIELD.search(said)):
        raise _unknown_model(asked, said)
    if status in (400, 422) and _FIELD.search(said):
        raise FieldRefused(said, lambda: _unknown_model(asked, said) if "model" in said.lower() else refused)
    raise refused


def check_passing(asked: Asked, status: int, text: str, headers: Mapping[str, str]) -> None:
    """Raise what may be different in a moment: 408, 429 and 5xx."""
    line = f"{asked.url} answered {status} {detail(text)}; try again later"
    wait = _retry_after(headers)
    if status == 429:
        raise RateLimited(line, retry_after_s=wait)
    if status == 408:
        raise EndpointTimeout(line, retry_after_s=wait)
    if status >= 500:
        raise EndpointFailed(line, retry_after_s=wait)


def in_a_stream(asked: Asked, event: Mapping[str, Any]) -> VivaceError:
    """An error that comes as an event of a stream, whatever the status was."""
    said = detail(json.dumps(event))
    if _OVERFLOW.search(json.dumps(event)):
        return ContextOverflow(f"{asked.model}: the conversation is longer than its context ({said})")
    words = json.dumps(event)
    if "429" in words or "rate_limit" in words:
        return RateLimited(f"{asked.url} broke off: {said}; try again later")
    if re.search(r'"(code|status)": ?"?5\d\d', words) or _BUSY.search(words):
        return EndpointFailed(f"{asked.url} broke off: {said}; try again later")
    return RequestRefused(f"{asked.url} broke off: {said}")


def detail(text: str) -> str:
    """The endpoint's own words, on one line."""
    try:
        data = json.loads(text)
        error = data.get("error") or data if isinstance(data, dict) else data
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, RecursionError):
        pass
    return " ".join(text.split())[:200]


def _unknown_model(asked: Asked, said: str) -> UnknownModel:
    try:
        names = asked.models()
    except (VivaceError, FieldRefused):
        names = []
    if asked.model in names:
        return UnknownModel(f"{asked.url} refused the request: {said}")
    if not names:
        return UnknownModel(
            f"{asked.url} does not know this address or model {asked.model!r}; check --base-url (it ends in /v1) "
            "and --api")
    return UnknownModel(f"{asked.url} has no model {asked.model!r}; it has {', '.join(names[:10])}")


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return float(headers.get("retry-after", "0"))
    except ValueError:  # an HTTP date: our own backoff will do
        return 0.0
