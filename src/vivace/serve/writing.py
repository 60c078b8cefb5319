"""From the ids of an answer to events, as they come: text up to a stop string, and calls whose arguments are JSON.

A native model writes arguments as raw text. One that the tool's schema wants as a number, list, ... is sent as that if
it reads so; everything else is a JSON string, sent while it is written.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from vivace.core.types import Message, ToolCall
from vivace.serve.ask import CallArguments, CallStart, Event, Text, TokenLogprob
from vivace.text.answers import AnswerReader, ArgumentNamed, ArgumentSaid, CallNamed, Heard, Said
from vivace.text.grammar import ToolSpec
from vivace.text.tokenizer import Tokenizer


def new_id(prefix: str) -> str:
    return f"{prefix}{uuid.uuid4().hex[:24]}"


class StopStrings:
    """Lets text through up to the first of `stops`; what may be the beginning of one is held back."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.found: str | None = None

    def feed(self, text: str) -> str:
        if not self._stops or self.found is not None:
            return "" if self.found is not None else text
        text = self._held + text
        hits = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if hits:
            at, self.found = min(hits, key=lambda hit: hit[0])
            self._held = ""
            return text[:at]
        keep = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


class AnswerWriter:
    """Feed ids, take events. `message` is the whole answer so far, as the client got it."""

    def __init__(self, tokenizer: Tokenizer, tools: Sequence[ToolSpec], stops: Sequence[str] = ()) -> None:
        self._reader = AnswerReader(tokenizer)
        self._tools = {tool.name: tool for tool in tools}
        self._stops = StopStrings(stops)
        self._logprobs: list[TokenLogprob] = []
        self._text: list[str] = []
        self._calls: list[tuple[CallStart, list[str]]] = []
        self._schema: Mapping[str, Any] = {}
        self._key: str | None = None
        self._value: list[str] = []
        self._typed = False

    @property
    def stopped(self) -> str | None:
        """The stop string that was met; what comes after it is not wanted."""
        return self._stops.found

    @property
    def called(self) -> bool:
        return bool(self._calls)

    @property
    def message(self) -> Message:
        calls = [ToolCall(id=start.id, name=start.name, arguments=json.loads("".join(parts) or "{}"))
                 for start, parts in self._calls]  # fmt: skip
        return Message(role="assistant", content="".join(self._text), tool_calls=calls)

    def feed(self, token: int, logprob: TokenLogprob | None = None) -> list[Event]:
        if logprob and self._reader.in_text:
            self._logprobs.append(logprob)
        return self._events(self._reader.feed(token))

    def finish(self) -> list[Event]:
        events = self._events(self._reader.finish())
        if self._calls:
            return [*events, *self._end_call()]
        if self.stopped is None:
            events += self._say(self._stops.finish())
        return events

    def _events(self, heard: Sequence[Heard]) -> list[Event]:
        events: list[Event] = []
        for one in heard:
            if isinstance(one, Said):
                events += self._say(self._stops.feed(one.text))
                if self.stopped is not None:
                    break
            elif isinstance(one, CallNamed):
                events += self._start_call(one.name)
            elif isinstance(one, ArgumentNamed):
                events += self._start_argument(one.key)
            elif isinstance(one, ArgumentSaid):
                events += self._argue(one.text)
        return events

    def _say(self, text: str) -> list[Event]:
        if not text:
            return []
        self._text.append(text)
        logprobs, self._logprobs = self._logprobs, []
        return [Text(text, logprobs)]

    def _start_call(self, name: str) -> list[Event]:
        events = self._end_call() if self._calls else self._say(self._stops.finish())
        start = CallStart(new_id("call_"), name)
        self._calls.append((start, []))
        tool = self._tools.get(name)
        self._schema = tool.properties if tool else {}
        return [*events, start]

    def _start_argument(self, key: str) -> list[Event]:
        if not self._calls:
            return []
        events = self._end_argument()
        first = not self._calls[-1][1]
        self._key, self._value, self._typed = key, [], _wants_json(self._schema.get(key))
        start = "{" if first else ", "
        return [*events, *self._write(f"{start}{_json(key)}: " + ("" if self._typed else '"'))]

    def _argue(self, text: str) -> list[Event]:
        if self._key is None:
            return []
        if self._typed:
            self._value.append(text)
            return []
        return self._write(_json(text)[1:-1])

    def _end_argument(self) -> list[Event]:
        if self._key is None:
            return []
        key, self._key = self._key, None
        return self._write(_as_json("".join(self._value), self._schema.get(key)) if self._typed else '"')

    def _end_call(self) -> list[Event]:
        events = self._end_argument()
        return [*events, *self._write("}" if self._calls[-1][1] else "{}")]

    def _write(self, text: str) -> list[Event]:
        self._calls[-1][1].append(text)
        return [CallArguments(text)]


_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,), "object": (dict,),
    "null": (type(None),),
}  # fmt: skip


def _types(schema: Any) -> set[str]:
    if not isinstance(schema, Mapping):
        return set()
    kinds = schema.get("type")
    found = {kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(kind, str)}
    for name in ("anyOf", "oneOf"):
        branches = schema.get(name)
        for branch in branches if isinstance(branches, list) else []:
            found |= _types(branch)
    return found


def _wants_json(schema: Any) -> bool:
    kinds = _types(schema)
    return bool(kinds) and "string" not in kinds


def _as_json(raw: str, schema: Any) -> str:
    """`raw` itself if it is JSON of a type that the schema names, else as a JSON string."""
    try:
        value = json.loads(raw, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _json(raw)
    kinds = tuple(kind for name in _types(schema) for kind in _JSON_TYPES.get(name, ()))
    fits = isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
    return raw.strip() if fits else _json(raw)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
