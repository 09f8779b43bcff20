from __future__ import annotations

import pytest

from trivet.pki.serials import SERIAL_BITS, parse_serial, serial_from_random, serial_hex


@pytest.mark.parametrize(
    "text",
    [
        "77fdf4b1033b387aaace6ce1c18710c2",
        "77FDF4B1033B387AAACE6CE1C18710C2",
        "77:fd:f4:b1:03:3b:38:7a:aa:ce:6c:e1:c1:87:10:c2",
        "00:77:FD:F4:B1:03:3B:38:7A:AA:CE:6C:E1:C1:87:10:C2",
        "  000077fdf4b1033b387aaace6ce1c18710c2\n",
        "0" * 900 + "77fdf4b1033b387aaace6ce1c18710c2",
    ],
)
def test_every_spelling_of_a_serial_becomes_one(text: str) -> None:
    assert serial_hex(parse_serial(text)) == "77fdf4b1033b387aaace6ce1c18710c2"


@pytest.mark.parametrize("text", ["", ":", "0", "00:00", "0x1f", "-1", "g", "1 2", "f" * 41, "\u0661"])
def test_what_is_not_a_serial_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a serial number"):
        parse_serial(text)


def test_a_serial_of_20_octets_is_accepted_and_of_21_is_not() -> None:
    assert parse_serial("f" * 40) == 2**160 - 1
    with pytest.raises(ValueError, match="1 to 20 octets"):
        parse_serial("1" + "0" * 40)


def test_a_serial_is_made_of_at_most_159_bits_and_is_never_zero() -> None:
    largest = serial_from_random(2**SERIAL_BITS - 1)
    assert len(largest.to_bytes(20, "big", signed=True)) == 20
    for bits in (0, 2**SERIAL_BITS, -1):
        with pytest.raises(ValueError, match="159 random bits"):
            serial_from_random(bits)
