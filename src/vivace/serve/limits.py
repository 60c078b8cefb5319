"""Who may ask, how often, and for how many tokens a day."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar

from vivace.core.files import digest
from vivace.serve.errors import ApiError

ASKER: ContextVar[str] = ContextVar("asker", default="anyone")
"""Whose request is being answered, by its name for the log."""
_DAY = 86_400


class Keys:
    """No keys: everybody may ask. `per_minute` requests of each key (or of all who have none) and `per_day` tokens,
    read and written, in each day of UTC; 0: any number. What was spent is forgotten when the server ends."""

    def __init__(
        self, keys: Sequence[str] = (), per_minute: float = 0, per_day: int = 0,
        clock: Callable[[], float] = time.monotonic, today: Callable[[], float] = time.time,
    ) -> None:
        self._keys, self._per_minute, self._clock = list(keys), per_minute, clock
        self._per_day, self._today = per_day, today
        self._spent: dict[str, tuple[int, int]] = {}  # who -> day, tokens
        self._buckets: dict[str, tuple[float, float]] = {}  # who -> requests left, as of when

    def admit(self, key: str) -> str:
        """The asker's name for the log (never the key itself). ApiError 401 or 429."""
        who = self.check(key)
        if self._per_day:
            self._within_quota(who)
        if self._per_minute:
            self._take(who)
        return who

    def check(self, key: str) -> str:
        same = [hmac.compare_digest(key.encode(), known.encode()) for known in self._keys]  # all of them
        if self._keys and not any(same):
            raise ApiError(401, "no valid API key; send it as `Authorization: Bearer KEY`", code="invalid_api_key")
        return f"key-{digest(key, 8)}" if self._keys else "anyone"

    def spend(self, who: str, tokens: int) -> None:
        """Note tokens of an answer that is over."""
        day = int(self._today() // _DAY)
        then, spent = self._spent.get(who, (day, 0))
        self._spent[who] = (day, tokens + (spent if then == day else 0))

    def _within_quota(self, who: str) -> None:
        """A request that begins within the quota is answered whole; the next one has to wait."""
        now = self._today()
        day, spent = self._spent.get(who, (0, 0))
        if day == int(now // _DAY) and spent >= self._per_day:
            raise ApiError(429, f"{spent:,} of {self._per_day:,} tokens of this day are used; it ends at midnight UTC",
                           code="insufficient_quota", retry_after=_DAY - now % _DAY)  # fmt: skip

    def _take(self, who: str) -> None:
        now = self._clock()
        left, since = self._buckets.get(who, (self._per_minute, now))
        left = min(self._per_minute, left + (now - since) * self._per_minute / 60)
        if left < 1:
            wait = (1 - left) * 60 / self._per_minute
            raise ApiError(429, f"more than {self._per_minute:g} requests a minute; wait {wait:.0f} s",
                           code="rate_limit_exceeded", retry_after=wait)  # fmt: skip
        self._buckets[who] = (left - 1, now)
