"""Forms that an answer may be asked for in: words, the public constraint that checks it, how a draft gets it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Names = Sequence[str]
Draft = dict[str, Any]
"""A draft in the making: `lines` (one a name), `head`, `tail`, and `join` (how the names are put down)."""


@dataclass(frozen=True)
class Form:
    """`sorts` are the properties of an answer that it fixes; two forms that share one are not asked for together."""

    words: str
    constraint: str
    arguments: dict[str, Any]
    sorts: frozenset[str]
    apply: Callable[[Draft], None] = field(default=lambda draft: None, compare=False)


def drafted(names: Names, forms: Sequence[Form]) -> str:
    """An answer that holds the names and follows the forms."""
    draft: Draft = {"names": list(names), "bullet": "", "head": [], "tail": [], "wrap": "", "json": False,
                    "mark": "`{}`", "upper": False, "filler": 0}  # fmt: skip
    for form in forms:
        form.apply(draft)
    if draft["json"]:
        return json.dumps({"names": draft["names"]})
    lines = [draft["bullet"] + draft["mark"].format(name) for name in draft["names"]]
    text = "\n".join([*draft["head"], *lines])
    tail = list(draft["tail"])
    missing = draft["filler"] - len(re.findall(r"\w+", "\n".join([text, *tail])))
    if missing > 0:
        tail.insert(0, "That is all " + " ".join(["indeed"] * max(0, missing - 3)))
    text = "\n".join([text, *tail])
    text = text.lower() if draft["upper"] == "lower" else text
    return f'"{text}"' if draft["wrap"] else text


def _set(**changes: Any) -> Callable[[Draft], None]:
    return lambda draft: draft.update(changes)


def _add(where: str, line: str, first: bool = False) -> Callable[[Draft], None]:
    def apply(draft: Draft) -> None:
        draft[where].insert(0 if first else len(draft[where]), line)

    return apply


def bullets(names: Names, rng: random.Random) -> Form:
    return Form(f"Use exactly {len(names)} bullet points (lines that begin with `* `), one for each name.",
                "detectable_format:number_bullet_lists", {"num_bullets": len(names)}, frozenset({"lines", "json"}),
                _set(bullet="* "))  # fmt: skip


def as_json(names: Names, rng: random.Random) -> Form:
    return Form("The whole answer has to be JSON, with the names as strings.", "detectable_format:json_format", {},
                frozenset({"lines", "json", "head", "tail", "comma", "wrap", "marks", "length", "brackets"}),
                _set(json=True))  # fmt: skip


def no_comma(names: Names, rng: random.Random) -> Form:
    return Form("Do not use any comma.", "punctuation:no_comma", {}, frozenset({"comma"}))


def ending(names: Names, rng: random.Random) -> Form:
    phrase = rng.choice(("That is the whole list.", "Nothing else is defined there.", "Is there anything else?"))
    return Form(f'End your answer with exactly this sentence: "{phrase}" Nothing may follow it.',
                "startend:end_checker", {"end_phrase": phrase}, frozenset({"tail", "json"}),
                _add("tail", phrase))  # fmt: skip


def title(names: Names, rng: random.Random) -> Form:
    return Form("Begin with a title in double angular brackets, as in <<Names>>.", "detectable_format:title", {},
                frozenset({"head", "json"}), _add("head", "<<Names>>", True))  # fmt: skip


def quotation(names: Names, rng: random.Random) -> Form:
    return Form("Put the whole answer in double quotation marks.", "startend:quotation", {},
                frozenset({"wrap", "json", "tail"}), _set(wrap='"'))  # fmt: skip


def postscript(names: Names, rng: random.Random) -> Form:
    return Form("Add a postscript at the end that starts with P.S.", "detectable_content:postscript",
                {"postscript_marker": "P.S."}, frozenset({"tail", "json"}),
                _add("tail", "P.S. That is all"))  # fmt: skip


def highlighted(names: Names, rng: random.Random) -> Form:
    return Form(f"Highlight every name with markdown, as in *name*, at least {len(names)} in all.",
                "detectable_format:number_highlighted_sections", {"num_highlights": len(names)},
                frozenset({"marks", "json"}), _set(mark="*{}*"))  # fmt: skip


def placeholders(names: Names, rng: random.Random) -> Form:
    return Form("Leave at least 2 placeholders in square brackets, such as [purpose], for what I shall fill in.",
                "detectable_content:number_placeholders", {"num_placeholders": 2}, frozenset({"brackets", "json"}),
                _add("head", "[purpose] [date]"))  # fmt: skip


def shorter(names: Names, rng: random.Random) -> Form:
    most = sum(len(re.findall(r"\w+", name)) for name in names) + rng.randint(30, 45)
    return Form(f"Use fewer than {most} words.", "length_constraints:number_words",
                {"num_words": most, "relation": "less than"}, frozenset({"length"}))  # fmt: skip


def longer(names: Names, rng: random.Random) -> Form:
    least = rng.choice((40, 60, 80))
    return Form(f"Use at least {least} words.", "length_constraints:number_words",
                {"num_words": least, "relation": "at least"}, frozenset({"length", "json"}),
                _set(filler=least))  # fmt: skip


def without(names: Names, rng: random.Random) -> Form | None:
    words = [word for word in ("function", "python", "module", "defines", "following")
             if not any(word in name.lower() for name in names)]  # fmt: skip
    if len(words) < 3:
        return None
    chosen = sorted(rng.sample(words, 3))
    return Form(f"Do not use the words {', '.join(chosen)}.", "keywords:forbidden_words", {"forbidden_words": chosen},
                frozenset({"words"}))  # fmt: skip


def with_words(names: Names, rng: random.Random) -> Form:
    word = rng.choice(("overview", "reference", "inventory"))
    return Form(f"Use the word {word} at least twice.", "keywords:frequency",
                {"keyword": word, "frequency": 2, "relation": "at least"}, frozenset({"words", "json"}),
                _add("head", f"An {word} to keep, as an {word} should be" if word[0] in "oi" else
                     f"A {word} to keep as a {word} should be"))  # fmt: skip


def counted(names: Names, rng: random.Random) -> Form:
    least, most = rng.choice(((15, 90), (25, 110)))
    return Form(f"Use between {least} and {most} words.", "count:word_count_range",
                {"min_words": least, "max_words": most}, frozenset({"length", "json"}), _set(filler=least))  # fmt: skip


def listed(names: Names, rng: random.Random) -> Form:
    mark = rng.choice(("!?!?", "...", "-->"))
    return Form(f"Make a list of the names in which every line begins with {mark}", "format:list", {"sep": mark},
                frozenset({"lines", "json"}), _set(bullet=f"{mark} "))  # fmt: skip


def template(names: Names, rng: random.Random) -> Form:
    return Form("Structure the answer by this template: `My Answer:`, `My Conclusion:`, `Future Outlook:`.",
                "format:output_template", {}, frozenset({"head", "tail", "json"}), _templated)  # fmt: skip


def _templated(draft: Draft) -> None:
    draft["head"].append("My Answer:")
    draft["tail"] += ["My Conclusion: complete", "Future Outlook: stable"]


FORMS: tuple[Callable[[Names, random.Random], Form | None], ...] = (
    bullets, as_json, no_comma, ending, title, quotation, postscript, highlighted, placeholders, shorter, longer,
    without, with_words, counted, listed, template,
)  # fmt: skip
