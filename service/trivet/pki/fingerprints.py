"""A set of SHA-256 fingerprints of certificates that is small in memory: 40 to 80 bytes for each."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Final

DIGEST_BYTES: Final = 32
KEPT_AFTER_END: Final = timedelta(days=1)
"""How long a fingerprint stays after its certificate expired: the clocks of those who ask may be behind."""

_STEP: Final = timedelta(minutes=1)
"""By how much a clock may go back: far less than fingerprints are kept beyond the end."""

_PREFIX: Final = 2
_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_Buckets = dict[bytes, bytes]


class Fingerprints:
    """Digests of 32 bytes, each kept until a day after its certificate's end.

    Digests are random, so they lie evenly in up to 65,536 buckets by their first two bytes, one after the other in
    each: objects of their own would take three times as much. What ends on the same day is forgotten together.

    Some threads may add and forget while others ask.
    """

    def __init__(self) -> None:
        """Hold nothing."""
        # Replaced, never changed: whoever walks it is not disturbed.
        self._days: tuple[tuple[int, _Buckets], ...] = ()
        self._changing = threading.Lock()
        self._forgotten_by = _EPOCH

    def add(self, digest: bytes, not_after: datetime) -> None:
        """Hold a digest until its certificate ends."""
        end, prefix = (not_after - _EPOCH) // _DAY, digest[:_PREFIX]
        with self._changing:
            if digest in self:
                return
            buckets = next((buckets for day, buckets in self._days if day == end), None)
            if buckets is None:
                buckets = {}
                self._days = (*self._days, (end, buckets))
            buckets[prefix] = buckets.get(prefix, b"") + digest

    def __contains__(self, digest: bytes) -> bool:
        prefix = digest[:_PREFIX]
        for _, buckets in self._days:
            bucket = buckets.get(prefix)
            if bucket is not None and _stands_in(bucket, digest):
                return True
        return False

    def __len__(self) -> int:
        return sum(len(bucket) for _, buckets in self._days for bucket in buckets.values()) // DIGEST_BYTES

    def forget_ended(self, now: datetime) -> None:
        """Drop what ended more than a day ago."""
        first = (now - KEPT_AFTER_END - _EPOCH) // _DAY
        with self._changing:
            self._forgotten_by = max(self._forgotten_by, now)
            if any(day < first for day, _ in self._days):
                self._days = tuple((day, buckets) for day, buckets in self._days if day >= first)

    def lack(self, now: datetime) -> bool:
        """Whether what has not ended now may have been forgotten, by a clock that was ahead."""
        return now + _STEP < self._forgotten_by


def _stands_in(bucket: bytes, digest: bytes) -> bool:
    place = bucket.find(digest)
    while place >= 0 and place % DIGEST_BYTES:  # the end of one digest and the beginning of the next
        place = bucket.find(digest, place + 1)
    return place >= 0
