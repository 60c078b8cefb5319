"""The items of robust-if: requests with verifiable constraints, in two wordings each, drawn once with a fixed seed.

`python -m vivace.evals.suites.robust_rows` prints the rows that the package ships.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from vivace.text.instructions.constraint import listed

SEED, ITEMS = 20261125, 120
REQUESTS = tuple("""
Explain to a new colleague what a code review is for.
Describe how bread rises.
Give advice to someone who moves to a big city for the first time.
Summarise what makes a good bug report.
Tell a short story about a lighthouse keeper.
Explain why the sky looks blue.
Write a message that invites neighbours to a garden party.
Compare travelling by train with travelling by car.
Explain what version control does for a team.
Describe a quiet morning in a harbour.
Give three reasons to learn a second language.
Explain how vaccines protect people.
Write a product description of a folding bicycle.
Describe what a compiler does.
Explain how to prepare for a job interview.
Write a review of an imaginary restaurant.
Explain why leaves change colour in autumn.
Describe the first day of a school year.
Explain what a hash table is good for.
Write a speech for a friend's wedding.
Explain how tides come about.
Describe a walk through an old library.
Give advice on sleeping better.
Explain what open-source licences are for.
""".strip().split("\n"))
WORDS = listed("harbour candle winter engine market garden signal mirror ladder copper island thread basket meadow "
         "lantern pencil")
FORBIDDEN = ("very", "good", "also", "just", "make", "time")
ENDINGS = ("That is all.", "Thank you for reading.", "Now it is your turn.")
WORDINGS: Mapping[str, tuple[str, str]] = {
    "keywords:existence": ('Include the words "{0}" and "{1}".', 'Make sure that both "{0}" and "{1}" appear.'),
    "keywords:forbidden_words": ('Do not use the words "{0}" and "{1}".', 'Avoid "{0}" and "{1}" altogether.'),
    "keywords:frequency": ('Use the word "{keyword}" at least {frequency} times.',
                           'The word "{keyword}" has to occur {frequency} times or more.'),
    "length_constraints:number_words": ("Use {relation} {num_words} words.",
                                        "Keep the number of words {relation} {num_words}."),
    "length_constraints:number_sentences": ("Write {relation} {num_sentences} sentences.",
                                            "The number of sentences has to be {relation} {num_sentences}."),
    "detectable_content:number_placeholders": (
        "Include at least {num_placeholders} placeholders in square brackets, such as [name].",
        "Leave {num_placeholders} or more gaps to fill in, each written like [name]."),
    "detectable_content:postscript": ("End with a postscript that starts with P.S.",
                                      "After the end, add a note that begins with P.S."),
    "detectable_format:number_bullet_lists": (
        "Use exactly {num_bullets} bullet points, each on a line that starts with \"* \".",
        "There have to be {num_bullets} lines that start with \"* \", no more and no fewer."),
    "detectable_format:number_highlighted_sections": (
        "Highlight at least {num_highlights} passages with stars, *like this*.",
        "Put single stars around {num_highlights} passages or more, *as here*."),
    "detectable_format:title": ("Give it a title in double angular brackets, such as <<title>>.",
                                "Begin with a heading that is written <<like this>>."),
    "startend:end_checker": ('Finish with exactly this sentence: "{end_phrase}"',
                             'The very last words have to be: "{end_phrase}"'),
    "startend:quotation": ("Put the whole response in double quotation marks.",
                           "The response has to begin and end with a double quotation mark."),
    "change_case:english_lowercase": ("Write in English and in lower case only.",
                                      "English, please, without a single capital letter."),
    "punctuation:no_comma": ("Do not use any commas.", "Leave out every comma."),
    "keywords:letter_frequency": ('Use the letter "{letter}" at least {let_frequency} times.',
                                  'The letter "{letter}" has to occur {let_frequency} times or more.'),
    "words:repeats": ("Do not use any word more than {small_n} times.",
                      "No word may occur more often than {small_n} times."),
}
CLASHES = frozenset({
    frozenset({"startend:end_checker", "startend:quotation"}),
    frozenset({"startend:end_checker", "detectable_content:postscript"}),
    frozenset({"detectable_content:postscript", "startend:quotation"}),
    frozenset({"change_case:english_lowercase", "detectable_content:postscript"}),
    frozenset({"change_case:english_lowercase", "startend:end_checker"}),
    frozenset({"words:repeats", "length_constraints:number_words"}),
    frozenset({"words:repeats", "keywords:frequency"}),
    frozenset({"words:repeats", "length_constraints:number_sentences"}),
    frozenset({"keywords:existence", "keywords:forbidden_words"}),
    frozenset({"keywords:frequency", "keywords:forbidden_words"}),
    frozenset({"detectable_format:title", "startend:quotation"}),
})
"""Pairs that cannot both be asked for, or only to no purpose."""


def wording(name: str, arguments: Mapping[str, Any], other: bool) -> str:
    """A constraint in words; `other`: in its second wording."""
    words = arguments.get("keywords") or arguments.get("forbidden_words") or ()
    return WORDINGS[name][other].format(*words, **arguments)


def compose(seed: int = SEED, count: int = ITEMS) -> list[dict[str, Any]]:
    """Rows with fields id, request, instruction_id_list, kwargs: two or three constraints each."""
    draw = random.Random(seed)
    found = []
    for at in range(count):
        names: list[str] = []
        while len(names) < 2 + at % 2:
            name = draw.choice(sorted(WORDINGS))
            if name not in names and not any(frozenset({name, held}) in CLASHES for held in names):
                names.append(name)
        found.append({"id": f"r{at:03d}", "request": REQUESTS[at % len(REQUESTS)], "instruction_id_list": names,
                      "kwargs": [_arguments(name, draw) for name in names]})
    return found


def _arguments(name: str, draw: random.Random) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = {
        "keywords:existence": {"keywords": draw.sample(WORDS, 2)},
        "keywords:forbidden_words": {"forbidden_words": draw.sample(FORBIDDEN, 2)},
        "keywords:frequency": {"keyword": draw.choice(WORDS), "frequency": draw.randint(2, 4), "relation": "at least"},
        "length_constraints:number_words": draw.choice((
            {"num_words": draw.choice((60, 80, 100)), "relation": "less than"},
            {"num_words": draw.choice((120, 150)), "relation": "at least"})),
        "length_constraints:number_sentences": draw.choice((
            {"num_sentences": draw.randint(4, 6), "relation": "less than"},
            {"num_sentences": draw.randint(5, 8), "relation": "at least"})),
        "detectable_content:number_placeholders": {"num_placeholders": draw.randint(2, 3)},
        "detectable_content:postscript": {"postscript_marker": "P.S."},
        "detectable_format:number_bullet_lists": {"num_bullets": draw.randint(2, 5)},
        "detectable_format:number_highlighted_sections": {"num_highlights": draw.randint(2, 3)},
        "startend:end_checker": {"end_phrase": draw.choice(ENDINGS)},
        "keywords:letter_frequency": {"letter": draw.choice("bkvz"), "let_frequency": draw.randint(3, 6),
                                      "let_relation": "at least"},
        "words:repeats": {"small_n": draw.randint(3, 5)},
    }
    return kinds.get(name, {})


if __name__ == "__main__":
    print("\n".join(json.dumps(row) for row in compose()))
