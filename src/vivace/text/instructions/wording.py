"""IFBench: what every word has to be like."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from vivace.text.instructions.constraint import Arguments, constraint
from vivace.text.instructions.language import MARKS, first_tag, plain, sentences, syllables, tokens

_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_PRIMES = frozenset(n for n in range(2, 98) if all(n % d for d in range(2, n)))
_CLUSTER = re.compile("[bcdfghjklmnpqrstvwxyz]{2}")


@constraint("words:alphabet")
def alphabet(text: str, given: Arguments, mended: bool) -> bool:
    letters = [word[0] for word in plain(text).lower().split()]
    return (bool(letters) and all(letter in _ALPHABET for letter in letters)
            and all((_ALPHABET.index(b) - _ALPHABET.index(a)) % 26 == 1 for a, b in pairwise(letters)))


@constraint("words:vowel")
def vowels(text: str, given: Arguments, mended: bool) -> bool:
    return "\n" not in text.strip() and len(set("aeiou") & set(text.lower())) <= 3


@constraint("words:consonants", mended="a dash between spaces is a word without a cluster; mended: it is no word")
def clusters(text: str, given: Arguments, mended: bool) -> bool:
    found = [word for word in text.lower().split() if not mended or any(c.isalpha() for c in word)]
    return all(_CLUSTER.search(word) for word in found)


@constraint("words:palindrome")
def palindromes(text: str, given: Arguments, mended: bool) -> bool:
    return sum(len(word) >= 5 and word == word[::-1] for word in plain(text).lower().split()) >= 10


@constraint("words:prime_lengths")
def prime_lengths(text: str, given: Arguments, mended: bool) -> bool:
    return all(len(word) in _PRIMES for word in plain(text).split())


@constraint("words:start_verb")
def start_verb(text: str, given: Arguments, mended: bool) -> bool:
    return "VB" in first_tag(text)


@constraint("words:repeats", "small_n")
def repeats(text: str, given: Arguments, mended: bool) -> bool:
    return max(Counter(plain(text.lower()).split()).values(), default=0) <= given["small_n"]


@constraint("words:odd_even_syllables")
def parity(text: str, given: Arguments, mended: bool) -> bool:
    return all((syllables(a) - syllables(b)) % 2 for a, b in pairwise(plain(text).lower().split()))


@constraint("words:no_consecutive")
def no_consecutive(text: str, given: Arguments, mended: bool) -> bool:
    return all(a[0] != b[0] for a, b in pairwise(plain(text.lower()).split()))


@constraint("words:last_first", mended="a quotation mark around a word makes it another; mended: it does not")
def last_first(text: str, given: Arguments, mended: bool) -> bool:
    found = sentences(text)
    for one, two in pairwise(found):
        last, first = one.rstrip(MARKS).split(), two.lstrip(MARKS).split()
        if mended:
            last, first = ([part for part in (w.strip(MARKS) for w in side) if part] for side in (last, first))
        if not last or not first or last[-1].lower() != first[0].lower():
            return False
    return True


@constraint("words:paragraph_last_first")
def paragraph_circle(text: str, given: Arguments, mended: bool) -> bool:
    parts = (line.strip().lower().strip(MARKS).split() for line in text.split("\n"))
    return all(not words or words[0] == words[-1] for words in parts)


@constraint("words:keywords_specific_position", "keyword", "n", "m")
def keyword_position(text: str, given: Arguments, mended: bool) -> bool:
    found, n, m = sentences(text), int(given["n"]), int(given["m"])
    if len(found) < n:
        return False
    said = [token for token in tokens(found[n - 1]) if any(c.isalnum() for c in token)]
    return len(said) >= m and said[m - 1].lower() == given["keyword"].strip().lower()


@constraint("words:words_position", "keyword",
            mended="marks count as words, but for one at the end; mended: they never do")
def second_words(text: str, given: Arguments, mended: bool) -> bool:
    wanted, said = given["keyword"].strip().lower(), tokens(text)
    if mended:
        said = [token for token in said if any(c.isalnum() for c in token)]
    elif said and _is_marks(said[-1]) and len(said) >= 3:
        return said[1].lower() == said[-3].lower() == wanted
    return len(said) >= 2 and not _is_marks(said[-1]) and said[1].lower() == said[-2].lower() == wanted


def _is_marks(token: str) -> bool:
    """Published: a stretch of the ASCII marks in their order, which is what `in` finds."""
    return token in MARKS[:-1]
