"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# Not a whole second: whatever compares with truncated times shows at once.
START = datetime(2026, 11, 24, 12, 0, 0, 250_000, tzinfo=UTC)


class Clock:
    """Gives the same time until it is advanced or set."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> datetime:
        self.now += timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        return self.now
