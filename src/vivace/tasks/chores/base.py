"""A chore: files to begin with, a request in words, wishes that the files must meet, commands that bring it about."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DESK = "desk"
"""The folder in which chores are done; nothing else may be changed."""
SURNAMES = ("abel", "berg", "chen", "diaz", "ekman", "fuchs", "garcia", "haas", "ito", "jung", "kaya", "lund", "moreau",
            "novak", "okafor", "perez", "quist", "rossi", "sato", "turner")  # fmt: skip
CITIES = ("Bern", "Cork", "Gent", "Lund", "Nice", "Oslo", "Pisa", "Porto", "Riga", "Turin")
GOODS = ("apples", "bolts", "candles", "drills", "envelopes", "files", "gloves", "hammers", "inks", "jars")


@dataclass(frozen=True)
class Chore:
    """`files` and `after` are {path below the desk: text}; `after` holds what changes (None: removed)."""

    requests: Sequence[str]
    """The same wish in several words; one is chosen."""
    files: Mapping[str, str]
    after: Mapping[str, str | None]
    wishes: Sequence[Mapping[str, Any]]
    """As `vivace.tasks.statecheck` reads them, paths below the desk."""
    commands: Sequence[str]
    """Of a POSIX shell in the root of the workspace. The first only looks, unless `prepared`."""
    wrong: Sequence[Mapping[str, str | None]] = field(default_factory=tuple)
    """Other outcomes ({path: text}) that look like work and must not pass."""
    prepared: bool = False
    """The first command does something that the second needs."""


def dumped(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def same(path: str, text: str) -> dict[str, str]:
    """The wish that a file stays as it is."""
    return {"path": path, "same": hashlib.sha256(text.encode()).hexdigest()}


def python(*lines: str) -> str:
    """A shell command that runs these lines of Python in the desk."""
    return f"mkdir -p {DESK} && cd {DESK} && python3 - <<'END'\n" + "\n".join(lines) + "\nEND"


def stamp(rng: random.Random, day: int = 0) -> str:
    """A time of day in May 2024, in UTC."""
    day = day or rng.randint(1, 28)
    return f"2024-05-{day:02d}T{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}:{rng.randint(0, 59):02d}Z"
