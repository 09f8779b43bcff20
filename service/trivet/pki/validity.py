"""How long a certificate lives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from trivet.pki.errors import ExpiredError, Fault, InvalidError

if TYPE_CHECKING:
    from cryptography import x509

SHORTEST = timedelta(seconds=600)  # Kubernetes' floor: certificates.k8s.io/v1 spec.expirationSeconds
BACKDATE = timedelta(minutes=5)  # node clocks drift; a certificate from the future is refused by its own node
_SHORT_LIVED = timedelta(hours=8)
ROOT_LIFETIME = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Validity:
    """notBefore and notAfter (RFC 5280 section 4.1.2.5), aware, in whole seconds; both ends belong to it."""

    not_before: datetime
    not_after: datetime

    @property
    def lifetime(self) -> timedelta:
        """The time from notBefore to notAfter."""
        return self.not_after - self.not_before

    def contains(self, moment: datetime) -> bool:
        """Whether the moment lies within, both ends included."""
        return self.not_before <= moment < self.not_after + timedelta(seconds=1)


def validity_of(certificate: x509.Certificate) -> Validity:
    """The validity that a certificate states."""
    return Validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def plan_validity(
    now: datetime,
    requested: timedelta | None,
    longest: timedelta,
    issuer: Validity,
    backdate: timedelta = BACKDATE,
) -> Validity:
    """Grant the shorter of what is asked and allowed, and never past the issuer's own notAfter.

    As kube-controller-manager's signer does (pkg/controller/certificates/authority/policies.go), the
    backdating is taken out of a long lifetime and added to a short one, which it would eat up otherwise.

    Args:
        now: the true time of issue.
        requested: how long the certificate should live; parts of a second are dropped.
        longest: what the profile allows, and what is granted where nothing is asked.
        issuer: the validity of the authority's own certificate.
        backdate: how far notBefore lies before now; less than eight hours.

    Raises:
        InvalidError: less than Kubernetes' floor of 600 seconds was asked.
        ExpiredError: the issuer is outside its validity, or lives less than the floor.
    """
    if requested is not None and requested < SHORTEST:
        message = f"a certificate lives at least {SHORTEST.total_seconds():.0f} seconds"
        raise InvalidError(message, Fault("/expirationSeconds", message))
    lifetime = timedelta(seconds=min(requested or longest, longest) // timedelta(seconds=1))
    start = now.astimezone(UTC).replace(microsecond=0)
    if not issuer.contains(start) or issuer.not_after - start < SHORTEST:
        message = (
            f"the authority's certificate is valid from {issuer.not_before:%Y-%m-%dT%H:%M:%SZ}"
            f" to {issuer.not_after:%Y-%m-%dT%H:%M:%SZ}; rotate the authority, or set the clock right"
        )
        raise ExpiredError(message)
    not_before = max((start - backdate).replace(microsecond=0), issuer.not_before)
    end = start + lifetime if lifetime < _SHORT_LIVED else not_before + lifetime
    return Validity(not_before, min(end, issuer.not_after))
