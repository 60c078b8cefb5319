"""/v1/responses without state on the server: requests and answers (platform.openai.com/docs/api-reference/responses).

Some models are served by this API alone. Reasoning items are not sent back: messages have no place for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from vivace.core.errors import BadAnswer, EndpointFailed, Filtered
from vivace.core.types import Completion, Delta, Effort, Message, Pictured, Sampling, ToolCall
from vivace.harness.clients.wire import PNG, read_call, read_text, read_usage, unusable, write_arguments

_LAST = {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}


class ResponsesDialect:
    """Implements `wire.Dialect`."""

    path = "/responses"

    def body(self, model: str, messages: Iterable[Message], tools: Iterable[dict[str, Any]], sampling: Sampling,
             effort: Effort | None, stream: bool) -> dict[str, Any]:  # fmt: skip
        first, *rest = [*messages]
        system = first.role == "system"
        body: dict[str, Any] = {
            "model": model,
            "instructions": first.content if system else None,
            "input": [item for message in (rest if system else [first, *rest]) for item in _to_wire(message)],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_output_tokens": sampling.max_tokens,
            "store": False,
            "stream": stream,
        }
        if effort:
            body["reasoning"] = {"effort": effort}
        if wanted := [{"type": "function", **tool["function"]} for tool in tools]:
            body["tools"] = wanted
        return body

    def whole(self, data: dict[str, Any], sent: Any) -> Completion:
        text: list[str] = []
        calls: list[ToolCall] = []
        try:
            if data.get("status") == "failed":
                raise _failed(data)
            for item in data["output"]:
                if item.get("type") == "message":
                    text.append(read_text(item.get("content")))
                elif item.get("type") == "function_call":
                    calls.append(read_call(item.get("name"), item.get("arguments"), item.get("call_id"), len(calls)))
            why = (data.get("incomplete_details") or {}).get("reason")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise unusable(error) from None
        if why == "content_filter" and not calls:
            raise Filtered("the endpoint's content filter withheld the answer; put the request in other words")
        message = Message(role="assistant", content="".join(text), tool_calls=calls)
        cut = data.get("status") == "incomplete"
        return Completion(message=message, finish_reason="length" if cut else "stop",
                          usage=read_usage(data.get("usage"), message, sent))

    def assembler(self) -> ResponsesAssembler:
        return ResponsesAssembler(self)


class ResponsesAssembler:
    """Implements `wire.Assembler`: the last event holds the whole response; what comes before is for the listener,
    and stands in where the last event leaves the output out."""

    def __init__(self, dialect: ResponsesDialect) -> None:
        self._dialect = dialect
        self._items: dict[int, Any] = {}
        self._last: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        return self._last is not None

    def feed(self, event: dict[str, Any]) -> Iterator[Delta]:
        """Take in one event. BadAnswer when it is none."""
        kind = event.get("type")
        if kind == "response.output_text.delta" and isinstance(event.get("delta"), str):
            yield Delta(text=event["delta"])
        elif kind == "response.function_call_arguments.delta" and isinstance(event.get("delta"), str):
            yield Delta(arguments=event["delta"])
        elif kind in ("response.output_item.added", "response.output_item.done"):
            item, at = event.get("item"), event.get("output_index", len(self._items))
            if not isinstance(item, dict) or not isinstance(at, int):
                raise unusable(kind)
            if kind.endswith("done"):
                self._items[at] = item
            elif item.get("type") == "function_call":
                yield Delta(call=str(item.get("name")))
        elif kind in _LAST:
            if not isinstance(event.get("response"), dict):
                raise unusable(kind)
            self._last = event["response"]

    def completion(self, sent: Any) -> Completion:
        if self._last is None:
            raise BadAnswer("the endpoint ended its answer without saying what it was; is it a /v1/responses endpoint?")
        output = self._last.get("output") or [item for _, item in sorted(self._items.items())]
        return self._dialect.whole({**self._last, "output": output}, sent)


def _failed(data: dict[str, Any]) -> EndpointFailed:
    error = data.get("error")
    detail = error.get("message") if isinstance(error, dict) else error
    return EndpointFailed(f"the endpoint could not finish its answer ({detail}); try again later")


def _to_wire(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": message.content}]
    items: list[dict[str, Any]] = []
    if message.content or not message.tool_calls:
        kind = "output_text" if message.role == "assistant" else "input_text"
        content: list[dict[str, Any]] = [{"type": kind, "text": message.content}]
        if isinstance(message, Pictured):
            content += [{"type": "input_image", "image_url": PNG + image} for image in message.images]
        items.append({"type": "message", "role": message.role, "content": content})
    items += [{"type": "function_call", "call_id": call.id, "name": call.name, "arguments": write_arguments(call)}
              for call in message.tool_calls]
    return items
