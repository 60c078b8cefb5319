"""/v1/chat/completions: requests and answers (platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from vivace.core.errors import Filtered
from vivace.core.types import Completion, Delta, Effort, Message, Pictured, Sampling, ToolCall
from vivace.harness.clients.wire import PNG, read_call, read_text, read_usage, unusable, write_arguments


class ChatDialect:
    """Implements `wire.Dialect`."""

    path = "/chat/completions"

    def body(self, model: str, messages: Iterable[Message], tools: Iterable[dict[str, Any]], sampling: Sampling,
             effort: Effort | None, stream: bool) -> dict[str, Any]:  # fmt: skip
        body: dict[str, Any] = {
            "model": model,
            "messages": [_to_wire(message) for message in messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "max_tokens": sampling.max_tokens,
            "stream": stream,
        }
        if stream:
            body["stream_options"] = {"include_usage": True}
        if effort:
            body["reasoning_effort"] = effort
        if wanted := list(tools):
            body["tools"] = wanted
        return body

    def whole(self, data: dict[str, Any], sent: Any) -> Completion:
        try:
            choice = data["choices"][0]
            wire = choice["message"]
            calls = [_call(call, number) for number, call in enumerate(wire.get("tool_calls") or [])]
            content = read_text(wire.get("content"))
            finish = choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise unusable(error) from None
        return _completion(content, calls, finish, data.get("usage"), sent)

    def assembler(self) -> ChatAssembler:
        return ChatAssembler()


class ChatAssembler:
    """Implements `wire.Assembler` for chat completion chunks."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._calls: list[dict[str, Any]] = []  # {index, id, name, arguments: [pieces]}
        self._finish: Any = None
        self._usage: Any = None

    @property
    def ended(self) -> bool:
        return self._finish is not None

    def feed(self, event: dict[str, Any]) -> Iterator[Delta]:
        """Take in one chunk. BadAnswer when it is none."""
        if event.get("usage") is not None:
            self._usage = event["usage"]
        try:
            choices = event.get("choices") or []
            choice = choices[0] if choices else {}
            delta = choice.get("delta") or {}
            if choice.get("finish_reason") is not None:
                self._finish = choice["finish_reason"]
            text = read_text(delta.get("content"))
            if text:
                self._text.append(text)
                yield Delta(text=text)
            for piece in delta.get("tool_calls") or []:
                yield from self._add(piece)
        except (KeyError, TypeError, AttributeError) as error:
            raise unusable(error) from None

    def completion(self, sent: Any) -> Completion:
        calls = [read_call(call["name"], "".join(call["arguments"]), call["id"], n)
                 for n, call in enumerate(self._calls)]
        return _completion("".join(self._text), calls, self._finish, self._usage, sent)

    def _add(self, piece: dict[str, Any]) -> Iterator[Delta]:
        function = piece.get("function") or {}
        index, call_id, name = piece.get("index"), piece.get("id"), function.get("name")
        call = self._find(index, call_id, name)
        if name and not call["name"]:
            call["name"] = name
            yield Delta(call=str(name))
        call["id"] = call["id"] or call_id
        more = function.get("arguments")
        if isinstance(more, dict):  # some servers send the object itself
            call["arguments"] = [write_arguments(ToolCall(name=str(name), arguments=more))]
        elif more:
            call["arguments"].append(str(more))
            yield Delta(arguments=str(more))

    def _find(self, index: Any, call_id: Any, name: Any) -> dict[str, Any]:
        """The call that a piece belongs to. Some servers number nothing: then an id or a name of its own begins one;
        others number all of them 0."""
        for call in reversed(self._calls):
            same_id = not call_id or not call["id"] or call["id"] == call_id
            if (index is None and not name and same_id) or (index is not None and call["index"] == index and same_id):
                return call
        self._calls.append({"index": index, "id": call_id, "name": "", "arguments": []})
        return self._calls[-1]


def _completion(content: str, calls: list[ToolCall], finish: Any, usage: Any, sent: Any) -> Completion:
    if finish == "content_filter" and not calls:
        raise Filtered("the endpoint's content filter withheld the answer; put the request in other words")
    message = Message(role="assistant", content=content, tool_calls=calls)
    cut = finish == "length"
    return Completion(message=message, finish_reason="length" if cut else "stop",
                      usage=read_usage(usage, message, sent))


def _call(call: dict[str, Any], number: int) -> ToolCall:
    function = call["function"]
    return read_call(function.get("name"), function.get("arguments"), call.get("id"), number)


def _to_wire(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
    if isinstance(message, Pictured):
        wire["content"] = [{"type": "text", "text": message.content},
                           *({"type": "image_url", "image_url": {"url": PNG + image}} for image in message.images)]
    if message.role == "tool":
        wire["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        wire["content"] = message.content or None
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": write_arguments(call)}}
            for call in message.tool_calls
        ]
    return wire
