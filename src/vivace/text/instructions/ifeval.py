"""The 25 constraints of IFEval."""

from __future__ import annotations

import json
import re
from collections import Counter

from vivace.text.instructions.constraint import Arguments, constraint, relation
from vivace.text.instructions.language import language, sentences, tokens, words

_ANSWERS = tuple(f"My answer is {word}." for word in ("yes", "no", "maybe"))
_AS_REGEX = "keywords are searched as regular expressions; mended: as they stand, whole words"


def _pattern(word: str, mended: bool) -> str:
    return rf"\b{re.escape(word)}\b" if mended else word


@constraint("keywords:existence", "keywords", mended=_AS_REGEX)
def existence(text: str, given: Arguments, mended: bool) -> bool:
    return all(re.search(_pattern(word, mended), text, re.IGNORECASE) for word in given["keywords"])


@constraint("keywords:frequency", "keyword", "frequency", mended=_AS_REGEX)
def frequency(text: str, given: Arguments, mended: bool) -> bool:
    return relation(len(re.findall(_pattern(given["keyword"], mended), text, re.IGNORECASE)), given, "frequency")


@constraint("keywords:forbidden_words", "forbidden_words", mended=_AS_REGEX)
def forbidden(text: str, given: Arguments, mended: bool) -> bool:
    parts = (re.escape(word) if mended else word for word in given["forbidden_words"])
    return not any(re.search(rf"\b{part}\b", text, re.IGNORECASE) for part in parts)


@constraint("keywords:letter_frequency", "letter", "let_frequency")
def letter_frequency(text: str, given: Arguments, mended: bool) -> bool:
    return relation(Counter(text.lower())[given["letter"].lower()], given, "let_frequency", "let_relation")


@constraint("language:response_language", "language")
def response_language(text: str, given: Arguments, mended: bool) -> bool:
    return language(text) in (None, given["language"])


@constraint("length_constraints:number_sentences", "num_sentences")
def number_sentences(text: str, given: Arguments, mended: bool) -> bool:
    return relation(len(sentences(text)), given, "num_sentences")


@constraint("length_constraints:number_words", "num_words")
def number_words(text: str, given: Arguments, mended: bool) -> bool:
    return relation(len(words(text)), given, "num_words")


@constraint("length_constraints:number_paragraphs", "num_paragraphs")
def number_paragraphs(text: str, given: Arguments, mended: bool) -> bool:
    parts = [bool(part.strip()) for part in re.split(r"\s?\*\*\*\s?", text)]
    return all(parts[1:-1]) and sum(parts) == given["num_paragraphs"]


@constraint("length_constraints:nth_paragraph_first_word", "num_paragraphs", "nth_paragraph", "first_word",
            mended="counts blank paragraphs when it looks for the nth; mended: it does not")
def nth_paragraph(text: str, given: Arguments, mended: bool) -> bool:
    paragraphs = text.split("\n\n")
    full = [part for part in paragraphs if part.strip()]
    nth = int(given["nth_paragraph"])
    if not 1 <= nth <= len(full) or len(full) != given["num_paragraphs"]:
        return False
    paragraph = (full if mended else paragraphs)[nth - 1].split()
    if not paragraph:
        return False
    word = re.split(r"""[.,?!'"]""", paragraph[0].lstrip("'").lstrip('"'), maxsplit=1)[0]
    return word.lower() == given["first_word"].lower()


@constraint("detectable_content:number_placeholders", "num_placeholders")
def placeholders(text: str, given: Arguments, mended: bool) -> bool:
    return len(re.findall(r"\[.*?\]", text)) >= given["num_placeholders"]


@constraint("detectable_content:postscript", "postscript_marker",
            mended='"P.P.S" and "P.S." may stand within a line, and a marker is a regular expression; mended: at the '
                   "start of a line, as it stands")
def postscript(text: str, given: Arguments, mended: bool) -> bool:
    marker = given["postscript_marker"].strip()
    known = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    pattern = known.get(marker, re.escape(marker.lower()) if mended else marker.lower())
    return re.search(rf"^\s*{pattern}" if mended else rf"\s*{pattern}.*$", text.lower(), re.MULTILINE) is not None


@constraint("detectable_format:number_bullet_lists", "num_bullets")
def bullets(text: str, given: Arguments, mended: bool) -> bool:
    stars, dashes = (re.findall(form, text, re.MULTILINE) for form in (r"^\s*\*[^\*].*$", r"^\s*-.*$"))
    return len(stars) + len(dashes) == given["num_bullets"]


@constraint("detectable_format:constrained_response")
def constrained(text: str, given: Arguments, mended: bool) -> bool:
    return any(answer in text for answer in _ANSWERS)


@constraint("detectable_format:number_highlighted_sections", "num_highlights")
def highlights(text: str, given: Arguments, mended: bool) -> bool:
    single, double = (re.findall(form, text) for form in (r"\*[^\n\*]*\*", r"\*\*[^\n\*]*\*\*"))
    found = sum(bool(part.strip("*").strip()) for part in single)
    return found + sum(bool(part[2:-2].strip()) for part in double) >= given["num_highlights"]


@constraint("detectable_format:multiple_sections", "section_spliter", "num_sections")
def sections(text: str, given: Arguments, mended: bool) -> bool:
    return len(re.findall(rf"\s?{given['section_spliter'].strip()}\s?\d+\s?", text)) >= given["num_sections"]


@constraint("detectable_format:json_format")
def json_format(text: str, given: Arguments, mended: bool) -> bool:
    inner = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        inner = inner.removeprefix(fence)
    try:
        json.loads(inner.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


@constraint("detectable_format:title")
def title(text: str, given: Arguments, mended: bool) -> bool:
    return any(found.lstrip("<").rstrip(">").strip() for found in re.findall(r"<<[^\n]+>>", text))


@constraint("combination:two_responses")
def two_responses(text: str, given: Arguments, mended: bool) -> bool:
    parts = [part.strip() for part in text.split("******")]
    full = [part for part in parts if part]
    return all(parts[1:-1]) and len(full) == 2 and full[0] != full[1]


@constraint("combination:repeat_prompt", "prompt_to_repeat")
def repeat_prompt(text: str, given: Arguments, mended: bool) -> bool:
    return text.strip().lower().startswith(given["prompt_to_repeat"].strip().lower())


@constraint("startend:end_checker", "end_phrase")
def end(text: str, given: Arguments, mended: bool) -> bool:
    return text.strip().strip('"').lower().endswith(given["end_phrase"].strip().lower())


@constraint("startend:quotation")
def quotation(text: str, given: Arguments, mended: bool) -> bool:
    inner = text.strip()
    return len(inner) > 1 and inner[0] == inner[-1] == '"'


@constraint("change_case:capital_word_frequency", "capital_frequency")
def capital_words(text: str, given: Arguments, mended: bool) -> bool:
    return relation(sum(word.isupper() for word in tokens(text)), given, "capital_frequency", "capital_relation")


@constraint("change_case:english_capital")
def english_capital(text: str, given: Arguments, mended: bool) -> bool:
    return text.isupper() and language(text) in (None, "en")


@constraint("change_case:english_lowercase")
def english_lowercase(text: str, given: Arguments, mended: bool) -> bool:
    return text.islower() and language(text) in (None, "en")


@constraint("punctuation:no_comma")
def no_comma(text: str, given: Arguments, mended: bool) -> bool:
    return "," not in text
