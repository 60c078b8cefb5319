"""IFBench: how many of something an answer holds."""

from __future__ import annotations

import re

from vivace.text.instructions.constraint import Arguments, constraint, listed
from vivace.text.instructions.language import MARKS, plain, tokens, words

CONJUNCTIONS = frozenset(listed("and but for nor or so yet"))
NAMES = listed(
    "Emma Liam Sophia Jackson Olivia Noah Ava Lucas Isabella Mason Mia Ethan Charlotte Alexander Amelia Benjamin "
    "Harper Leo Zoe Daniel Chloe Samuel Lily Matthew Grace Owen Abigail Gabriel Ella Jacob Scarlett Nathan Victoria "
    "Elijah Layla Nicholas Audrey David Hannah Christopher Penelope Thomas Nora Andrew Aria Joseph Claire Ryan Stella "
    "Jonathan"
)
PRONOUNS = frozenset(listed(
    "i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers "
    "herself it its itself they them their theirs themselves this that these those who whom whose which what whoever "
    "whomever whatever whichever anybody anyone anything everybody everyone everything nobody nothing somebody "
    "someone something each either neither both all some any none"
))
TIMES = (1, 2, 3, 5, 7)
_JAPANESE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")


@constraint("count:word_count_range", "min_words", "max_words")
def word_range(text: str, given: Arguments, mended: bool) -> bool:
    return bool(given["min_words"] <= len(words(text)) <= given["max_words"])


@constraint("count:unique_word_count", "N", mended="a lone mark counts as a word; mended: it does not")
def unique_words(text: str, given: Arguments, mended: bool) -> bool:
    found = {word.strip(MARKS) for word in text.lower().split()}
    return len(found - {""} if mended else found) >= given["N"]


@constraint("count:conjunctions", "small_n",
            mended='"and", "And" and "and," count as different conjunctions; mended: as one')
def conjunctions(text: str, given: Arguments, mended: bool) -> bool:
    pairs = [(word.strip(MARKS).lower(), word) for word in text.split()]
    return len({bare if mended else word for bare, word in pairs if bare in CONJUNCTIONS}) >= given["small_n"]


@constraint("count:person_names", "N")
def person_names(text: str, given: Arguments, mended: bool) -> bool:
    return sum(re.search(rf"\b{name}\b", text) is not None for name in NAMES) >= given["N"]


@constraint("count:numbers", "N",
            mended='"10-20" and "7.8.9" count as one number, for marks are taken out first; mended: decimals and '
                   "thousands are one, ranges two")
def numbers(text: str, given: Arguments, mended: bool) -> bool:
    found = re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", text) if mended else re.findall(r"\d+", plain(text))
    return len(found) == given["N"]


@constraint("count:punctuation")
def punctuation(text: str, given: Arguments, mended: bool) -> bool:
    """All six marks, and an interrobang besides."""
    if not any(mark in text for mark in ("?!", "!?", "‽")):
        return False
    rest = text.replace("?!", "", 1) if "?!" in text else text.replace("!?", "", 1)
    return set(".,!?;:") <= set(rest)


@constraint("count:pronouns", "N")
def pronouns(text: str, given: Arguments, mended: bool) -> bool:
    return sum(word in PRONOUNS for word in tokens(text.replace("/", " ").lower())) >= given["N"]


@constraint("count:words_japanese", "N")
def japanese(text: str, given: Arguments, mended: bool) -> bool:
    step = int(given["N"])
    nth = [word.strip(MARKS) for word in text.split()[step - 1 :: step]]
    return all(_JAPANESE.search(word) for word in nth if word and not word.isdigit())


@constraint("count:keywords_multiple", *(f"keyword{n}" for n in range(1, 6)),
            mended='"door" is also counted in "indoors"; mended: whole words')
def keywords(text: str, given: Arguments, mended: bool) -> bool:
    def count(word: str) -> int:
        return len(re.findall(rf"\b{re.escape(word)}\b", text.lower())) if mended else text.lower().count(word)

    return all(count(given[f"keyword{n}"].strip().lower()) == times for n, times in enumerate(TIMES, 1))
