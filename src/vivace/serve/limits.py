"""Who may ask, and how often."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Sequence

from vivace.core.files import digest
from vivace.serve.errors import ApiError


class Keys:
    """No keys: everybody may ask. `per_minute` requests of each key (or of all who have none); 0: any number."""

    def __init__(
        self, keys: Sequence[str] = (), per_minute: float = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keys, self._per_minute, self._clock = list(keys), per_minute, clock
        self._buckets: dict[str, tuple[float, float]] = {}  # who -> requests left, as of when

    def admit(self, key: str) -> str:
        """The asker's name for the log (never the key itself). ApiError 401 or 429."""
        who = self.check(key)
        if self._per_minute:
            self._take(who)
        return who

    def check(self, key: str) -> str:
        same = [hmac.compare_digest(key.encode(), known.encode()) for known in self._keys]  # all of them
        if self._keys and not any(same):
            raise ApiError(401, "no valid API key; send it as `Authorization: Bearer KEY`", code="invalid_api_key")
        return f"key-{digest(key, 8)}" if self._keys else "anyone"

    def _take(self, who: str) -> None:
        now = self._clock()
        left, since = self._buckets.get(who, (self._per_minute, now))
        left = min(self._per_minute, left + (now - since) * self._per_minute / 60)
        if left < 1:
            wait = (1 - left) * 60 / self._per_minute
            raise ApiError(429, f"more than {self._per_minute:g} requests a minute; wait {wait:.0f} s",
                           code="rate_limit_exceeded", retry_after=wait)  # fmt: skip
        self._buckets[who] = (left - 1, now)
