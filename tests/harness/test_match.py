"""The matcher ladder: what may be forgiven, what must be refused, and that nothing else ever changes."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Callable
from itertools import product
from typing import cast

import pytest
from calc_repo import no_tests
from hypothesis import HealthCheck, event, given, settings
from hypothesis import find as find_example
from hypothesis import strategies as st

from vivace.core.types import ToolCall
from vivace.harness.edit.explain import closest_region
from vivace.harness.edit.match import Match, Refusal, find
from vivace.harness.environment import Environment
from vivace.harness.tools.base import Context
from vivace.harness.tools.registry import get_profile
from vivace.sandbox import Workspace

WORDS = ["x = 1", "return a - b", "def f(self):", "", "    pass", "\tif y:", "# it’s “here” – now"]
WORDS += ["café", "cafe\u0301"]


RETYPED: list[Callable[[str], str]] = [
    lambda s: s,
    lambda s: s.replace("\r\n", "\n"),
    lambda s: s.replace("\n", "\r\n"),
    lambda s: "\n".join(line.rstrip() for line in s.splitlines()),
    lambda s: "\n".join(line + " " for line in s.splitlines()),
    lambda s: s.replace("’", "'").replace("“", '"').replace("”", '"').replace("–", "-"),
    lambda s: unicodedata.normalize("NFC", s),
    lambda s: unicodedata.normalize("NFD", s),
    lambda s: "\n".join("  " + line for line in s.splitlines()),
    lambda s: "\n".join(line[2:] if line.startswith("  ") else line for line in s.splitlines()),
    lambda s: s.replace("    ", "\t"),
    lambda s: "\ufeff" + s,
]
"""What a model makes of a text when it types it again."""
LINES = ["".join(parts) for parts in product(["", "  ", "    ", "\t"], WORDS, ["", " ", "\t "])]
NEW = ["NEW", "NEW\n  SECOND\n", "", "  NEW\r\nCR", "“NEW”", "ünd", "\x00\u2028", "\r"]


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, str, str]:
    """(text of a file, oldString, newString): most of the latter are parts of the file typed again."""
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    lines = draw(st.lists(st.sampled_from(LINES), min_size=1, max_size=8))
    text = draw(st.sampled_from(["", "\ufeff"])) + end.join(lines)
    text = (text + draw(st.sampled_from(["", end, "\n"]))) or "x"
    start = draw(st.integers(0, len(text) - 1))
    old = text[start : start + draw(st.integers(1, 60))]
    for change in draw(st.lists(st.sampled_from(RETYPED), max_size=2)):
        old = change(old)
    return text, old + draw(st.sampled_from([*[""] * 20, *WORDS])), draw(st.sampled_from(NEW))


class Memory:
    """The one file of a workspace, for the tool to edit."""

    def __init__(self, text: str) -> None:
        self.data = text.encode()
        self.background: dict[str, object] = {}

    def exists(self, path: str) -> bool:
        return path == "f.txt"

    def files(self) -> list[str]:
        return ["f.txt"]

    def read_text(self, path: str) -> str:
        return self.data.decode()

    def write_text(self, path: str, text: str) -> None:
        self.data = text.encode()


def edited(text: str, old: str, new: str) -> tuple[str, bytes]:
    """(kind, the file's bytes afterwards) of one call of the tool itself."""
    memory = Memory(text)
    environment = Environment(cast(Workspace, memory), no_tests)
    call = ToolCall(name="replace_string_in_file", arguments={"filePath": "f.txt", "oldString": old, "newString": new})
    _, outcome = get_profile("copilot").call(call, Context(environment))
    return outcome.kind, memory.data


def plain(text: str) -> list[str]:
    """An independent idea of sameness: line ends, outer blanks and typography do not count."""
    text = unicodedata.normalize("NFC", text.replace("\ufeff", "").replace("\r\n", "\n"))
    for odd, usual in {"’": "'", "“": '"', "”": '"', "–": "-"}.items():
        text = text.replace(odd, usual)
    return [line.strip().replace("\t", " ") for line in text.strip().split("\n")]


def check(text: str, old: str, new: str) -> None:
    """An edit replaces one place that says the same as oldString, or changes no byte."""
    found, (kind, after) = find(text, old, new), edited(text, old, new)
    event(found.step if isinstance(found, Match) else found.reason)
    count = sum(text.startswith(old, i) for i in range(len(text))) if old else 0
    if count == 1 and not old.startswith("\ufeff") and old != new and isinstance(found, Match):
        assert (found.step, text[found.start : found.end]) == ("exact", old)
    if isinstance(found, Refusal):
        assert found.reason != "ambiguous" or len(found.lines) > 1
        assert (kind, after) == (found.reason, text.encode())
        return
    assert kind == ("ok" if found.step == "exact" else f"ok_{found.step}")
    before, span, behind = (text[: found.start], text[found.start : found.end], text[found.end :])
    assert after == before.encode() + found.new.encode() + behind.encode()
    assert plain(span) == plain(old)
    assert plain(found.new) == plain(new)
    assert after.startswith(codecs.BOM_UTF8) == text.startswith("\ufeff")


FEW = settings(max_examples=400, deadline=None, database=None, derandomize=True)
MANY = settings(max_examples=10_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@FEW
@given(edits())
def test_nothing_outside_the_span_changes(edit: tuple[str, str, str]) -> None:
    check(*edit)


@pytest.mark.slow
@MANY
@given(edits())
def test_nothing_outside_the_span_changes_in_many_cases(edit: tuple[str, str, str]) -> None:
    check(*edit)


@pytest.mark.parametrize("rung", ["exact", "line_endings", "trailing_blanks", "look_alikes", "indentation",
                                  "ambiguous"])  # fmt: skip
def test_the_cases_reach_every_rung(rung: str) -> None:
    def is_there(edit: tuple[str, str, str]) -> bool:
        found = find(*edit)
        return rung == (found.step if isinstance(found, Match) else found.reason)

    once = settings(max_examples=20_000, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    find_example(edits(), is_there, settings=once)


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
