"""Registers: one symptom told in the ways in which people tell them. None of them holds a piece of the fix.

Facts come from execution alone: a failing test with its error and, where one is known, a call with what it gives and
what it should give. Which register is used, and how it is filled, depends on the generator that is handed in.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from vivace.tasks.statements import Suspect, shown_error, shown_test


@dataclass(frozen=True)
class Symptom:
    """What can be seen of one bug. `call` is (call, what it gives now, what it should give)."""

    place: Suspect
    test_id: str
    error: str
    call: tuple[str, str, str] | None = None

    @property
    def test(self) -> str:
        return shown_test(self.test_id)

    @property
    def line(self) -> str:
        return shown_error(self.error)


def terse(symptom: Symptom, rng: random.Random) -> str:
    """A line or two, as among colleagues."""
    if symptom.call:
        call, now, want = symptom.call
        return rng.choice((
            "{place}: `{call}` gives {now}, should be {want}.", "{place} is broken. {call} -> {now}, expected {want}",
        )).format(place=symptom.place, call=call, now=now, want=want)
    return rng.choice((
        "{place} is broken: {error}", "{place}: {test} red, {error}", "fix {place} ({test}: {error})",
    )).format(place=symptom.place, test=symptom.test, error=symptom.line)


def traceback(symptom: Symptom, rng: random.Random) -> str:
    """What the terminal said, pasted."""
    name = symptom.test_id.split("::")[-1].split("[")[0]
    path = symptom.test_id.split("::")[0]
    lines = [line for line in symptom.error.split("\n")[:4] if line.strip()]
    pasted = "\n".join([f"{path}: in {name}", *(f"E   {line[:140]}" for line in lines)])
    return rng.choice((
        "Got this:\n\n```\n{pasted}\n```\n\n{place} looks wrong to me.",
        "```\n{pasted}\n```\nProbably {place}. Can you fix it?",
        "Running the tests ends with\n\n{pasted}\n\nPlease have a look at {place}.",
    )).format(pasted=pasted, place=symptom.place)


def support(symptom: Symptom, rng: random.Random) -> str:
    """A user who does not know the code and asks politely."""
    if symptom.call:
        call, now, want = symptom.call
        return rng.choice((
            "Hi, I use this library in a small project and am puzzled: `{call}` gives me {now}, while I think it "
            "should be {want}. Am I holding it wrong, or is there a bug in {place}?",
            "Hello! Is it intended that `{call}` is {now}? From the documentation I expected {want}. It seems to come "
            "from {place}. Could you look into it?",
        )).format(call=call, now=now, want=want, place=symptom.place)
    return rng.choice((
        "Hi, after updating I see {error}. As far as I can tell it comes from {place}; your own {test} shows it too. "
        "Could somebody repair it?",
        "Hello, what do I have to do about \"{error}\"? {test} fails with it here. I was told to ask about {place}.",
    )).format(error=symptom.line, place=symptom.place, test=symptom.test)


def ci(symptom: Symptom, rng: random.Random) -> str:
    """The log of a failed build."""
    return rng.choice((
        "The build on main failed.\n\n=========== short test summary info ===========\nFAILED {test} - {error}\n\n"
        "Owner of {place}, please fix.",
        "CI: job `tests` failed\nFAILED {test} - {error}\n1 failed\nThe last commit touched {place}.",
        "Nightly is red since yesterday:\n  {test}\n  {error}\nNothing but {place} has changed. Make it green again.",
    )).format(test=symptom.test, error=symptom.line, place=symptom.place)


def review(symptom: Symptom, rng: random.Random) -> str:
    """A comment on a change."""
    if symptom.call:
        call, now, want = symptom.call
        return rng.choice((
            "Review of the last change: {place} does not do what it did. With this `{call}` comes out as {now}; it has "
            "to stay {want}. Please correct before we merge.",
            "I tried the branch. {place}: `{call}` is {now} now, it was {want} on main. This must not change.",
        )).format(call=call, now=now, want=want, place=symptom.place)
    return rng.choice((
        "Requesting changes: {place} is not right. {test} says {error}. Please correct it and leave the tests alone.",
        "nit, but a blocking one: {place} breaks {test} ({error}).",
    )).format(place=symptom.place, test=symptom.test, error=symptom.line)


def feature(symptom: Symptom, rng: random.Random) -> str:
    """A wish, by somebody who takes the bug for something missing."""
    if symptom.call:
        call, now, want = symptom.call
        return rng.choice((
            "Feature request: it would help us if {place} handled this case. `{call}` should give {want}; today it is "
            "{now}.",
            "As a user I would like `{call}` to be {want} instead of {now}. I think {place} is where that belongs.",
        )).format(call=call, now=now, want=want, place=symptom.place)
    return rng.choice((
        "Feature request: please make {place} cover the case of {test}. At the moment the outcome is {error}.",
        "It would be good if {place} supported what {test} describes; now it ends in {error}.",
    )).format(place=symptom.place, test=symptom.test, error=symptom.line)


REGISTERS: dict[str, Callable[[Symptom, random.Random], str]] = {
    "terse report": terse, "traceback paste": traceback, "support question": support, "failing CI": ci,
    "code-review comment": review, "feature request": feature,
}  # fmt: skip


def word(symptom: Symptom, rng: random.Random, register: str | None = None) -> str:
    """The symptom in one of the registers; the generator chooses if none is named."""
    return REGISTERS[register or rng.choice(list(REGISTERS))](symptom, rng)
