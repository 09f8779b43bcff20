"""Why a certificate was revoked, as CRLs and OCSP responses say it (RFC 5280 section 5.3.1)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from cryptography import x509

from trivet.pki.revocation import EntryKind


class ReasonCode(IntEnum):
    """Why a certificate was revoked (RFC 5280 section 5.3.1), without `unspecified`, which is to be left out."""

    KEY_COMPROMISE = 1
    CA_COMPROMISE = 2
    AFFILIATION_CHANGED = 3
    SUPERSEDED = 4
    CESSATION_OF_OPERATION = 5
    CERTIFICATE_HOLD = 6
    REMOVE_FROM_CRL = 8
    PRIVILEGE_WITHDRAWN = 9
    AA_COMPROMISE = 10


FLAGS: Final = {
    ReasonCode.KEY_COMPROMISE: x509.ReasonFlags.key_compromise,
    ReasonCode.CA_COMPROMISE: x509.ReasonFlags.ca_compromise,
    ReasonCode.AFFILIATION_CHANGED: x509.ReasonFlags.affiliation_changed,
    ReasonCode.SUPERSEDED: x509.ReasonFlags.superseded,
    ReasonCode.CESSATION_OF_OPERATION: x509.ReasonFlags.cessation_of_operation,
    ReasonCode.CERTIFICATE_HOLD: x509.ReasonFlags.certificate_hold,
    ReasonCode.REMOVE_FROM_CRL: x509.ReasonFlags.remove_from_crl,
    ReasonCode.PRIVILEGE_WITHDRAWN: x509.ReasonFlags.privilege_withdrawn,
    ReasonCode.AA_COMPROMISE: x509.ReasonFlags.aa_compromise,
}
"""The same in cryptography's words."""


def reason_of(kind: EntryKind) -> ReasonCode | None:
    """The reason that an entry gives: one that names a key says that the key is not to be trusted; others give none."""
    return ReasonCode.KEY_COMPROMISE if kind is EntryKind.PUBLIC_KEY else None
