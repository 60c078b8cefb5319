"""Any endpoint that speaks /v1/chat/completions, with tools, usage, retries and one clear line for each failure."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Sequence
from typing import Any

import httpx

from vivace.core.errors import ContextOverflow, ModelError
from vivace.core.protocols import Codec
from vivace.core.types import Completion, Message, Sampling, ToolCall, Usage
from vivace.harness.tools.registry import INVALID_JSON

_OVERFLOW = re.compile(
    r"context.{0,20}(length|window|size)|maximum.{0,20}(context|tokens)|too many tokens|prompt is too long|"
    r"exceeds.{0,40}(context|tokens)",
    re.IGNORECASE,
)
_LONGEST_WAIT = 30.0
_CHARACTERS_PER_TOKEN = 3.4


class OpenAIClient:
    """A remote or local model behind an OpenAI-compatible endpoint. Safe to use from several threads.

    Args:
        base_url: with or without /v1, or the whole address of chat/completions.
        model: as the endpoint names it.
        api_key: sent as a bearer token if given.
        timeout_s: per request, for connecting and between bytes.
        retries: further tries after 429, 5xx, timeouts and broken connections (none where nobody ever answered).
        backoff_s: first wait; it doubles with every try, with jitter, and `Retry-After` is obeyed.
    """

    codec: Codec | None

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str = "",
        timeout_s: float = 120.0,
        retries: int = 4,
        backoff_s: float = 1.0,
    ) -> None:
        self.codec = None
        self.name = self.model = model
        self.url = _endpoint(base_url)
        self.retries, self.backoff_s = retries, backoff_s
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(timeout=timeout_s, headers=headers)
        self._length_field = "max_tokens"
        self._answered = False

    def close(self) -> None:
        self._http.close()

    def models(self) -> list[str]:
        """Names of the models that the endpoint lists.

        Raises:
            ModelError: it does not answer or has no list.
        """
        data = self._json(self._send("GET", self.url.removesuffix("/chat/completions") + "/models", None))
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
        """One answer.

        Raises:
            ModelError: no usable answer; the text says why and what to do.
            ContextOverflow: the endpoint says that the prompt is too long.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [_to_wire(message) for message in messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "stream": False,
        }
        if tools:
            body["tools"] = list(tools)
        response = self._send("POST", self.url, {**body, self._length_field: sampling.max_tokens})
        if response.status_code == 400 and "max_completion_tokens" in response.text:
            self._length_field = "max_completion_tokens"
            response = self._send("POST", self.url, {**body, self._length_field: sampling.max_tokens})
        self._refuse_failures(response)
        return _from_wire(self._json(response), body["messages"])

    def _send(self, method: str, url: str, body: dict[str, Any] | None) -> httpx.Response:
        """The response after retries; 4xx other than 408 and 429 are returned at once."""
        problem = ""
        for attempt in range(self.retries + 1):
            wait = min(self.backoff_s * 2**attempt, _LONGEST_WAIT) * random.uniform(0.75, 1.25)
            try:
                response = self._http.request(method, url, json=body)
            except httpx.TimeoutException:
                problem = f"{url} did not answer in time; raise the timeout or use a faster model"
            except (httpx.InvalidURL, httpx.UnsupportedProtocol):
                raise ModelError(f"{url} is not an address; give --base-url as http://host:port/v1") from None
            except httpx.ConnectError:
                problem = f"cannot reach {url}; start the server there, or check --base-url"
                if not self._answered:  # a wrong address, more likely than a server that restarts
                    break
            except httpx.TransportError as error:
                problem = f"{url} broke the connection ({error}); check the server's log"
            else:
                self._answered = True
                if response.status_code not in (408, 429) and response.status_code < 500:
                    return response
                problem = f"{url} answered {response.status_code} {_detail(response)}; try again later"
                wait = max(wait, min(_retry_after(response), _LONGEST_WAIT))
            if attempt < self.retries:
                time.sleep(wait)
        raise ModelError(problem)

    def _refuse_failures(self, response: httpx.Response) -> None:
        status, detail = response.status_code, _detail(response)
        if status < 300:
            return
        if status in (400, 413, 422) and _OVERFLOW.search(response.text):
            raise ContextOverflow(f"{self.model}: the conversation is longer than its context ({detail})")
        if status in (401, 403):
            mend = "put a valid one in VIVACE_API_KEY or OPENAI_API_KEY"
            raise ModelError(f"{self.url} refused the key ({status}); {mend}")
        if status == 404 or (status == 400 and "model" in detail.lower()):
            raise ModelError(self._unknown_model(detail))
        raise ModelError(f"{self.url} refused the request ({status}): {detail}")

    def _unknown_model(self, detail: str) -> str:
        try:
            names = self.models()
        except ModelError:
            names = []
        if self.model in names:
            return f"{self.url} refused the request: {detail}"
        if not names:
            return f"{self.url} does not know this address or model {self.model!r}; check --base-url (it ends in /v1)"
        return f"{self.url} has no model {self.model!r}; it has {', '.join(names[:10])}"

    def _json(self, response: httpx.Response) -> dict[str, Any]:
        if response.status_code >= 300:
            raise ModelError(f"{response.url} answered {response.status_code} {_detail(response)}")
        try:
            data = response.json()
        except ValueError:
            data = None
        if not isinstance(data, dict):
            start = response.text[:60].replace("\n", " ")
            raise ModelError(f"{response.url} did not answer in JSON ({start!r}); check --base-url (it ends in /v1)")
        return data


def _endpoint(base_url: str) -> str:
    """As editors do: a whole address is kept, /vN gets the path, anything else /v1 and the path."""
    url = base_url.strip().rstrip("/")
    if url.endswith("/chat/completions"):
        return url
    return f"{url}{'' if re.search(r'/v[0-9]+$', url) else '/v1'}/chat/completions"


def _retry_after(response: httpx.Response) -> float:
    try:
        return float(response.headers.get("retry-after", "0"))
    except ValueError:  # an HTTP date: our own backoff will do
        return 0.0


def _detail(response: httpx.Response) -> str:
    """The server's own words, on one line."""
    text = response.text
    try:
        data = response.json()
        error = data.get("error", data) if isinstance(data, dict) else data
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except ValueError:
        pass
    return " ".join(text.split())[:200] or response.reason_phrase


def _to_wire(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.role == "tool":
        wire["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        wire["content"] = message.content or None
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _arguments_text(call)}}
            for call in message.tool_calls
        ]
    return wire


def _arguments_text(call: ToolCall) -> str:
    if set(call.arguments) == {INVALID_JSON}:
        return "{}"  # many servers parse the arguments of earlier turns and fail on what is not JSON
    return json.dumps(call.arguments, ensure_ascii=False)


def _from_wire(data: dict[str, Any], sent: list[dict[str, Any]]) -> Completion:
    try:
        choice = data["choices"][0]
        wire = choice["message"]
        calls = [_call_from_wire(call, number) for number, call in enumerate(wire.get("tool_calls") or [])]
        message = Message(role="assistant", content=_text(wire.get("content")), tool_calls=calls)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ModelError(f"the endpoint's answer has no usable message ({error!r}); is it a chat endpoint?") from None
    cut = choice.get("finish_reason") == "length"
    usage = _usage(data.get("usage"), message, sent)
    return Completion(message=message, finish_reason="length" if cut else "stop", usage=usage)


def _call_from_wire(call: dict[str, Any], number: int) -> ToolCall:
    function = call["function"]
    raw = function.get("arguments") or "{}"
    arguments = raw
    if isinstance(raw, str):
        try:
            arguments = json.loads(raw, strict=False)
        except json.JSONDecodeError:
            arguments = None
    if not isinstance(arguments, dict):
        arguments = {INVALID_JSON: raw if isinstance(raw, str) else json.dumps(raw)}
    return ToolCall(name=str(function["name"]), arguments=arguments, id=str(call.get("id") or f"call_{number}"))


def _text(content: Any) -> str:
    """Content as text; some servers send a list of parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content or ""


def _usage(usage: Any, message: Message, sent: list[dict[str, Any]]) -> Usage:
    """The server's counts, or estimates where it gives none, so that budgets hold all the same."""
    if isinstance(usage, dict) and isinstance(usage.get("completion_tokens"), int):
        details = usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else 0
        return Usage(
            input_tokens=int(usage.get("prompt_tokens") or 0),
            cached_tokens=int(cached or 0),
            output_tokens=usage["completion_tokens"],
        )
    written = message.content + "".join(call.name + str(call.arguments) for call in message.tool_calls)
    return Usage(
        input_tokens=int(len(json.dumps(sent)) / _CHARACTERS_PER_TOKEN),
        output_tokens=max(1, int(len(written) / _CHARACTERS_PER_TOKEN)),
    )
