from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trivet.pki.locations import (
    COMPLETE,
    MOST_SHARDS,
    Shard,
    crl_path,
    issuer_path,
    shard_of,
    status_locations,
)
from trivet.pki.profiles import AuthorityName
from trivet.pki.serials import SERIAL_BITS

PATH = issuer_path("blue", AuthorityName.FRONT_PROXY, b"\x0a\xff")


def test_the_paths_are_those_that_certificates_carry_for_life() -> None:
    assert PATH == "/pki/blue/front-proxy/0aff"
    assert crl_path(PATH, COMPLETE) == "/pki/blue/front-proxy/0aff.crl"
    assert crl_path(PATH, Shard(3, 16)) == "/pki/blue/front-proxy/0aff/3-of-16.crl"


def test_a_certificate_carries_urls_below_the_base_url() -> None:
    found = status_locations("http://pki.example:8480/a", PATH, COMPLETE, has_ocsp=True)
    assert found.issuer == "http://pki.example:8480/a/pki/blue/front-proxy/0aff.crt"
    assert found.crl == "http://pki.example:8480/a/pki/blue/front-proxy/0aff.crl"
    assert found.ocsp == "http://pki.example:8480/a/pki/blue/front-proxy/0aff/ocsp"
    assert status_locations("http://a", PATH, COMPLETE, has_ocsp=False).ocsp is None


@given(st.integers(1, 2**SERIAL_BITS - 1), st.integers(1, MOST_SHARDS))
def test_a_certificate_belongs_to_one_part_of_each_partition(serial: int, shards: int) -> None:
    assert shard_of(serial, shards) in [Shard(number, shards) for number in range(1, shards + 1)]


def test_the_part_of_a_certificate_never_changes() -> None:
    assert [shard_of(serial, 4).number for serial in (0x10, 0x11, 0x12, 0x13, 0x14)] == [1, 2, 3, 4, 1]
    assert shard_of(0x10, 1) == COMPLETE
