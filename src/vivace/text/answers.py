"""An answer read while it is written: the same reading as `Renderer.parse`, token by token, in any portions."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Literal

from vivace.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Said:
    """More of the answer's text."""

    text: str


@dataclass(frozen=True)
class CallNamed:
    """A call begins; calls come one after the other."""

    name: str


@dataclass(frozen=True)
class ArgumentNamed:
    """An argument of the latest call begins."""

    key: str


@dataclass(frozen=True)
class ArgumentSaid:
    """More of the latest argument's raw text."""

    text: str


Heard = Said | CallNamed | ArgumentNamed | ArgumentSaid
_State = Literal["text", "name", "key", "value"]


class AnswerReader:
    """Feed it ids one at a time; `finish` gives what was held back (half a character, a name that was not closed)."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        special = tokenizer.special
        self._bytes = tokenizer.token_bytes
        self._call, self._arg, self._value = special["<|call|>"], special["<|arg|>"], special["<|value|>"]
        self._end = special["<|end|>"]
        self._state: _State = "text"
        self._name = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def in_text(self) -> bool:
        return self._state == "text"

    def feed(self, token: int) -> list[Heard]:
        if token == self._end:
            return []
        if token == self._call:
            return [*self._close(), *self._enter("name")]
        if token == self._arg and self._state != "text":
            return [*self._close(), *self._enter("key")]
        if token == self._value and self._state == "key":
            return [*self._close(), *self._enter("value")]
        return self._add(self._decoder.decode(self._bytes[token]))

    def finish(self) -> list[Heard]:
        return self._close()

    def _add(self, text: str) -> list[Heard]:
        if self._state in ("name", "key"):
            self._name += text
            return []
        if not text:
            return []
        return [Said(text) if self._state == "text" else ArgumentSaid(text)]

    def _enter(self, state: _State) -> list[Heard]:
        self._state = state
        return []

    def _close(self) -> list[Heard]:
        """The part at hand is over."""
        heard = self._add(self._decoder.decode(b"", final=True))
        self._decoder.reset()
        if self._state == "name":
            heard.append(CallNamed(self._name))
        elif self._state == "key":
            heard.append(ArgumentNamed(self._name))
        self._name = ""
        return heard
