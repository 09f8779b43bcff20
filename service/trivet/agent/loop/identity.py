"""One certificate through its life: when to renew it, and what became of the tries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from trivet.agent.loop.answers import AnswerKind
from trivet.agent.loop.backoff import ceiling, polite_wait, retry_wait
from trivet.pki.renewal import WINDOW_END, WINDOW_START
from trivet.pki.validity import BACKDATE, Validity

if TYPE_CHECKING:
    from random import Random

    from trivet.agent.loop.answers import Answer
    from trivet.agent.loop.moment import Moment

LATEST: Final = 0.8
"""The share of the lifetime after which a certificate is renewed, whatever the service suggests."""

_SPREAD, _SPREAD_SHARE = (
    timedelta(minutes=5),
    0.01,
)  # of what is found overdue: a rack that is switched on together
_ASK_SHARE: Final = 1 / 64  # of a lifetime, where the service does not say when to ask again
_SHORTEST_ASK, _LONGEST_ASK = timedelta(seconds=30), timedelta(hours=6)
_AGAIN_SHARE: Final = 0.05  # of a lifetime, between two renewals that the service suggests
_SHORTEST_AGAIN: Final = timedelta(seconds=30)
_EXPIRED_SHARE, _EXPIRED_POLL = 1 / 2000, (timedelta(seconds=5), timedelta(seconds=90))
_REVOKED_SHARE, _REVOKED_POLL = 1 / 100, (timedelta(seconds=30), timedelta(hours=1))
_STAGE_POLL: Final = timedelta(seconds=15)
_REFUSED_FIRST: Final = timedelta(minutes=1)
_FILES_LONGEST: Final = timedelta(minutes=5)


class Standing(StrEnum):
    """How an identity stands."""

    FRESH = "fresh"
    RETRYING = "retrying"
    EXPIRED = "expired"
    WAITING = "waiting"
    REVOKED = "revoked"
    REFUSED = "refused"
    MISSING = "missing"


_STANDINGS: Final = {
    AnswerKind.RENEWED: Standing.FRESH,
    AnswerKind.EXPIRED: Standing.EXPIRED,
    AnswerKind.STAGE_WAITS: Standing.WAITING,
    AnswerKind.REVOKED: Standing.REVOKED,
    AnswerKind.REFUSED: Standing.REFUSED,
    AnswerKind.NOT_AS_ASKED: Standing.REFUSED,
}


@dataclass(frozen=True, slots=True)
class Held:
    """The certificate that is on the disk: its serial number, hexadecimal, and its validity."""

    serial: str
    validity: Validity

    @property
    def lifetime(self) -> timedelta:
        """From notBefore to notAfter."""
        return self.validity.lifetime


_NOTHING: Final = Held("", Validity(datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)))


@dataclass(frozen=True, slots=True)
class Plan:
    """A moment at which to renew, and when it was made out."""

    renew_at: datetime
    made_at: Moment

    def due_in(self, now: Moment) -> float:
        """Seconds until then by whichever clock says sooner: one of them may have been set back."""
        by_wall = (self.renew_at - now.wall).total_seconds()
        by_steady = (self.renew_at - self.made_at.wall).total_seconds() - (now.steady - self.made_at.steady)
        return min(by_wall, by_steady)


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known of one certificate of the node. All times are of the steady clock.

    Attributes:
        held: what is on the disk; None where there is nothing that can be used.
        place: where in its lifetime it is renewed by its own rule.
        seen_at: when it was first seen.
        renewed_at: when this agent got it; None where it was there before.
        suggested: when the service wants it renewed.
        ask_at: when to ask the service that again.
        try_at: not to be tried before.
        failures: in a row.
        standing: how it stands.
        last: what came of the last try.
    """

    held: Held | None
    place: float
    seen_at: Moment
    renewed_at: float | None = None
    suggested: Plan | None = None
    ask_at: float = 0.0
    try_at: float = 0.0
    failures: int = 0
    standing: Standing = Standing.FRESH
    last: Answer | None = None

    @classmethod
    def seen(cls, held: Held | None, now: Moment, jitter: Random, *, spread: bool = True) -> Identity:
        """What is found on the disk, and was not there before."""
        place = jitter.uniform(WINDOW_START, WINDOW_END)
        standing = Standing.MISSING if held is None else Standing.FRESH
        found = cls(held, place, now, ask_at=now.steady, try_at=now.steady, standing=standing)
        return found.spread_out(now, jitter) if spread and found.due_in(now) <= 0 else found

    def spread_out(self, now: Moment, jitter: Random) -> Identity:
        """Wait a little, by chance: others may have found themselves overdue at the same moment."""
        if self.held is None:
            return self
        longest = min(_SPREAD, self.held.lifetime * _SPREAD_SHARE).total_seconds()
        return replace(self, try_at=max(self.try_at, now.steady + jitter.uniform(0, longest)))

    def left(self, now: Moment) -> timedelta:
        """The time until notAfter, by the wall clock."""
        return timedelta(0) if self.held is None else self.held.validity.not_after - now.wall

    def due_in(self, now: Moment) -> float:
        """Seconds until it should be renewed, disregarding `try_at`; 0 or less for now."""
        if self.held is None:
            return float("inf")
        if self.suggested is None:
            return self._due_in(self._own_plan(self.place), now)
        again = max(self.held.lifetime * _AGAIN_SHARE, _SHORTEST_AGAIN).total_seconds()
        as_suggested = max(self._due_in(self.suggested, now), self._since_renewed(again, now))
        return min(as_suggested, self._due_in(self._own_plan(LATEST), now))

    def _own_plan(self, share: float) -> Plan:
        validity = (self.held or _NOTHING).validity
        return Plan(validity.not_before + validity.lifetime * share, self.seen_at)

    def _due_in(self, plan: Plan, now: Moment) -> float:
        if self.renewed_at is None:
            return plan.due_in(now)
        # It was new when it came, whatever the wall clock said. A clock that is a year ahead takes it for expired: it
        # is renewed twice as often then, and no oftener.
        age = plan.renew_at - (self.held or _NOTHING).validity.not_before - BACKDATE
        by_wall = (plan.renew_at - now.wall).total_seconds()
        half = self._since_renewed(age.total_seconds() / 2, now)
        return min(self._since_renewed(age.total_seconds(), now), max(by_wall, half))

    def _since_renewed(self, seconds: float, now: Moment) -> float:
        return 0.0 if self.renewed_at is None else self.renewed_at + seconds - now.steady

    def next_try(self, now: Moment) -> float:
        """The steady moment of the next try."""
        return max(now.steady + self.due_in(now), self.try_at)

    def renewed(self, held: Held, answer: Answer, now: Moment, jitter: Random) -> Identity:
        """A new pair is in place."""
        place = jitter.uniform(WINDOW_START, WINDOW_END)
        first_ask = now.steady + polite_wait(_ask_interval(held), jitter)
        return Identity(held, place, now, now.steady, None, first_ask, now.steady, last=answer)

    def failed(self, answer: Answer, now: Moment, jitter: Random) -> Identity:
        """A try came to nothing."""
        failures = self.failures + 1
        wait = self._wait(answer, failures, now, jitter)
        standing = _STANDINGS.get(answer.kind, self._still(Standing.RETRYING))
        return replace(self, failures=failures, standing=standing, last=answer, try_at=now.steady + wait)

    def _still(self, otherwise: Standing) -> Standing:
        # A service that does not answer says nothing new about what it refused before.
        return self.standing if self.standing in {Standing.EXPIRED, Standing.REVOKED} else otherwise

    def _wait(self, answer: Answer, failures: int, now: Moment, jitter: Random) -> float:
        lifetime = timedelta(days=4) if self.held is None else self.held.lifetime
        longest = ceiling(self.left(now))
        match answer.kind:
            case AnswerKind.EXPIRED:
                return polite_wait(_share(lifetime, _EXPIRED_SHARE, _EXPIRED_POLL), jitter, answer.told)
            case AnswerKind.REVOKED:
                return polite_wait(_share(lifetime, _REVOKED_SHARE, _REVOKED_POLL), jitter, answer.told)
            case AnswerKind.STAGE_WAITS:
                return polite_wait(_STAGE_POLL, jitter, answer.told)
            case AnswerKind.REFUSED | AnswerKind.NOT_AS_ASKED:
                return retry_wait(failures, longest, jitter, answer.told, _REFUSED_FIRST)
            case AnswerKind.FILES:
                return retry_wait(failures, min(longest, _FILES_LONGEST), jitter)
            case _:
                return retry_wait(failures, longest, jitter, answer.told)

    def advised(self, window: Validity, told: float | None, now: Moment, jitter: Random) -> Identity:
        """The service suggested a window; a moment within it is picked once, and kept while the window stays."""
        if self.held is None:
            return self
        asked = self.asked(told, now, jitter)
        former = self.suggested
        # RFC 9773 section 4.2: a random moment within; what lies in the past is for now.
        if former is not None and window.not_before <= former.renew_at <= window.not_after:
            return asked
        renew_at = window.not_before + window.lifetime * jitter.random()
        return replace(asked, suggested=Plan(renew_at, now))

    def asked(self, told: float | None, now: Moment, jitter: Random) -> Identity:
        """The service was asked when to renew, with or without an answer."""
        if self.held is None:
            return self
        if told is None:
            wait = polite_wait(_ask_interval(self.held), jitter)
        else:
            # Not before the service says, within reason: a mistake of its must not make the agent deaf.
            least = min(max(told, _SHORTEST_ASK.total_seconds()), _LONGEST_ASK.total_seconds())
            wait = least * jitter.uniform(1, 1.25)
        return replace(self, ask_at=now.steady + wait)


def _ask_interval(held: Held) -> timedelta:
    return min(max(held.lifetime * _ASK_SHARE, _SHORTEST_ASK), _LONGEST_ASK)


def _share(lifetime: timedelta, share: float, bounds: tuple[timedelta, timedelta]) -> timedelta:
    return min(max(lifetime * share, bounds[0]), bounds[1])
