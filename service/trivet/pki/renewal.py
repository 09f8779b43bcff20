"""When a certificate should be renewed (the shape of RFC 9773), and how a certificate is named in asking for that."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from trivet.pki.serials import SERIAL_BITS, serial_hex
from trivet.pki.validity import Validity

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

# Around two thirds of the lifetime. Windows begin evenly within this share of it, so that a fleet that was made at
# once is renewed little by little; each is a fiftieth of the lifetime wide.
WINDOW_START, WINDOW_END = 0.62, 0.72
_WIDTH: Final = 0.02
_EARLY_WIDTH: Final = 0.1  # of the time over which a cluster renews early
_NARROWEST: Final = timedelta(minutes=1)
_SPREAD_BITS: Final = 32

SHORTEST_POLL, LONGEST_POLL = timedelta(minutes=1), timedelta(hours=1)
_POLLS: Final = 96  # in a lifetime: every hour in four days
_MAX_CERTIFICATE_ID: Final = 200  # characters; 20 octets of key identifier and 20 of serial take 55


@dataclass(frozen=True, slots=True)
class EarlyRenewal:
    """A whole cluster was asked to renew: what was issued before `asked_at`, spread over the time until `ends_at`."""

    asked_at: datetime
    ends_at: datetime


def spread(serial: int) -> float:
    """Where in a spread a certificate stands, from 0 to 1: a share that its random serial number gives it for good."""
    return (serial & ((1 << _SPREAD_BITS) - 1)) / (1 << _SPREAD_BITS)


def suggested_window(
    validity: Validity, replaced_at: datetime | None = None, position: float = 0.5
) -> Validity:
    """The window in which to renew: pick a random moment within it.

    Args:
        validity: of the certificate.
        replaced_at: when it was revoked or superseded; the window then lies in the past, so that it is
            replaced at once (RFC 9773 section 4.2).
        position: where in the fleet it stands, as `spread` says.
    """
    if replaced_at is not None:
        end = replaced_at.replace(microsecond=0)
        return Validity(end - _NARROWEST, end)
    share = WINDOW_START + (WINDOW_END - WINDOW_START - _WIDTH) * position
    start = (validity.not_before + validity.lifetime * share).replace(microsecond=0)
    width = max(validity.lifetime * _WIDTH, timedelta(seconds=1))
    return Validity(start, min((start + width).replace(microsecond=0), validity.not_after))


def early_window(
    regular: Validity, issued_at: datetime, position: float, asked: Iterable[EarlyRenewal]
) -> Validity:
    """The regular window, or an earlier one where the cluster was asked to renew what was issued until then."""
    windows = [regular]
    for wish in asked:
        if issued_at < wish.asked_at:
            whole = wish.ends_at - wish.asked_at
            width = max(whole * _EARLY_WIDTH, _NARROWEST)
            start = wish.asked_at + max(whole - width, timedelta(0)) * position
            windows.append(Validity(start.replace(microsecond=0), (start + width).replace(microsecond=0)))
    return min(windows, key=lambda window: window.not_before)


def poll_after(validity: Validity) -> timedelta:
    """After how long to ask again (RFC 9773 section 4.3.2): often enough to hear of a revocation within the hour."""
    return min(max(validity.lifetime / _POLLS, SHORTEST_POLL), LONGEST_POLL)


@dataclass(frozen=True, slots=True)
class CertificateId:
    """A certificate as RFC 9773 section 4.1 names it: its issuer's key identifier and its serial (hexadecimal)."""

    key_identifier: bytes
    serial: str


def parse_certificate_id(text: str) -> CertificateId:
    """Read `base64url(authorityKeyIdentifier) "." base64url(serialNumber)`, both without padding.

    Raises:
        ValueError: it is not one; the message says what is accepted.
    """
    message = "a certificate is named by its authority's key identifier and its serial (RFC 9773 section 4.1)"
    parts = text.split(".") if len(text) <= _MAX_CERTIFICATE_ID else []
    if len(parts) != 2:  # noqa: PLR2004
        raise ValueError(message)
    key_identifier, serial = (_unpadded(part, message) for part in parts)
    number = int.from_bytes(serial, signed=True)
    if not key_identifier or not 0 < number < 1 << (SERIAL_BITS + 1):
        raise ValueError(message)
    return CertificateId(key_identifier, serial_hex(number))


def _unpadded(text: str, message: str) -> bytes:
    padding = "=" * (-len(text) % 4) if "=" not in text else "!"
    try:
        return base64.b64decode(text + padding, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(message) from error


def certificate_id(key_identifier: bytes, serial: int) -> str:
    """A certificate's name for asking when to renew it."""
    octets = serial.to_bytes(serial.bit_length() // 8 + 1)  # DER: the first bit is the sign
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (key_identifier, octets))
