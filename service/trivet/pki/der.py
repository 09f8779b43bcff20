"""A writer of DER (ITU-T X.690) for Trivet's own output. What others wrote is never read here, but by cryptography."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

INTEGER, BIT_STRING, OCTET_STRING, ENUMERATED = 0x02, 0x03, 0x04, 0x0A
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31
UTF8_STRING = 0x0C
DNS_NAME, IP_ADDRESS = 0x82, 0x87  # GeneralName (RFC 5280 section 4.2.1.6): [2] IA5String, [7] OCTET STRING
# id-at (RFC 5280 appendix A.1), as OBJECT IDENTIFIERs.
COMMON_NAME, ORGANIZATION = bytes.fromhex("0603550403"), bytes.fromhex("060355040a")

_ONE_OCTET = 0x80  # shorter contents have a length of one octet
_GENERALIZED_FROM = 2050
_MOMENTS = 64  # whatever is made within a second states the same few times, and each would take 4 µs


def explicit(number: int) -> int:
    """The tag of an [n] EXPLICIT value."""
    return 0xA0 | number


def element(tag: int, *contents: bytes) -> bytes:
    """One value: its tag, its length in as few octets as can be, and its contents one after the other."""
    content = b"".join(contents)
    size = len(content)
    if size < _ONE_OCTET:
        return bytes((tag, size)) + content
    return header(tag, size) + content


def header(tag: int, size: int) -> bytes:
    """The tag and length of a value whose contents are too large to be copied more than once."""
    if size < _ONE_OCTET:
        return bytes((tag, size))
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, _ONE_OCTET | len(octets))) + octets


def distinguished_name(*attributes: tuple[bytes, str]) -> bytes:
    """A Name of one attribute in each RDN: its OBJECT IDENTIFIER and a UTF8String (RFC 5280 section 4.1.2.4)."""
    return element(
        SEQUENCE,
        *(
            element(SET, element(SEQUENCE, oid, element(UTF8_STRING, text.encode())))
            for oid, text in attributes
        ),
    )


def integer(value: int) -> bytes:
    """An INTEGER of zero or more."""
    return element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1))


def bit_string(octets: bytes) -> bytes:
    """A BIT STRING of whole octets."""
    return element(BIT_STRING, b"\0", octets)


@lru_cache(maxsize=_MOMENTS)
def time(moment: datetime) -> bytes:
    """A Time in whole seconds: UTCTime through 2049, GeneralizedTime from 2050 (RFC 5280 section 4.1.2.5)."""
    utc = moment.astimezone(UTC)
    if utc.year < _GENERALIZED_FROM:
        return element(UTC_TIME, f"{utc.year % 100:02}{_within_year(utc)}".encode())
    return generalized_time(utc)


@lru_cache(maxsize=_MOMENTS)
def generalized_time(moment: datetime) -> bytes:
    """A GeneralizedTime in whole seconds, whatever the year, as OCSP has all its times (RFC 6960 section 4.2.1)."""
    utc = moment.astimezone(UTC)
    return element(GENERALIZED_TIME, f"{utc.year:04}{_within_year(utc)}".encode())


def _within_year(utc: datetime) -> str:
    # Not strftime, which takes twice as long, and writes a year before 1000 with fewer digits.
    return f"{utc.month:02}{utc.day:02}{utc.hour:02}{utc.minute:02}{utc.second:02}Z"
