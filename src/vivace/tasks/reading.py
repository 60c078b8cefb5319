"""Reading back: an expert's thoughts before an edit, in a form that a small model can have too.

It copies the lines that lead up to the one it is going to change, and stops at that one. Whether to go on or to stop
is asked after each line, with the line and what is around it in view, instead of once for all lines. Whether that pays
depends on the model: for the nano one it did not (docs/LOG.md, 2026-11-25), and the demo does not use it.
"""

from __future__ import annotations

import random

MOST_BEFORE = 5


def read_back(text: str, old: str, first: int, rng: random.Random) -> str:
    """Up to `MOST_BEFORE` lines of `text` before the place of `old`, none above line `first` (1-based), and that place.

    Each line comes with the line break before it, as it stands in the text, so that the tokens are the same there.
    """
    lines = text.split("\n")
    start = text.count("\n", 0, text.index(old))
    end = start + old.count("\n")
    begin = max(min(first - 1, start), start - rng.randint(0, MOST_BEFORE))
    return "".join(f"\n{line}" for line in lines[begin : end + 1])
