"""Server-sent events out of bytes, however they are cut up (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

from vivace.core.errors import BadAnswer

MOST_CHARACTERS = 16 * 2**20
"""Of one event."""


def events(chunks: Iterable[bytes]) -> Iterator[str]:
    """The data of each event. Comments, names and retry times are of no use here; an event that the end of the stream
    cuts short is not one.

    Raises:
        BadAnswer: an event is larger than any answer.
    """
    data: list[str] = []
    size = 0
    for line in _lines(chunks):
        if not line:
            if data:
                yield "\n".join(data)
            data, size = [], 0
        elif line.startswith("data"):
            name, _, value = line.partition(":")
            if name == "data":
                data.append(value.removeprefix(" "))
                size += len(value)
                _limit(size)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Lines that were ended, by "\\n", "\\r\\n" or "\\r"."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    for chunk in chunks:
        rest += decoder.decode(chunk)
        held = rest.endswith("\r")  # half of "\r\n", perhaps
        *whole, rest = (rest[:-1] if held else rest).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        rest += "\r" if held else ""
        _limit(len(rest))
        yield from whole
    if rest.endswith("\r"):
        yield rest[:-1]


def _limit(size: int) -> None:
    if size > MOST_CHARACTERS:
        raise BadAnswer(f"the endpoint sent an event of over {MOST_CHARACTERS:,} characters; is it a chat endpoint?")
