"""IFBench: shares and proportions."""

from __future__ import annotations

from vivace.text.instructions.constraint import Arguments, constraint
from vivace.text.instructions.language import MARKS, sentences, stop_words, words

_NONE = "an answer with no sentence of these kinds passes; mended: there must be some"
_QUOTES = "\"'”’)*_ "


def _ends(text: str, mended: bool) -> list[str]:
    """The mark that every sentence ends with; mended: also inside closing quotes."""
    found = [sentence.rstrip(_QUOTES) if mended else sentence for sentence in sentences(text)]
    return [sentence[-1:] for sentence in found]


@constraint("ratio:stop_words", "percentage")
def stop_word_share(text: str, given: Arguments, mended: bool) -> bool:
    found = words(text)
    stops = sum(word.lower() in stop_words() for word in found)
    return bool(found) and stops / len(found) * 100 <= given["percentage"]


@constraint("ratio:sentence_type", mended=_NONE + "; quoted ones count")
def two_to_one(text: str, given: Arguments, mended: bool) -> bool:
    ends = _ends(text, mended)
    return ends.count(".") == 2 * ends.count("?") and not (mended and "?" not in ends)


@constraint("ratio:sentence_balance", mended=_NONE + "; quoted ones count")
def balanced(text: str, given: Arguments, mended: bool) -> bool:
    ends = _ends(text, mended)
    return ends.count(".") == ends.count("?") == ends.count("!") and not (mended and "?" not in ends)


@constraint("ratio:overlap", "reference_text", "percentage",
            mended="trigrams are of characters; mended: of words, as the instruction says")
def overlap(text: str, given: Arguments, mended: bool) -> bool:
    own, wanted = (_trigrams(part, mended) for part in (text, given["reference_text"]))
    if not own:
        return False
    return bool(given["percentage"] - 2 <= len(own & wanted) / len(own) * 100 <= given["percentage"] + 2)


def _trigrams(text: str, of_words: bool) -> set[tuple[str, ...]]:
    parts = [word for word in (w.strip(MARKS) for w in text.lower().split()) if word] if of_words else list(text)
    return set(zip(parts, parts[1:], parts[2:], strict=False))


@constraint("ratio:sentence_words", mended="does not ask whether the words differ; mended: it does")
def equal_sentences(text: str, given: Arguments, mended: bool) -> bool:
    found = [sentence.strip() for sentence in sentences(text)]
    if len(found) != 3 or len({len(sentence) for sentence in found}) != 1:
        return False
    every = [word.strip(MARKS).lower() for sentence in found for word in sentence.split()]
    return not mended or len(set(every)) == len(every)
