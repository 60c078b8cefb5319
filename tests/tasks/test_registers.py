from __future__ import annotations

import random

import pytest

from vivace.tasks.registers import REGISTERS, Symptom, word
from vivace.tasks.statements import Suspect, leaks, simple_statement, suspects

PLACE = Suspect("clamp", "src/toy/stats.py")
PLAIN = Symptom(PLACE, "tests/test_stats.py::test_clamp", "AssertionError: assert 11 == 10\n + where 11 = clamp(11)")
CALLED = Symptom(PLACE, PLAIN.test_id, PLAIN.error, ("clamp(11)", "11", "10"))


@pytest.mark.parametrize("register", REGISTERS)
@pytest.mark.parametrize("symptom", [PLAIN, CALLED])
def test_each_register_names_the_place_and_a_symptom(register: str, symptom: Symptom) -> None:
    texts = {word(symptom, random.Random(seed), register) for seed in range(30)}
    assert len(texts) >= 2
    for text in texts:
        assert suspects(text) == [PLACE]
        assert "11" in text
        assert not leaks(text, ["    if value > high:"], "def clamp(value, low, high): value < high clamp tests")


def test_the_seed_chooses_among_six() -> None:
    assert len(REGISTERS) >= 6
    drawn = [word(CALLED, random.Random(seed)) for seed in range(200)]
    for name, write in REGISTERS.items():
        mine = {write(CALLED, random.Random(seed)) for seed in range(30)}
        assert 10 <= sum(text in mine for text in drawn) <= 70, name
    assert drawn == [word(CALLED, random.Random(seed)) for seed in range(200)]


def test_calls_are_told_where_they_are_known() -> None:
    texts = [word(CALLED, random.Random(seed)) for seed in range(60)]
    assert 15 <= sum("clamp(11)" in text.split("where")[0] for text in texts) <= 55


def test_the_shipped_rows_way_of_wording_is_as_it_was() -> None:
    texts = [simple_statement(PLACE, PLAIN.test_id, "boom", random.Random(f"0:{n}")) for n in range(2)]
    assert texts == [
        "Since the last change `clamp` in src/toy/stats.py misbehaves (boom). tests/test_stats.py::test_clamp must "
        "pass again.",
        "tests/test_stats.py::test_clamp fails:\nboom\nThe bug is in `clamp` in src/toy/stats.py. Fix it.",
    ]
