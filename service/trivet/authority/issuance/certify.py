"""Plan, sign and check the certificates of a batch."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trivet.authority.issuance import application as applications
from trivet.authority.issuance.case import IssuedCertificate, each
from trivet.authority.issuance.results import stored_certificate
from trivet.authority.seals import sealed
from trivet.pki.errors import UnavailableError
from trivet.pki.locations import issuer_path, shard_of, status_locations
from trivet.pki.plan import WronglySignedError, plan_certificate
from trivet.pki.validity import plan_validity
from trivet.signing.encryption import WrongKeyError
from trivet.signing.signer import sign_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from trivet.authority.context import Authority, Publication
    from trivet.authority.issuance.case import Case
    from trivet.pki.locations import StatusLocations
    from trivet.pki.plan import Issuer, Plan
    from trivet.pki.serials import SerialNumber
    from trivet.signing.signer import Signer

_log = logging.getLogger(__name__)


def certify(authority: Authority, cases: Sequence[Case], now: datetime) -> None:
    """Make the certificates of all that are not decided yet; but not again what an Idempotency-Key made before."""
    work: list[tuple[Case, Signer, Plan]] = []
    fresh = [case for case in cases if case.earlier is None]
    each(fresh, lambda case: work.append((case, *_planned(authority, case, now))))
    made = sign_certificates([(signer, plan) for _, signer, plan in work])
    for (case, _, plan), der in zip(work, made, strict=True):
        each([case], lambda case, plan=plan, der=der: _finish(authority, case, plan, der, now))  # type: ignore[misc]


def _planned(authority: Authority, case: Case, now: datetime) -> tuple[Signer, Plan]:
    profile, request = applications.require_request(case.application)
    drafted, opened = case.require_draft(), case.require_opened()
    lifetime, backdate = case.application.wish.lifetime, authority.policy.backdate
    validity = plan_validity(now, lifetime, profile.longest, opened.issuer.validity, backdate)
    serial = authority.new_serial()
    plan = plan_certificate(
        profile,
        drafted.names,
        request.public_key,
        validity,
        serial,
        opened.issuer,
        encoded_key=request.spki,
        locations=_locations(authority.policy.publication, case, opened.issuer, serial),
    )
    return opened.signer, plan


def _locations(
    publication: Publication, case: Case, issuer: Issuer, serial: SerialNumber
) -> StatusLocations | None:
    """Where the certificate's status will be published; the shard is chosen here, once and for all."""
    if publication.base_url is None or case.cluster is None or case.authority is None:
        return None
    path = issuer_path(case.cluster.name, case.authority[1], issuer.key_identifier)
    shard = shard_of(serial, publication.shards)
    return status_locations(publication.base_url, path, shard, has_ocsp=publication.has_ocsp)


def _finish(authority: Authority, case: Case, plan: Plan, der: bytes | Exception, now: datetime) -> None:
    with signers_at_work():
        if isinstance(der, Exception):
            raise der
        stored = sealed(authority, stored_certificate(case, plan, der, now))
        case.outcome = IssuedCertificate(stored, case.require_generation().certificate)


@contextmanager
def signers_at_work() -> Iterator[None]:
    """Turn what only an operator can mend into a refusal, and say it in the log.

    Raises:
        UnavailableError: a key does not open, or what was signed is not what was planned.
    """
    try:
        yield
    except (WronglySignedError, WrongKeyError) as error:
        _log.critical("nothing was issued: %s", error)
        message = "the authority's signer does not work as it should; an operator must look at the log"
        raise UnavailableError(message) from error
