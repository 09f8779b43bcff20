"""The entries of a CRL: made once, read again once, and kept as octets for as long as they are listed."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509

from trivet.pki.der import (
    ENUMERATED,
    OCTET_STRING,
    SEQUENCE,
    element,
    generalized_time,
    integer,
    time,
)
from trivet.pki.pem import UNREADABLE
from trivet.pki.plan import WronglySignedError
from trivet.pki.reasons import FLAGS, ReasonCode, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trivet.pki.revocation import EntryKind

_TRUE: Final = b"\x01\x01\xff"
_REASON_CODE: Final = bytes.fromhex("0603551d15")  # RFC 5280 section 5.3.1
_INVALIDITY_DATE: Final = bytes.fromhex("0603551d18")  # section 5.3.2
_GROUP: Final = struct.Struct(">QQQ")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class RevokedEntry:
    """One revoked certificate, as a CRL states it.

    Attributes:
        serial: its serial number.
        revoked_at: when it was marked.
        reason: None for `unspecified`.
        invalid_since: from when on it was not to be trusted, where that is known.
    """

    serial: int
    revoked_at: datetime
    reason: ReasonCode | None = None
    invalid_since: datetime | None = None


def revoked_entry(
    serial: int, revoked_at: datetime, kind: EntryKind, not_before: datetime | None
) -> RevokedEntry:
    """What a CRL says of a certificate that an entry of a RenewRevocation named.

    What was issued before an entry's notBefore is invalid from then on, at the latest; one in the future tells of no
    time at which it became so.
    """
    invalid_since = not_before if not_before is not None and not_before < revoked_at else None
    return RevokedEntry(serial, revoked_at, reason_of(kind), invalid_since)


def encode_entry(entry: RevokedEntry) -> bytes:
    """An entry, DER (RFC 5280 section 5.1.2.6)."""
    extensions = b""
    if entry.reason is not None:
        code = element(ENUMERATED, bytes((entry.reason,)))
        extensions = element(SEQUENCE, _REASON_CODE, element(OCTET_STRING, code))
    if entry.invalid_since is not None:
        date = element(OCTET_STRING, generalized_time(entry.invalid_since))
        extensions += element(SEQUENCE, _INVALIDITY_DATE, date)
    stated = element(SEQUENCE, extensions) if extensions else b""
    return element(SEQUENCE, integer(entry.serial), time(entry.revoked_at), stated)


def check_entries(entries: Sequence[RevokedEntry], encoded: Sequence[bytes]) -> None:
    """Read again what was encoded, by cryptography, and compare it with what was meant.

    Raises:
        WronglySignedError: an entry says something else.
    """
    try:
        read = x509.load_der_x509_crl(_unsigned(encoded))
        listed = [_as_read(one, len(octets)) for one, octets in zip(read, encoded, strict=True)]
    except UNREADABLE as error:
        raise WronglySignedError(f"the entries of a CRL cannot be read: {error}") from error
    if listed != [_as_stated(entry) for entry in entries]:
        raise WronglySignedError("the entries of a CRL differ from what was meant")


def _unsigned(encoded: Sequence[bytes]) -> bytes:
    """A CRL of these entries that nobody signed, which is all that a reader of its form needs."""
    algorithm = bytes.fromhex("300a06082a8648ce3d040303")
    listed = (element(SEQUENCE, *encoded),) if encoded else ()
    moment = time(_EPOCH)
    tbs = element(SEQUENCE, integer(1), algorithm, element(SEQUENCE), moment, moment, *listed)
    return element(SEQUENCE, tbs, algorithm, b"\x03\x01\x00")


def _as_stated(entry: RevokedEntry) -> tuple[int, datetime, list[tuple[x509.ExtensionType, bool]]]:
    extensions: list[tuple[x509.ExtensionType, bool]] = []
    if entry.reason is not None:
        extensions.append((x509.CRLReason(FLAGS[entry.reason]), False))
    if entry.invalid_since is not None:
        moment = entry.invalid_since.astimezone(UTC).replace(tzinfo=None, microsecond=0)
        extensions.append((x509.InvalidityDate(moment), False))
    return entry.serial, entry.revoked_at.astimezone(UTC).replace(microsecond=0), extensions


def _as_read(
    one: x509.RevokedCertificate, size: int
) -> tuple[int, datetime, list[tuple[x509.ExtensionType, bool]]]:
    serial, moment = one.serial_number, one.revocation_date_utc
    # To ask for extensions takes as long as all the rest; where these two leave no room, there are none.
    if size == len(element(SEQUENCE, integer(serial), time(moment))):
        return serial, moment, []
    return serial, moment, [(found.value, found.critical) for found in one.extensions]


def extension(oid: bytes, value: x509.ExtensionType, *, critical: bool) -> bytes:
    """An Extension, DER; `oid` as an OBJECT IDENTIFIER."""
    return element(SEQUENCE, oid, _TRUE if critical else b"", element(OCTET_STRING, value.public_bytes()))


class Entries:
    """The entries of one CRL, in groups by the minute in which their certificates expire, so that these can go at once.

    The octets of a CRL and its `layout` are all that is needed to have them again.

    Attributes:
        size: octets of all.
        count: how many there are.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._groups: dict[int, _Group] = {}
        self.size = self.count = 0

    @classmethod
    def restore(cls, octets: memoryview, layout: bytes) -> Entries:
        """What `layout` described; nothing is copied.

        Raises:
            ValueError: the octets are fewer.
        """
        entries, place = cls(), 0
        for minute, size, count in _GROUP.iter_unpack(layout):
            entries._put(minute, octets[place : place + size], count)
            place += size
        if place != entries.size:
            raise ValueError("the layout does not belong to these octets")
        return entries

    def layout(self) -> bytes:
        """Which octets belong to which minute, in the order in which they stand in a CRL."""
        return b"".join(
            _GROUP.pack(minute, group.size, group.count) for minute, group in sorted(self._groups.items())
        )

    def add(self, made: Iterable[tuple[datetime, bytes]]) -> None:
        """List more: the notAfter of each, and its DER."""
        for not_after, der in made:
            self._put((not_after - _EPOCH) // _MINUTE, der, 1)

    def drop_expired(self, cutoff: datetime) -> None:
        """List no longer what expired before the cutoff, the thisUpdate of the CRL before.

        So each stands on one CRL more after its certificate has expired (RFC 5280 section 3.3); those that expired in
        the cutoff's own minute stay for another one.
        """
        minute = (cutoff - _EPOCH) // _MINUTE
        for expired in [known for known in self._groups if known < minute]:
            group = self._groups.pop(expired)
            self.size -= group.size
            self.count -= group.count

    def chunks(self) -> Iterable[bytes | memoryview]:
        """All octets, in order."""
        return (chunk for _, group in sorted(self._groups.items()) for chunk in group.chunks)

    def _put(self, minute: int, octets: bytes | memoryview, count: int) -> None:
        group = self._groups.setdefault(minute, _Group([]))
        group.chunks.append(octets)
        group.size += len(octets)
        group.count += count
        self.size += len(octets)
        self.count += count


@dataclass(slots=True, order=False)
class _Group:
    chunks: list[bytes | memoryview]
    size: int = 0
    count: int = 0
