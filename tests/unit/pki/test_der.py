from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from trivet.pki.der import OCTET_STRING, bit_string, element, explicit, integer, time


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, "0400"),
        (127, "047f"),
        (128, "048180"),
        (255, "0481ff"),
        (256, "04820100"),
        (65535, "0482ffff"),
        (65536, "0483010000"),
    ],
)
def test_a_length_takes_as_few_octets_as_can_be(size: int, header: str) -> None:
    assert element(OCTET_STRING, bytes(size)) == bytes.fromhex(header) + bytes(size)


@pytest.mark.parametrize(
    ("value", "octets"),
    [(0, "020100"), (127, "02017f"), (128, "02020080"), (255, "020200ff"), (256, "02020100")],
)
def test_an_integer_has_a_zero_before_it_only_where_it_would_be_negative(value: int, octets: str) -> None:
    assert integer(value).hex() == octets


def test_the_largest_serial_number_has_20_octets() -> None:
    assert integer(2**159 - 1).hex() == "0214" + "7f" + "ff" * 19


def test_contents_stand_one_after_the_other() -> None:
    assert element(explicit(3), b"a", b"", b"b") == b"\xa3\x02ab"
    assert bit_string(b"a") == b"\x03\x02\x00a"


@pytest.mark.parametrize(
    ("moment", "octets"),
    [
        (datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), b"\x17\x0d491231235959Z"),
        (datetime(2050, 1, 1, tzinfo=UTC), b"\x18\x0f20500101000000Z"),
        (datetime(2000, 2, 3, 4, 5, 6, tzinfo=UTC), b"\x17\x0d000203040506Z"),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), b"\x18\x0f99991231235959Z"),
        (datetime(2050, 1, 1, tzinfo=timezone(timedelta(hours=1))), b"\x17\x0d491231230000Z"),
    ],
)
def test_a_time_has_two_digits_of_the_year_through_2049_and_four_from_2050(
    moment: datetime, octets: bytes
) -> None:
    assert time(moment) == octets
