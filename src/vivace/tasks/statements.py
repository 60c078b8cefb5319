"""Problem statements, filled in from what a test run showed. Short, in several registers, and without the fix."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

ERROR_CHARACTERS = 110
TEST_CHARACTERS = 90

# {place} always reads "`name` in path": whoever looks for the function, a program too, finds it by that.
SIMPLE = (
    "{place} is wrong: {test} fails with {error}",
    "{test} fails:\n{error}\nThe bug is in {place}. Fix it.",
    "CI is red.\nFAILED {test} - {error}\nPlease fix {place}.",
    "Why does {test} say {error}? I suspect {place}. Please repair it.",
    "Since the last change {place} misbehaves ({error}). {test} must pass again.",
    "Fix {place}. {test}: {error}",
)
COMPLEX = (
    "Several tests fail:\n{failures}\nSuspects: {places}. Fix whatever is broken.",
    "CI is red.\n{failures}\nIt may be any of {places}; more than one may be broken.",
    "These broke at once:\n{failures}\nPlease check {places} and repair what is wrong.",
    "After a merge {places} look suspicious.\n{failures}\nMake the tests pass again.",
)
# A path from the root, unless it goes on from something (a/b, ../a, https://a, ~/a) or is that of the workspace.
_MACHINE_PATH = re.compile(r"(?:\bfile://|(?<![\w.:/~)\]}*-]))/(?!workspace\b)[A-Za-z_.][\w.+-]*/")
_PLACE = re.compile(r"`([A-Za-z_]\w*)` in ([\w./-]+\.py)")


@dataclass(frozen=True)
class Suspect:
    """A function that a statement names."""

    name: str
    path: str

    def __str__(self) -> str:
        return f"`{self.name}` in {self.path}"


def suspects(statement: str) -> list[Suspect]:
    """The functions that a statement names, in its order."""
    return list(dict.fromkeys(Suspect(name, path) for name, path in _PLACE.findall(statement)))


def simple_statement(place: Suspect, test_id: str, error: str, rng: random.Random) -> str:
    """One bug: the function, its file and one failing test with the last line of its error."""
    return rng.choice(SIMPLE).format(place=place, test=shown_test(test_id), error=shown_error(error))


def complex_statement(places: Sequence[Suspect], failures: Sequence[tuple[str, str]], rng: random.Random) -> str:
    """Several suspects, not all of them guilty, and several failing tests with their errors."""
    listed = "\n".join(f"{shown_test(test_id)}: {shown_error(error, 60)}" for test_id, error in failures)
    return rng.choice(COMPLEX).format(places=", ".join(map(str, places)), failures=listed)


def leaks(statement: str, gold_lines: Sequence[str], buggy_tree: str) -> bool:
    """Whether the statement holds a piece of the fix that stands nowhere in the buggy file: a fixed line, or a word."""
    return any(piece in statement for line in gold_lines for piece in _pieces(line) if piece not in buggy_tree)


def names_machine(statement: str) -> bool:
    """Whether a statement holds an absolute path outside the workspace: where it was made is nobody else's business."""
    return _MACHINE_PATH.search(statement) is not None


def _pieces(line: str) -> list[str]:
    return [line.strip(), *re.findall(r"[A-Za-z_]\w{3,}|[\"'][^\"']{2,}[\"']", line)] if line.strip() else []


def shown_test(test_id: str) -> str:
    """A test id without parameters that are long or unreadable."""
    plain = test_id if len(test_id) <= TEST_CHARACTERS and "\\" not in test_id else test_id.split("[")[0]
    return plain if "[" not in plain or len(plain) <= 60 else plain.split("[")[0]


def shown_error(error: str, most: int = ERROR_CHARACTERS) -> str:
    """The first line of an error, cut."""
    line = " ".join(error.split("\n")[0].split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
