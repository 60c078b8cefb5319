"""Which token may come next in an answer, given the tools: names are spelt as declared, calls are complete.

Free text stays free. In a call, the tool's name, its parameters' names and values from a closed list are walked along
tries of their ids; a call cannot end while a required parameter is missing; role tokens never come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vivace.text.tokenizer import Tokenizer

Trie = dict[int, Any]
LEAF = -1


@dataclass(frozen=True)
class ToolSpec:
    """A tool as a client declares it: `parameters` is a JSON schema of an object."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def properties(self) -> Mapping[str, Any]:
        found = self.parameters.get("properties")
        return found if isinstance(found, Mapping) else {}

    @property
    def required(self) -> tuple[str, ...]:
        found = self.parameters.get("required")
        return tuple(name for name in found if name in self.properties) if isinstance(found, list) else ()

    @property
    def open(self) -> bool:
        """Whether any argument may be given, because none is declared."""
        return not isinstance(self.parameters.get("properties"), Mapping)

    def signature(self) -> str:
        """One line, as a native model reads it: `name(required, optional?)`."""
        names = [name if name in self.required else f"{name}?" for name in self.properties]
        return f"{self.name}({', '.join(names)})"

    def choices(self, parameter: str) -> list[str] | None:
        """The closed list of a parameter's values, as raw text, if it has one."""
        schema = self.properties.get(parameter)
        if not isinstance(schema, Mapping):
            return None
        if schema.get("type") == "boolean":
            return ["true", "false"]
        values = schema.get("enum")
        if isinstance(values, list) and values and all(isinstance(value, str) and value for value in values):
            return values
        return None


class Choice(NamedTuple):
    """`only` these ids, or any but those in `never`."""

    only: frozenset[int] | NDArray[np.int64] | None
    never: frozenset[int] = frozenset()


class CallGrammar:
    """One answer's state. `choice`: "auto", "none", "required", or "named" with the one tool given."""

    def __init__(
        self, tokenizer: Tokenizer, tools: Sequence[ToolSpec], choice: Literal["auto", "none", "required"] = "auto",
        *, parallel: bool = True,
    ) -> None:
        special = tokenizer.special
        self._tokenizer = tokenizer
        self._call, self._arg, self._value = special["<|call|>"], special["<|arg|>"], special["<|value|>"]
        self._end = special["<|end|>"]
        self._special = frozenset(special.values())
        self._tools = {tool.name: tool for tool in tools} if choice != "none" else {}
        self._names = _trie(tokenizer, list(self._tools))
        self._must, self._parallel = choice == "required", parallel
        self._state: Literal["text", "name", "key", "value"] = "text"
        self._calls = 0
        self._node: Trie | None = None
        self._tool: ToolSpec | None = None
        self._given: set[str] = set()

    def allowed(self) -> Choice:
        if self._state == "text":
            if self._must and not self._calls and self._tools:
                return Choice(frozenset({self._call}))
            return Choice(None, self._special - self._enders())
        if self._node is None:
            return Choice(None, self._special - (frozenset({self._value}) if self._state == "key" else self._enders()))
        ids = frozenset(self._node.keys() - {LEAF})
        if LEAF not in self._node:
            return Choice(ids)
        return Choice(ids | (frozenset({self._value}) if self._state == "key" else self._enders()))

    def advance(self, token: int) -> None:
        """`token` was drawn; it was allowed."""
        if token == self._call:
            self._state, self._node, self._tool, self._given = "name", self._names, None, set()
            self._calls += 1
        elif token == self._arg and self._tool:
            self._state = "key"
            left = [name for name in self._tool.properties if name not in self._given]
            self._node = None if self._tool.open else _trie(self._tokenizer, left)
        elif token == self._value and self._tool:
            self._state = "value"
            key = str(self._node[LEAF]) if self._node else ""
            self._given.add(key)
            choices = self._tool.choices(key)
            self._node = _trie(self._tokenizer, choices) if choices else None
        elif self._node is not None and token not in self._special:
            self._node = self._node[token]
        if self._state == "name":
            self._tool = self._tools.get(self._node.get(LEAF, "")) if self._node else None

    def _enders(self) -> frozenset[int]:
        """What may end the part at hand."""
        found: set[int] = set()
        tool = self._tool
        complete = self._state == "text" or (tool is not None and self._given >= set(tool.required))
        if complete:
            found.add(self._end)
            if self._tools and (self._parallel or not self._calls):
                found.add(self._call)
        if self._state != "text" and tool and (tool.open or self._given < set(tool.properties)):
            found.add(self._arg)
        return frozenset(found)


def _trie(tokenizer: Tokenizer, words: Sequence[str]) -> Trie:
    """Ids of each word as a path; the word itself stands under LEAF."""
    root: Trie = {}
    for word in words:
        node = root
        for number in tokenizer.encode(word):
            node = node.setdefault(number, {})
        node[LEAF] = word
    return root
