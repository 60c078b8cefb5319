"""Noticing that an attempt goes in circles."""

from __future__ import annotations

SAME = 4
"""Times in a row that one call may give one result."""
ALTERNATING = 6
"""Times in a row that a pair of calls may give its pair of results."""


class StuckDetector:
    """Fed with (call, result) after each call; thresholds as in OpenHands' detector."""

    def __init__(self) -> None:
        self._seen: list[tuple[str, str]] = []

    def add(self, call: str, result: str) -> None:
        self._seen.append((call, result))

    @property
    def stuck(self) -> bool:
        seen = self._seen
        if len(seen) >= SAME and len(set(seen[-SAME:])) == 1:
            return True
        last = seen[-2 * ALTERNATING :]
        return len(last) == 2 * ALTERNATING and len(set(last[::2])) == len(set(last[1::2])) == 1
