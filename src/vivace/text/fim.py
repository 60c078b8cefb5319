"""Fill-in-the-middle documents (prefix, suffix, middle): Bavarian et al. 2022, arXiv 2207.14255."""

from __future__ import annotations

import random

from vivace.text.tokenizer import Tokenizer


def split_for_fim(text: str, rng: random.Random) -> tuple[str, str, str]:
    """Cut a text at two random places: (prefix, middle, suffix)."""
    a, b = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    return text[:a], text[a:b], text[b:]


def fim_ids(tokenizer: Tokenizer, prefix: str, suffix: str, middle: str | None = None) -> list[int]:
    """Prompt ids in prefix-suffix-middle order; with `middle`, the whole training document."""
    s = tokenizer.special
    ids = [s["<|fim_prefix|>"], *tokenizer.encode(prefix), s["<|fim_suffix|>"], *tokenizer.encode(suffix),
           s["<|fim_middle|>"]]
    return ids if middle is None else [*ids, *tokenizer.encode(middle), s["<|end|>"]]
