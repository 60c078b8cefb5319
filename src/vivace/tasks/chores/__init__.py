"""Chores for a shell, made by seed, with an outcome that is computed beside them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from vivace.tasks.chores.base import DESK, Chore
from vivace.tasks.chores.data import addresses, log, records, table
from vivace.tasks.chores.files import names, parts, settings, sums
from vivace.tasks.chores.programs import census, history, program

KINDS: Mapping[str, Callable[[random.Random], Chore]] = {
    "log": log, "table": table, "records": records, "addresses": addresses, "names": names, "settings": settings,
    "sums": sums, "parts": parts, "history": history, "program": program,
}  # fmt: skip
"""Those that need no package; `census` does."""

__all__ = ["DESK", "KINDS", "Chore", "census"]
