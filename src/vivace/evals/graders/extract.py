"""Taking verdicts out of judges' replies."""

from __future__ import annotations

import json
import re
from typing import Any


def last_object(reply: str) -> dict[str, Any] | None:
    """The JSON object of a reply, fenced or not; None when there is none that can be read."""
    match = re.search(r"\{.*\}", reply, re.DOTALL)
    try:
        held = json.loads(match.group(0), strict=False) if match else None
    except (json.JSONDecodeError, RecursionError):
        return None
    return held if isinstance(held, dict) else None


def yes_or_no(value: Any) -> bool | None:
    """A judge's yes or no, however it is written; None for anything else."""
    word = str(value).strip().strip(".").lower()
    return {"yes": True, "true": True, "no": False, "false": False}.get(word)
