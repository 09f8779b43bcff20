"""A limit on the requests of each requester: a token bucket in this process's memory."""

from __future__ import annotations

import math
from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING

from trivet.pki.errors import RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Callable

_REQUESTERS = 100_000  # those longest unseen are forgotten; their buckets are full again anyway


class RateLimit:
    """Lets each requester send `rate` requests a second in the long run, and `burst` at once."""

    def __init__(self, rate: float, burst: int, monotonic: Callable[[], float]) -> None:
        """Take the limits and a monotonic clock in seconds."""
        self._rate = rate
        self._burst = burst
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, requester: str) -> None:
        """Count a request.

        Raises:
            RateLimitedError: with the time after which the next one will pass.
        """
        now = self._monotonic()
        tokens, seen = self._buckets.pop(requester, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - seen) * self._rate)
        allowed = tokens >= 1
        self._buckets[requester] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > _REQUESTERS:
            self._buckets.popitem(last=False)
        if not allowed:
            wait = math.ceil((1 - tokens) / self._rate)
            message = f"more than {self._rate:g} requests a second; try again in {wait} s"
            raise RateLimitedError(message, timedelta(seconds=wait))
