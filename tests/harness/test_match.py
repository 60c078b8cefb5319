"""The matcher ladder: what may be forgiven, what must be refused, and that nothing else ever changes."""

from __future__ import annotations

import random
import unicodedata

import pytest

from vivace.harness.edit.explain import closest_region
from vivace.harness.edit.match import Match, Refusal, find

WORDS = ["x = 1", "return a - b", "def f(self):", "", "    pass", "\tif y:", "# it’s “here” – now"]
WORDS += ["café", "cafe\u0301"]


def random_text(rng: random.Random) -> str:
    end = rng.choice(["\n", "\r\n"])
    lines = [rng.choice(["", "  ", "    ", "\t"]) + rng.choice(WORDS) + rng.choice(["", "", " ", "\t "])
             for _ in range(rng.randrange(1, 12))]  # fmt: skip
    return rng.choice(["", "\ufeff"]) + end.join(lines) + rng.choice(["", end])


def perturbed(part: str, rng: random.Random) -> str:
    """What a model makes of a text when it retypes it."""
    changes = [
        lambda s: s,
        lambda s: s.replace("\r\n", "\n"),
        lambda s: "\n".join(line.rstrip() for line in s.splitlines()),
        lambda s: s.replace("’", "'").replace("“", '"').replace("”", '"').replace("–", "-"),
        lambda s: unicodedata.normalize("NFC", s),
        lambda s: "\n".join("  " + line for line in s.splitlines()),
        lambda s: "\n".join(line[2:] if line.startswith("  ") else line for line in s.splitlines()),
        lambda s: s.replace("    ", "\t"),
        lambda s: s + rng.choice(WORDS),
    ]
    for change in rng.sample(changes, rng.randrange(1, 4)):
        part = change(part)
    return part


def plain(text: str) -> list[str]:
    """An independent idea of sameness: line ends, outer blanks and typography do not count."""
    text = unicodedata.normalize("NFC", text.replace("\ufeff", "").replace("\r\n", "\n"))
    for odd, usual in {"’": "'", "“": '"', "”": '"', "–": "-"}.items():
        text = text.replace(odd, usual)
    return [line.strip().replace("\t", " ") for line in text.strip().split("\n")]


def check_one(rng: random.Random) -> str:
    text = random_text(rng) or "x"
    start = rng.randrange(len(text))
    part = text[start : start + rng.randrange(1, 60)]
    old, new = perturbed(part, rng), rng.choice(["NEW", "NEW\n  SECOND\n", ""])
    found = find(text, old, new)
    count = sum(text.startswith(old, i) for i in range(len(text))) if old else 0
    if count == 1 and not old.startswith("\ufeff"):
        assert isinstance(found, Match)
        assert (found.step, text[found.start : found.end]) == ("exact", old)
    if isinstance(found, Refusal):
        assert found.reason in ("no_match", "ambiguous", "already_applied", "no_change")
        assert found.reason != "ambiguous" or len(found.lines) > 1
        return found.reason
    assert 0 <= found.start <= found.end <= len(text)
    span = text[found.start : found.end]
    assert plain(span) == plain(old), (text, old, found)
    result = text[: found.start] + found.new + text[found.end :]
    assert result.startswith(text[: found.start])
    assert result.endswith(text[found.end :])
    assert len(result) == len(text) - len(span) + len(found.new)
    assert plain(found.new) == plain(new)
    assert result.startswith("\ufeff") == text.startswith("\ufeff")
    return found.step


def test_nothing_outside_the_span_changes() -> None:
    rng = random.Random(1)
    seen = {check_one(rng) for _ in range(1000)}
    steps = {"exact", "line_endings", "trailing_blanks", "look_alikes", "indentation"}
    assert seen >= {*steps, "no_match", "ambiguous"}  # the cases reach every rung


@pytest.mark.slow
def test_nothing_outside_the_span_changes_in_many_cases() -> None:
    rng = random.Random(2)
    for _ in range(12_000):
        check_one(rng)


def test_line_ends_of_the_place_are_kept() -> None:
    text = "a\r\nb\r\nc\r\n"
    found = find(text, "b", "x\ny")
    assert found == Match(3, 4, "x\r\ny", "exact")


def test_new_text_is_shifted_with_the_old() -> None:
    text = "class A:\n        def f(self):\n                return 1\n"
    found = find(text, "    def f(self):\n        return 1\n", "    def f(self):\n        y = 2\n        return y\n")
    assert isinstance(found, Match)
    assert found.step == "indentation"
    assert found.new == "        def f(self):\n                y = 2\n                return y\n"


def test_text_that_cannot_be_shifted_is_refused() -> None:
    """The new text reaches further left than the place allows."""
    text = "def f():\n  x = 1\n  y = 2\n"
    assert find(text, "    x = 1\n    y = 2", "x = 1\n    y = 3") == Refusal("no_match")


def test_forgiving_steps_need_a_single_hit_too() -> None:
    text = "x = 1 \ny = 2\nx = 1\t\n"
    assert find(text, "x = 1\n", "x = 2\n") == Refusal("ambiguous", (1, 3))


def test_of_several_places_the_one_that_was_shown_is_meant() -> None:
    text = "def f():\n    return 1\n\n\ndef g():\n    return 1\n"
    assert find(text, "return 1", "return 2") == Refusal("ambiguous", (2, 6))
    found = find(text, "return 1", "return 2", near=[(5, 6)])
    assert isinstance(found, Match)
    assert text[: found.start] + found.new + text[found.end :] == text[:-2] + "2\n"
    assert find(text, "return 1", "return 2", near=[(1, 6)]) == Refusal("ambiguous", (2, 6))
    assert find(text, "return 1", "return 2", near=[(3, 4)]) == Refusal("ambiguous", (2, 6))


def test_overlapping_occurrences_are_ambiguous() -> None:
    assert find("aaa", "aa", "b") == Refusal("ambiguous", (1, 1))


def test_closest_region_is_the_real_text() -> None:
    text = "import os\n\n\ndef total(values):\n    result = 0\n    for v in values:\n        result += v\n"
    region = closest_region(text, "def total(vals):\n    result = 0\n    for v in vals:")
    assert region is not None
    assert (region.first, region.differing) == (4, (4, 6))
    assert region.lines[0] == "def total(values):"
    assert closest_region(text, "something else entirely 12345") is None
