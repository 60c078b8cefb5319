"""IFBench: how sentences follow each other."""

from __future__ import annotations

import re
from itertools import groupby, pairwise

from vivace.text.instructions.constraint import Arguments, constraint
from vivace.text.instructions.language import MARKS, plain, sentences


@constraint("sentence:keyword", "word", "N")
def keyword(text: str, given: Arguments, mended: bool) -> bool:
    found, n = sentences(text), int(given["N"])
    return len(found) >= n and re.search(rf"\b{re.escape(given['word'])}\b", found[n - 1], re.IGNORECASE) is not None


@constraint("sentence:increment", "small_n")
def increment(text: str, given: Arguments, mended: bool) -> bool:
    lengths = [len(plain(sentence).split()) for sentence in sentences(text)]
    return all(b - a == given["small_n"] for a, b in pairwise(lengths))


@constraint("sentence:alliteration_increment",
            mended="adds up all runs of a sentence; mended: the longest run counts, and the first needs two words")
def alliteration(text: str, given: Arguments, mended: bool) -> bool:
    counts = []
    for sentence in sentences(text):
        initials = [word.lstrip(MARKS)[0] for word in sentence.lower().split() if word.lstrip(MARKS)]
        runs = [length for length in (len(list(run)) for _, run in groupby(initials)) if length > 1]
        counts.append(max(runs, default=0) if mended else sum(runs))
    return all(a < b for a, b in pairwise(counts)) and not (mended and counts[0] < 2)
