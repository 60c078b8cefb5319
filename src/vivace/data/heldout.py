"""What the evaluation packages contain, as hashes: any training file that shares a file or a function is dropped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from vivace.data.dedup import shingles
from vivace.data.documents import Document
from vivace.data.filters import parse
from vivace.data.functions import FunctionKeys, function_keys


def file_key(text: str) -> str:
    """SHA-256 of a text with all white space taken out, so that re-indented copies fall together."""
    return hashlib.sha256("".join(text.split()).encode(errors="surrogatepass")).hexdigest()


def overlap(held: Sequence[str], train: Iterable[str], gram: int = 13) -> float:
    """Share of the held-out texts' distinct word 13-grams that also occur in the training texts (0 to 1).

    A measure, not a filter, and an upper bound: common idioms are in it, and so are coincidences of 32-bit hashes
    (about 0.15 points for six million training n-grams).
    """
    wanted = np.unique(np.concatenate([shingles(text, gram) for text in held] or [np.zeros(0, np.uint32)]))
    found = np.zeros(len(wanted), dtype=bool)
    for text in train if len(wanted) else ():
        grams = shingles(text, gram)
        places = np.minimum(np.searchsorted(wanted, grams), len(wanted) - 1)
        found[places[wanted[places] == grams]] = True
    return float(found.mean()) if len(wanted) else 0.0


@dataclass
class HeldOut:
    """Hashes of held-out files and functions."""

    files: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    shapes: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, documents: Iterable[Document]) -> HeldOut:
        held = cls()
        for document in documents:
            held.files.add(file_key(document.text))
            tree = parse(document.text)
            for keys in function_keys(tree) if tree else ():
                held.functions.add(keys.named)
                held.shapes.add(keys.shape)
        held.functions.discard("")
        held.shapes.discard("")
        return held

    def reason(self, text: str, keys: Iterable[FunctionKeys]) -> str | None:
        """Why a training file must go, or None."""
        if file_key(text) in self.files:
            return "held-out file"
        if any(key.named in self.functions or key.shape in self.shapes for key in keys):
            return "held-out function"
        return None
