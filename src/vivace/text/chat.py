"""The one renderer: messages to token ids with a loss mask, and sampled ids back to a message.

A conversation is the concatenation of its messages, so a prompt only ever grows by appending:

    <|bos|>
    <|system|> text <|effort_...|> <|end|>
    <|user|> text <|end|>
    <|assistant|> text ( <|call|> name ( <|arg|> key <|value|> raw text )* )* <|end|>
    <|tool|> text <|end|>

Arguments are raw text between special tokens: no JSON escaping to learn, and nothing a file contains can close a call.
The mask is 1 exactly on what the policy samples: an assistant's text, its calls and its `<|end|>`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from vivace.core.types import Effort, Message, ToolCall
from vivace.text.tokenizer import Tokenizer


class Renderer:
    """Implements `core.protocols.Codec` for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer, effort: Effort | None = None) -> None:
        self.tokenizer = tokenizer
        self.effort = effort
        s = tokenizer.special
        self.bos, self.end, self.pad = s["<|bos|>"], s["<|end|>"], s["<|pad|>"]
        self._call, self._arg, self._value = s["<|call|>"], s["<|arg|>"], s["<|value|>"]
        self._roles = {role: s[f"<|{role}|>"] for role in ("system", "user", "assistant", "tool")}

    def generation_prompt(self) -> list[int]:
        """What stands before an answer: the assistant's role token (not trained on)."""
        return [self._roles["assistant"]]

    def message(self, message: Message) -> tuple[list[int], list[int]]:
        """Ids and mask of one message. A system message also opens the sequence with `<|bos|>`."""
        if message.role == "assistant":
            answer = self.answer(message)
            return [*self.generation_prompt(), *answer], [0] + [1] * len(answer)
        ids = [self._roles[message.role], *self.tokenizer.encode(message.content), self.end]
        if message.role == "system":
            if self.effort:
                ids.insert(-1, self.tokenizer.special[f"<|effort_{self.effort}|>"])
            ids.insert(0, self.bos)
        return ids, [0] * len(ids)

    def answer(self, message: Message) -> list[int]:
        """The ids a policy samples for this assistant message, `<|end|>` included."""
        ids = self.tokenizer.encode(message.content) if message.content else []
        for call in message.tool_calls:
            ids += [self._call, *self.tokenizer.encode(call.name)]
            for key, value in call.arguments.items():
                ids += self.argument(key, raw(value))
        return [*ids, self.end]

    def argument(self, key: str, value: str) -> list[int]:
        """The ids of one argument of a call."""
        return [self._arg, *self.tokenizer.encode(key), self._value, *self.tokenizer.encode(value)]

    def render(self, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
        """A whole conversation: (ids, mask), both of the same length.

        One without a system message gets an empty one, as the server gives it: no sequence starts without `<|bos|>`.
        """
        ids: list[int] = []
        mask: list[int] = []
        opening = () if messages and messages[0].role == "system" else (Message(role="system"),)
        for message in (*opening, *messages):
            more_ids, more_mask = self.message(message)
            ids += more_ids
            mask += more_mask
        return ids, mask

    def parse(self, ids: Sequence[int]) -> Message:
        """Sampled ids to a message. Whatever is malformed stays visible as text, for the harness to answer."""
        body = list(ids)
        if body and body[-1] == self.end:
            body.pop()
        head, *calls = _split(body, self._call)
        return Message(role="assistant", content=self.tokenizer.decode(head),
                       tool_calls=[self._parse_call(part, n) for n, part in enumerate(calls)])

    def _parse_call(self, ids: list[int], number: int) -> ToolCall:
        name, *pairs = _split(ids, self._arg)
        arguments: dict[str, Any] = {}
        for pair in pairs:
            key, *value = _split(pair, self._value)
            arguments[self.tokenizer.decode(key)] = self.tokenizer.decode([i for part in value for i in part])
        return ToolCall(name=self.tokenizer.decode(name), arguments=arguments, id=f"call_{number}")


def raw(value: Any) -> str:
    """An argument as raw text: strings as they are, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _split(ids: list[int], separator: int) -> list[list[int]]:
    parts: list[list[int]] = [[]]
    for number in ids:
        if number == separator:
            parts.append([])
        else:
            parts[-1].append(number)
    return parts
