"""ROUGE-1, ROUGE-2 and ROUGE-L F-measures of one summary (Lin 2004), as the `rouge_score` package counts them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence


def words(text: str) -> list[str]:
    """Lower-case runs of ASCII letters and digits; no stemming."""
    return re.findall(r"[a-z0-9]+", text.lower())


def rouge(reference: str, answer: str) -> dict[str, float]:
    """rouge1, rouge2 and rougeL, each from 0 to 1."""
    wanted, found = words(reference), words(answer)
    return {"rouge1": _overlap(wanted, found, 1), "rouge2": _overlap(wanted, found, 2),
            "rougeL": f_measure(longest(wanted, found), len(wanted), len(found))}


def longest(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence; O(len(a) len(b)) time, O(len(b)) memory."""
    row = [0] * (len(b) + 1)
    for one in a:
        before = 0
        for at, other in enumerate(b, 1):
            before, row[at] = row[at], before + 1 if one == other else max(row[at], row[at - 1])
    return row[-1]


def f_measure(hits: float, wanted: int, found: int) -> float:
    """Harmonic mean of hits / wanted and hits / found; 0 without hits."""
    return 2 * hits / (wanted + found) if hits else 0.0


def _overlap(wanted: Sequence[str], found: Sequence[str], n: int) -> float:
    left, right = (Counter(zip(*(side[i:] for i in range(n)))) for side in (wanted, found))
    return f_measure((left & right).total(), left.total(), right.total())
