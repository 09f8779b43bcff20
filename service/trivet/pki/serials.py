"""Serial numbers: positive, random, at most 20 octets (RFC 5280 section 4.1.2.2)."""

from __future__ import annotations

import re
from typing import NewType

SerialNumber = NewType("SerialNumber", int)

SERIAL_BITS = 159  # 20 octets whose first bit stays clear, so that DER needs no 21st

_HEX = re.compile(r"[0-9a-f]+")


def serial_from_random(bits: int) -> SerialNumber:
    """Make a serial of 159 random bits; zero is not a serial.

    Raises:
        ValueError: more bits, or none.
    """
    if not 0 < bits < 1 << SERIAL_BITS:
        message = f"a serial is made of 1 to {SERIAL_BITS} random bits"
        raise ValueError(message)
    return SerialNumber(bits)


def parse_serial(text: str) -> SerialNumber:
    """Read hex in any case, with colons and leading zeros, as people copy it from openssl.

    Raises:
        ValueError: it is not hex, is zero, or is longer than 20 octets.
    """
    digits = text.strip().replace(":", "").lower()
    if not _HEX.fullmatch(digits):
        message = f"{text[:80]!r} is not a serial number in hexadecimal digits (colons are allowed)"
        raise ValueError(message)
    serial = int(digits, 16)
    if not 0 < serial < 1 << 160:
        message = f"{text[:80]!r} is not a serial number of 1 to 20 octets, greater than zero"
        raise ValueError(message)
    return SerialNumber(serial)


def serial_hex(serial: int) -> str:
    """Lower-case hex without leading zeros: the one form that is stored, compared and shown."""
    return format(serial, "x")
