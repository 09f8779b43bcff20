"""Answer OCSP requests: what is said of a certificate is read from the database after the request came.

Signed answers are kept, but never given out before the database has said that nothing was revoked since: all that
marks a certificate as revoked takes a new version of its revocation set in the same transaction, in whichever process.
So a revocation that was acknowledged is in the next answer of every process.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from trivet.authority.memory import Remembered
from trivet.authority.status.kept import MOST_KEPT, KeptAnswers
from trivet.authority.status.places import find_place
from trivet.authority.status.replies import (
    INTERNAL_ERROR,
    MALFORMED,
    TRY_LATER,
    UNAUTHORIZED,
    Answerable,
    Kept,
    Place,
    Question,
    Reply,
    may_be_kept,
    reply_of,
)
from trivet.authority.status.signers import Responders
from trivet.pki.errors import MalformedError, Refusal
from trivet.pki.ocsp import StatusRequest, parse_status_request
from trivet.pki.ocsp_response import (
    GOOD,
    UNKNOWN,
    Kind,
    ResponsePlan,
    Status,
    check_response,
    response_data,
    response_of,
)
from trivet.pki.reasons import reason_of
from trivet.pki.serials import serial_hex
from trivet.store import status as stored_status
from trivet.store.clusters import ALL_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from trivet.authority.context import Authority
    from trivet.authority.status.responder import Responder
    from trivet.pki.ocsp import CertId
    from trivet.store.status import CertificateKey, Standing

_log = logging.getLogger(__name__)

LIFETIME: Final = timedelta(hours=1)
"""From thisUpdate to nextUpdate: how long whoever keeps an answer may rely on it."""

_SIGNED_ANEW: Final = 1 / 2  # of the lifetime


@dataclass(slots=True)
class _Case:
    """A question while it is answered."""

    question: Question
    kept: Kept | None = None
    request: StatusRequest | None = None
    place: Answerable | None = None
    responder: Responder | None = None
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class _Ground:
    """What is read of the database for a batch: the versions before the certificates, so never newer than they."""

    versions: Mapping[UUID, int]
    standing: Mapping[CertificateKey, Standing] = field(default_factory=dict)

    def versions_of(self, place: Answerable) -> tuple[int, int]:
        return self.versions[place.scope], self.versions[ALL_CLUSTERS]


class OcspDesk:
    """Answers for all clusters, one batch at a time. Not to be shared between threads."""

    def __init__(self, authority: Authority, most_kept: int = MOST_KEPT) -> None:
        """Nothing is kept yet."""
        self._authority = authority
        self._places: Remembered[Place, Answerable] = Remembered()
        self._responders = Responders(authority)
        self._kept = KeptAnswers(authority, self._responders, most_kept)

    def answer(self, questions: Sequence[Question]) -> list[Reply]:
        """Answer a batch; each gets an answer, whatever is wrong with it or with the database."""
        now = self._authority.clock().replace(microsecond=0)
        cases = [_Case(question) for question in questions]
        self._responders.begin_batch()
        try:
            for case, reply in zip(cases, self._kept.recall(questions, now), strict=True):
                case.reply = reply
            self._answer(_open(cases), now)
        except Refusal as refusal:
            _log.warning("OCSP requests are not answered: %s", refusal.detail)
        except Exception:  # noqa: BLE001  whoever asks is told, and the next batch is answered
            _log.exception("a defect: OCSP requests are not answered")
            return [case.reply or INTERNAL_ERROR for case in cases]
        return [case.reply or TRY_LATER for case in cases]

    def _answer(self, cases: Sequence[_Case], now: datetime) -> None:
        for case in cases:
            self._begin(case)
        self._find_places(_open(cases))
        for case in _open(cases):
            if case.place is not None:
                case.responder = self._responder(case.place, now)
        waiting = [case for case in _open(cases) if case.responder is not None]
        if not waiting:
            return
        ground = self._read(waiting, now)
        for case in _open(waiting):
            self._sign(case, ground, now)

    def _begin(self, case: _Case) -> None:
        case.kept, case.place = self._kept.get(case.question), self._places.get(case.question.place)
        try:
            case.request = case.kept.request if case.kept else parse_status_request(case.question.body)
        except MalformedError:
            case.reply = MALFORMED

    def _find_places(self, cases: Sequence[_Case]) -> None:
        missing = {case.question.place for case in cases if case.place is None}
        for place in missing:
            found = find_place(self._authority, place)
            if found is not None:
                self._places.put(place, found)
        for case in cases:
            case.place = self._places.get(case.question.place)
            if case.place is None or not _is_about(case, case.place):
                case.reply = UNAUTHORIZED

    def _responder(self, place: Answerable, now: datetime) -> Responder | None:
        try:
            return self._responders.current(place, now)
        except Refusal as refusal:  # of this authority; others are answered all the same
            _log.warning("no OCSP responder for %s: %s", place.cluster, refusal.detail)
            return None

    def _read(self, cases: Sequence[_Case], now: datetime) -> _Ground:
        """Read what stands, and see that nobody signs whose own certificate was revoked."""
        scopes = {case.place.scope for case in cases if case.place} | {ALL_CLUSTERS}
        with self._authority.database.glance() as connection:
            ground = _Ground(stored_status.versions(connection, scopes))
            wanted = {key for case in cases for key in _keys(case)}
            ground = replace(ground, standing=stored_status.standing(connection, wanted))
        for case in cases:
            self._replace_revoked(case, ground, now)
        return ground

    def _replace_revoked(self, case: _Case, ground: _Ground, now: datetime) -> None:
        place, responder = case.place, case.responder
        if place is None or responder is None:
            return
        own = ground.standing.get(responder.key)
        if own is not None and own.revoked_at is not None:
            try:
                case.responder = self._responders.other_than(responder, place, now)
            except Refusal as refusal:
                _log.warning("the OCSP responder for %s is revoked: %s", place.cluster, refusal.detail)
                case.reply = TRY_LATER

    def _sign(self, case: _Case, ground: _Ground, now: datetime) -> None:
        place, request, responder = case.place, case.request, case.responder
        if place is None or request is None or responder is None:
            return
        statuses = [_status(place, asked, ground.standing) for asked in request.certificates]
        versions = ground.versions_of(place)
        if case.kept is not None and _is_as_true(case.kept, statuses, responder, now):
            # Something else was revoked.
            case.kept.versions = versions
            case.reply = case.kept.reply
            return
        updates = (now, min(now + LIFETIME, responder.validity.not_after))
        body = _signed(request, statuses, responder, updates)
        case.reply = reply_of(body, request, statuses, updates)
        if may_be_kept(request, statuses):
            until = now + (updates[1] - now) * _SIGNED_ANEW
            kept = Kept(
                place, request, case.reply, statuses, versions, responder.stored.certificate_id, until
            )
            self._kept.put(case.question, kept)


def _open(cases: Iterable[_Case]) -> list[_Case]:
    return [case for case in cases if case.reply is None]


def _is_about(case: _Case, place: Answerable) -> bool:
    """Whether it asks about any certificate of this issuer: about no others its responder may speak."""
    return case.request is not None and any(
        asked.issuer in place.issuers for asked in case.request.certificates
    )


def _keys(case: _Case) -> Iterable[CertificateKey]:
    if case.request is not None and case.place is not None and case.responder is not None:
        yield case.responder.key
        for asked in case.request.certificates:
            if asked.issuer in case.place.issuers:
                yield serial_hex(asked.serial), case.place.generation.id


def _status(place: Answerable, asked: CertId, standing: Mapping[CertificateKey, Standing]) -> Status:
    if asked.issuer not in place.issuers:
        return UNKNOWN
    found = standing.get((serial_hex(asked.serial), place.generation.id))
    if found is None or not found.is_kept:
        return (
            UNKNOWN  # never issued; or pruned long after it expired, and whether it was revoked is not known
        )
    if found.revoked_at is None:
        return GOOD
    return Status(Kind.REVOKED, found.revoked_at, reason_of(found.named_by) if found.named_by else None)


def _is_as_true(kept: Kept, statuses: Sequence[Status], responder: Responder, now: datetime) -> bool:
    """Whether what was signed at other versions would be signed again."""
    is_his = kept.responder == responder.stored.certificate_id
    return is_his and kept.holds_at(now) and list(kept.statuses) == list(statuses)


def _signed(
    request: StatusRequest,
    statuses: Sequence[Status],
    responder: Responder,
    updates: tuple[datetime, datetime],
) -> bytes:
    pairs = list(zip(request.certificates, statuses, strict=True))
    plan = ResponsePlan(responder.identity, pairs, request.nonce, *updates)
    message = response_data(plan)
    der = response_of(plan, message, responder.signer.sign(message))
    check_response(plan, der)
    return der
