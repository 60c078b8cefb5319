"""Edits written by experts are unambiguous and really lead from one text to the other."""

import random

from vivace.harness.edit.minimal import minimal_edits

LINES = ["a", "  a", " b", "c", "", "  a b"]


def _random_pair(rng: random.Random) -> tuple[str, str]:
    old = [rng.choice(LINES) for _ in range(rng.randrange(1, 12))]
    new = list(old)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(new))
        match rng.randrange(3):
            case 0:
                new[at] = rng.choice(["a", "zz", "  q"])
            case 1:
                new.insert(at, "new")
            case _ if len(new) > 1:
                del new[at]
    return "\n".join(old), "\n".join(new)


def test_edits_are_unique_and_lead_to_the_target() -> None:
    rng = random.Random(0)
    for _ in range(3000):
        before, after = _random_pair(rng)
        text = before
        for old, new in minimal_edits(before, after):
            if old:
                assert text.find(old, text.find(old) + 1) == -1
            text = text.replace(old, new, 1)
        assert text == after


def test_a_changed_line_is_the_whole_edit() -> None:
    before = "def f(x):\n    if x > 1:\n        return x\n    return x\n"
    assert minimal_edits(before, before.replace("> 1", ">= 1")) == [("if x > 1:", "if x >= 1:")]
    assert minimal_edits(before, before) == []
