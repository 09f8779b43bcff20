"""The responders that a process signs by: remembered, looked up again when the next one is due, made where missing."""

from __future__ import annotations

import logging
from datetime import timedelta
from time import sleep
from typing import TYPE_CHECKING, Final

from trivet.authority.memory import Remembered
from trivet.authority.status.responder import Responder, make_responder, open_responder
from trivet.pki.errors import Refusal, UnavailableError
from trivet.store import ocsp_responders

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from trivet.authority.context import Authority
    from trivet.authority.status.replies import Answerable
    from trivet.store.ocsp_responders import StoredResponder

_log = logging.getLogger(__name__)
_LOOKED_UP_EVERY: Final = timedelta(seconds=10)
_TRIED_EVERY: Final = timedelta(seconds=10)
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
        # By generation, when none could be made.
        self._failed: Remembered[UUID, datetime] = Remembered(_REMEMBERED)
        self._may_wait = True

    def begin_batch(self) -> None:
        """From here on another process may be waited for, once."""
        self._may_wait = True

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
        failed = self._failed.get(place.generation.id)
        if failed is not None and failed <= now < failed + _TRIED_EVERY:
            message = "no OCSP responder could be made a moment ago; try again in some seconds"
            raise UnavailableError(message)
        try:
            made = make_responder(self._authority, place.cluster, place.generation)
            return self._opened(made or self._awaited(place, before), now)
        except Exception as error:
            self._failed.put(place.generation.id, now)
            if isinstance(error, Refusal):
                raise
            # Of this authority: those that ask about others are answered.
            _log.exception("no OCSP responder could be made for the cluster %s", place.cluster)
            message = "no OCSP responder can be made; the operator finds out why in the log"
            raise UnavailableError(message) from error

    def _awaited(self, place: Answerable, before: StoredResponder | None) -> StoredResponder:
        """The one that another process makes; waited for once in a batch, as all others wait, too."""
        glances, self._may_wait = _GLANCES if self._may_wait else 0, False
        for _ in range(glances):
            self._pause(_GLANCE_SECONDS)
            made = self._stored(place.generation.id)
            if made is not None and (before is None or made.certificate_id != before.certificate_id):
                return made
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
