"""OCSP responses (RFC 6960 section 4.2.1): put together from DER, and read again before they leave.

cryptography's builder makes a response about one certificate only, so this is written by `pki.der`, as certificates
are. Nothing leaves that cryptography, which reads responses about any number, did not read as it was meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.x509 import ocsp

from trivet.pki.der import (
    ENUMERATED,
    OCTET_STRING,
    SEQUENCE,
    bit_string,
    element,
    explicit,
    generalized_time,
)
from trivet.pki.ocsp import responder_key_hash
from trivet.pki.pem import UNREADABLE
from trivet.pki.plan import WronglySignedError
from trivet.pki.reasons import FLAGS, ReasonCode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from trivet.pki.ocsp import CertId

MEDIA_TYPE: Final = "application/ocsp-response"
_BASIC: Final = bytes.fromhex("06092b0601050507300101")  # id-pkix-ocsp-basic
_NONCE: Final = bytes.fromhex("06092b0601050507300102")  # id-pkix-ocsp-nonce
_GOOD, _UNKNOWN = b"\x80\x00", b"\x82\x00"  # [0] and [2] IMPLICIT NULL
_SUCCESSFUL: Final = element(ENUMERATED, b"\0")


class Unsigned(Enum):
    """What is answered without a signature (RFC 6960 section 2.3): an OCSPResponse, DER."""

    MALFORMED_REQUEST = element(SEQUENCE, element(ENUMERATED, b"\x01"))
    INTERNAL_ERROR = element(SEQUENCE, element(ENUMERATED, b"\x02"))
    TRY_LATER = element(SEQUENCE, element(ENUMERATED, b"\x03"))
    UNAUTHORIZED = element(SEQUENCE, element(ENUMERATED, b"\x06"))


class Kind(Enum):
    """What is said of a certificate (RFC 6960 section 2.2)."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Status:
    """How a certificate stands.

    Attributes:
        revoked_at: since when it is revoked.
        reason: why; None for no particular reason, which is then left out (RFC 5280 section 5.3.1).
    """

    kind: Kind
    revoked_at: datetime | None = None
    reason: ReasonCode | None = None


GOOD: Final = Status(Kind.GOOD)
UNKNOWN: Final = Status(Kind.UNKNOWN)


@dataclass(frozen=True)
class ResponderId:
    """What a response states of who signs it.

    Attributes:
        certificate: of the responder, DER; it travels with the response.
        algorithm: the AlgorithmIdentifier by which it signs, DER.
    """

    certificate: bytes
    algorithm: bytes

    @cached_property
    def key_hash(self) -> bytes:
        """The SHA-1 of its key."""
        return responder_key_hash(x509.load_der_x509_certificate(self.certificate))

    @cached_property
    def _parts(self) -> tuple[bytes, bytes]:
        by_key = element(explicit(2), element(OCTET_STRING, self.key_hash))
        return by_key, element(explicit(0), element(SEQUENCE, self.certificate))

    @property
    def by_key(self) -> bytes:
        """The ResponderID, by its key."""
        return self._parts[0]

    @property
    def certificates(self) -> bytes:
        """The field `certs`."""
        return self._parts[1]


@dataclass(frozen=True, slots=True)
class ResponsePlan:
    """Everything that a response will say.

    Attributes:
        statuses: of each certificate that was asked about, in the order of the request.
        nonce: of the request; None for none.
        this_update: when the statuses were read, in whole seconds; also when the response was produced.
        next_update: until when they may be relied on.
    """

    responder: ResponderId
    statuses: Sequence[tuple[CertId, Status]]
    nonce: bytes | None
    this_update: datetime
    next_update: datetime


def response_data(plan: ResponsePlan) -> bytes:
    """The tbsResponseData, DER: what the responder signs."""
    this_update = generalized_time(plan.this_update)
    times = this_update + element(explicit(0), generalized_time(plan.next_update))
    singles = [element(SEQUENCE, asked.der, _status(status), times) for asked, status in plan.statuses]
    nonce = b""
    if plan.nonce is not None:
        value = element(OCTET_STRING, element(OCTET_STRING, plan.nonce))
        nonce = element(explicit(1), element(SEQUENCE, element(SEQUENCE, _NONCE, value)))
    return element(SEQUENCE, plan.responder.by_key, this_update, element(SEQUENCE, *singles), nonce)


def _status(status: Status) -> bytes:
    match status:
        case Status(Kind.GOOD):
            return _GOOD
        case Status(Kind.REVOKED, revoked_at) if revoked_at is not None:
            reason = b""
            if status.reason is not None:
                reason = element(explicit(0), element(ENUMERATED, bytes((status.reason,))))
            return element(explicit(1), generalized_time(revoked_at), reason)
        case _:
            return _UNKNOWN


def response_of(plan: ResponsePlan, signed: bytes, signature: bytes) -> bytes:
    """The OCSPResponse, DER: the data that was signed, and the signature."""
    responder = plan.responder
    basic = element(SEQUENCE, signed, responder.algorithm, bit_string(signature), responder.certificates)
    return element(
        SEQUENCE,
        _SUCCESSFUL,
        element(explicit(0), element(SEQUENCE, _BASIC, element(OCTET_STRING, basic))),
    )


def check_response(plan: ResponsePlan, der: bytes) -> None:
    """Read what was signed, and compare it with the plan.

    Raises:
        WronglySignedError: it differs in any way. This is a defect of Trivet.
    """
    try:
        response = ocsp.load_der_ocsp_response(der)
        differences = _differences(plan, response)
    except UNREADABLE as error:
        message = f"the OCSP response that was made cannot be read: {error}"
        raise WronglySignedError(message) from error
    if differences:
        message = f"the OCSP response that was made differs from its plan in {', '.join(differences)}"
        raise WronglySignedError(message)


def _differences(plan: ResponsePlan, response: ocsp.OCSPResponse) -> list[str]:
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        return ["responseStatus"]
    singles = list(response.responses)
    nonces = [
        (one.value.nonce if isinstance(one.value, x509.OCSPNonce) else None) for one in response.extensions
    ]
    checks = (
        ("responderID", response.responder_key_hash == plan.responder.key_hash),
        ("producedAt", response.produced_at_utc == plan.this_update),
        ("nonce", nonces == ([] if plan.nonce is None else [plan.nonce])),
        ("responses", len(singles) == len(plan.statuses)),
        ("response", all(map(_is_as_planned, [plan] * len(singles), singles, plan.statuses))),
    )
    return [name for name, equal in checks if not equal]


def _is_as_planned(
    plan: ResponsePlan, single: ocsp.OCSPSingleResponse, wanted: tuple[CertId, Status]
) -> bool:
    asked, status = wanted
    revoked_at = status.revoked_at.replace(microsecond=0) if status.revoked_at else None
    return (
        single.serial_number == asked.serial
        and single.issuer_key_hash == asked.issuer_key_hash
        and single.issuer_name_hash == asked.issuer_name_hash
        and single.certificate_status.name == status.kind.name
        and single.revocation_time_utc == revoked_at
        and single.revocation_reason == (FLAGS[status.reason] if status.reason else None)
        and single.this_update_utc == plan.this_update
        and single.next_update_utc == plan.next_update
    )
