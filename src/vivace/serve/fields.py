"""Reading a request: every field by its type, and a 400 that names the one that is wrong."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from vivace.core.types import Effort, Message, Sampling, ToolCall
from vivace.serve.ask import Shaping
from vivace.serve.errors import bad, unsupported
from vivace.text.grammar import ToolSpec

MAX_STOPS, MAX_CHOICES, MAX_TOP_LOGPROBS = 16, 16, 20
_EFFORTS: dict[str, Effort] = {"none": "low", "minimal": "low", "low": "low", "medium": "medium", "high": "high",
                               "xhigh": "high", "max": "high"}  # fmt: skip


class Fields:
    """A JSON object. A field that is null counts as absent."""

    def __init__(self, data: Any, where: str = "") -> None:
        if not isinstance(data, dict):
            raise bad(f"{where or 'the request body'} must be a JSON object", where or None)
        self.data: dict[str, Any] = data
        self._where = f"{where}." if where else ""

    def get(self, name: str) -> Any:
        return self.data.get(name)

    def text(self, name: str, default: str | None = None) -> str:
        value = self.data.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise self.wrong(name, "a string")
        return value

    def number(self, name: str, default: float, low: float = -math.inf, high: float = math.inf) -> float:
        value = self.data.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.wrong(name, f"a number from {low:g} to {high:g}")
        return float(value)

    def integer(self, name: str, low: int, high: int = 2**63) -> int | None:
        value = self.data.get(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(name, f"an integer, at least {low}" + (f" and at most {high}" if high < 2**63 else ""))
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.data.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def items(self, name: str) -> list[Any]:
        value = self.data.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.wrong(name, "a list")
        return value

    def object(self, name: str) -> Fields:
        value = self.data.get(name)
        return Fields({} if value is None else value, self._where + name)

    def wrong(self, name: str, want: str) -> Exception:
        return bad(f"{self._where}{name} must be {want}", self._where + name)

    def stops(self, name: str = "stop") -> list[str]:
        value = self.data.get(name)
        stops = [value] if isinstance(value, str) else self.items(name)
        if len(stops) > MAX_STOPS or not all(isinstance(stop, str) for stop in stops):
            raise self.wrong(name, f"a string or a list of at most {MAX_STOPS} strings")
        return [stop for stop in stops if stop]

    def effort(self, value: Any, name: str) -> Effort | None:
        if value is None:
            return None
        if not isinstance(value, str) or value not in _EFFORTS:
            raise self.wrong(name, f"one of {', '.join(_EFFORTS)}")
        return _EFFORTS[value]

    def sampling(self, temperature: float = 1.0, most: float = 2.0) -> Sampling:
        top_p = self.number("top_p", 1.0, 0.0, 1.0)
        seed = self.integer("seed", -(2**63))
        return Sampling(temperature=self.number("temperature", temperature, 0.0, most), top_p=max(top_p, 1e-6),
                        seed=random.randrange(2**31) if seed is None else seed)  # fmt: skip

    def shaping(self) -> Shaping:
        bias: dict[int, float] = {}
        for token, value in self.object("logit_bias").data.items():
            if not (token.isdecimal() and token.isascii() and len(token) < 10) or isinstance(
                    value, bool) or not isinstance(value, int | float) or not -100 <= value <= 100:  # fmt: skip
                raise self.wrong("logit_bias", "an object of token ids and numbers from -100 to 100")
            bias[int(token)] = float(value)
        return Shaping(
            bias=bias, top_k=max(self.integer("top_k", -1) or 0, 0), min_p=self.number("min_p", 0.0, 0.0, 1.0),
            frequency_penalty=self.number("frequency_penalty", 0.0, -2.0, 2.0),
            presence_penalty=self.number("presence_penalty", 0.0, -2.0, 2.0),
            repeat_penalty=self.number("repetition_penalty", 1.0, 0.01, 10.0),
        )  # fmt: skip


def content_text(content: Any, where: str) -> str:
    """Content as text: a string, null, or a list of text parts. Images and sounds are refused, not dropped."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise bad(f"{where} must be a string or a list of parts", where)
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, str):
            texts.append(part)
        elif kind in ("text", "input_text", "output_text", "refusal", "summary_text"):
            value = part.get("refusal" if kind == "refusal" else "text")
            if not isinstance(value, str):
                raise bad(f"{where} has a part without text", where)
            texts.append(value)
        elif kind in ("thinking", "reasoning", "redacted_thinking"):
            continue
        else:
            raise unsupported(where, f"parts of type {str(kind)[:40]!r}; these models read text")
    return "".join(texts)


def answer_schema(wanted: Any, name: str) -> dict[str, Any] | None:
    """The JSON schema an answer is held to, from `response_format` or `text.format`; None: it is text."""
    if wanted is None:
        return None
    fields = Fields(wanted, name)
    kind = fields.text("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    if kind != "json_schema":
        raise unsupported(name, f"type {kind[:40]!r}; text, json_object and json_schema are")
    inner = fields.object("json_schema") if "json_schema" in fields.data else fields
    schema = inner.get("schema")
    if not isinstance(schema, dict):
        raise inner.wrong("schema", "a JSON schema")
    return schema


def tool_spec(fields: Fields, name: str, parameters: str) -> ToolSpec:
    schema = fields.get(parameters)
    if schema is not None and not isinstance(schema, dict):
        raise fields.wrong(parameters, "a JSON schema")
    tool = ToolSpec(fields.text(name), fields.text("description", ""), schema or {"type": "object", "properties": {}})
    if not tool.name or len(tool.name) > 256:
        raise fields.wrong(name, "a name of at most 256 characters")
    return tool


def arguments(value: Any) -> dict[str, Any]:
    """Arguments of an earlier call: an object, or its JSON. Anything else is kept as one raw argument."""
    if isinstance(value, str):
        try:
            value = json.loads(value or "{}", strict=False)
        except (ValueError, RecursionError):
            return {"_invalid_json": value}
    return value if isinstance(value, dict) else {"_invalid_json": json.dumps(value)}


def call(name: Any, value: Any, identifier: Any, where: str) -> ToolCall:
    if not isinstance(name, str) or not name:
        raise bad(f"{where} has a tool call without a name", where)
    return ToolCall(name=name, arguments=arguments(value), id=identifier if isinstance(identifier, str) else "")


def require_conversation(messages: Sequence[Message], where: str) -> None:
    if not messages:
        raise bad(f"{where} is empty", where)


def named_tool(choice: Mapping[str, Any], tools: Sequence[ToolSpec]) -> list[ToolSpec]:
    """The one tool that a `tool_choice` object names, in any of the APIs' forms."""
    inner = choice.get("function")
    name = inner.get("name") if isinstance(inner, dict) else choice.get("name")
    found = [tool for tool in tools if tool.name == name]
    if not found:
        raise bad(f"tool_choice names {str(name)[:60]!r}, which is not among the tools", "tool_choice")
    return found
