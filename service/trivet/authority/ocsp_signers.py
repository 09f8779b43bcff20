"""The responders that a process signs by: remembered, looked up again when the next one is due, made where missing."""

from __future__ import annotations

from datetime import timedelta
from time import sleep
from typing import TYPE_CHECKING, Final

from trivet.authority.memory import Remembered
from trivet.authority.responder import Responder, make_responder, open_responder
from trivet.pki.errors import UnavailableError
from trivet.store import ocsp_responders

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from trivet.authority.context import Authority
    from trivet.authority.ocsp_replies import Answerable
    from trivet.store.ocsp_responders import StoredResponder

_LOOKED_UP_EVERY: Final = timedelta(seconds=10)
_REMEMBERED: Final = 4096
_GLANCES: Final = 50
_GLANCE_SECONDS: Final = 0.02


class Responders:
    """Gives the responder of each generation. Not to be shared between threads."""

    def __init__(self, authority: Authority, pause: Callable[[float], None] = sleep) -> None:
        """Take the context, and what waits while another process makes one; nothing is known yet."""
        self._authority = authority
        self._pause = pause
        # By generation, with the time until which the database need not be asked.
        self._known: Remembered[UUID, tuple[Responder, datetime]] = Remembered(_REMEMBERED)

    def current(self, place: Answerable, now: datetime) -> Responder:
        """The responder of a generation.

        Raises:
            UnavailableError: there is none, and none can be made now.
            RevokedError: an entry bans it.
        """
        known = self._known.get(place.generation.id)
        if known is not None and now < known[1] and known[0].validity.contains(now):
            return known[0]
        stored = self._stored(place.generation.id)
        if stored is not None:
            found = self._opened(stored, now)
            if found.validity.contains(now):
                return found
        return self._made(place, now, stored)

    def other_than(self, revoked: Responder, place: Answerable, now: datetime) -> Responder:
        """The responder in the place of one that was revoked.

        Raises:
            UnavailableError: as `current`.
            RevokedError: an entry bans the next one, too.
        """
        self._known.forget(place.generation.id)
        stored = self._stored(place.generation.id)
        if stored is not None and stored.certificate_id != revoked.stored.certificate_id:
            return self._opened(stored, now)
        return self._made(place, now, stored)

    def _made(self, place: Answerable, now: datetime, before: StoredResponder | None) -> Responder:
        made = make_responder(self._authority, place.cluster, place.generation)
        for _ in range(_GLANCES):
            if made is not None and (before is None or made.certificate_id != before.certificate_id):
                return self._opened(made, now)
            self._pause(_GLANCE_SECONDS)
            made = self._stored(place.generation.id)
        message = "another process makes the OCSP responder; try again in a moment"
        raise UnavailableError(message)

    def _stored(self, generation: UUID) -> StoredResponder | None:
        with self._authority.database.read() as connection:
            return ocsp_responders.find(connection, generation)

    def _opened(self, stored: StoredResponder, now: datetime) -> Responder:
        known = self._known.get(stored.generation_id)
        if known is not None and known[0].stored.certificate_id == stored.certificate_id:
            responder = known[0]
        else:
            responder = open_responder(self._authority, stored)
        # Until the next is due this one is right, unless it is revoked, which is seen with what it signs.
        until = max(stored.renew_at, now + _LOOKED_UP_EVERY)
        self._known.put(stored.generation_id, (responder, min(until, responder.validity.not_after)))
        return responder
