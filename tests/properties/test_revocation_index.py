from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.properties.strategies import attributes, entries, host_names, identities, names

from trivet.pki.entries import normalise_value
from trivet.pki.judgement import Voucher, compared_keys
from trivet.pki.names import Names, parse_dns_name
from trivet.pki.revocation import (
    Entry,
    EntryKind,
    Identity,
    entry_keys,
    identity_keys,
    matches,
    name_ranges,
)
from trivet.pki.search import KeyRange, NameKind, certificate_keys

NAMED = (EntryKind.GROUP, EntryKind.COMMON_NAME, EntryKind.DNS, EntryKind.IP)


def dns(entry: str, *held: str) -> tuple[Entry, Identity]:
    parsed = tuple(parse_dns_name(name, wildcard=True) for name in held)
    found = Entry(EntryKind.DNS, normalise_value(EntryKind.DNS, entry))
    return found, Identity(Names("system:x", (), parsed), "0c" * 32)


@given(st.tuples(entries(), identities))
@settings(max_examples=1500)
@example(dns("a.b", "*.b"))
@example(dns(".b", "*.b"))
@example(dns(".b", "a.a.b"))
@example(dns("b", "b"))
def test_whatever_matches_is_found_in_the_index(pair: tuple[Entry, Identity]) -> None:
    entry, identity = pair
    matched = matches(entry, identity)
    assert not matched or set(entry_keys(entry)) & identity_keys(identity)


@given(st.tuples(entries(NAMED), identities))
@settings(max_examples=2500)
@example(dns("a.b", "*.b"))
@example(dns(".b", "*.b"))
@example(dns(".a", "b.a-b"))
@example(dns(".a", "a"))
@example(dns(".a", "a0.a"))
def test_the_stored_search_finds_exactly_what_matches(pair: tuple[Entry, Identity]) -> None:
    entry, identity = pair
    matched = matches(entry, identity)
    keys, ranges = certificate_keys(identity.names), name_ranges(entry)
    assert any(_within(key, found) for key in keys for found in ranges) is matched
    # A database compares octets (COLLATE "C", BINARY), Python code points.
    assert any(_within_octets(key, found) for key in keys for found in ranges) is matched


def _within(key: tuple[NameKind, str], found: KeyRange) -> bool:
    return key[0] is found.kind and found.low <= key[1] < found.high


def _within_octets(key: tuple[NameKind, str], found: KeyRange) -> bool:
    return key[0] is found.kind and found.low.encode() <= key[1].encode() < found.high.encode()


@given(st.lists(st.one_of(attributes, names.flatmap(lambda n: st.sampled_from(sorted(_texts(n)))))))
def test_search_keys_sort_alike_as_text_and_as_octets(keys: list[str]) -> None:
    assert [key.encode() for key in sorted(keys)] == sorted(key.encode() for key in keys)


def _texts(held: Names) -> set[str]:
    return {key for _, key in certificate_keys(held)}


@given(names)
def test_a_certificate_has_each_search_key_once(held: Names) -> None:
    assert max(Counter(certificate_keys(held)).values()) == 1
    assert not any("\0" in key or "\x01" in key for _, key in certificate_keys(held))


@given(host_names)
def test_a_dns_name_is_normalised_once_and_for_all(text: str) -> None:
    name = parse_dns_name(text, wildcard=True)
    assert parse_dns_name(name, wildcard=True) == name
    assert name.isascii()
    assert name == name.lower()


@given(entries())
def test_a_value_is_normalised_once_and_for_all(entry: Entry) -> None:
    assert normalise_value(entry.kind, entry.value) == entry.value


@given(entries(), st.datetimes(timezones=st.just(UTC)))
def test_an_entry_covers_what_is_older_than_its_time(entry: Entry, issued_at: datetime) -> None:
    assert entry.covers(issued_at) is (entry.not_before is None or issued_at < entry.not_before)


@given(entries(NAMED))
def test_every_range_of_a_search_begins_before_it_ends(entry: Entry) -> None:
    assert name_ranges(entry)
    assert all(found.low.encode() < found.high.encode() for found in name_ranges(entry))


@given(identity=identities, vouching=identities, keeps_its_names=st.booleans())
@settings(max_examples=200)
def test_the_keys_of_a_request_are_its_own_and_those_of_what_vouches_for_it(
    *, identity: Identity, vouching: Identity, keeps_its_names: bool
) -> None:
    if keeps_its_names:
        vouching = replace(vouching, names=identity.names)
    voucher = Voucher(vouching, datetime(2026, 11, 1, tzinfo=UTC))
    assert compared_keys(identity, voucher) == identity_keys(identity) | identity_keys(vouching)
    assert compared_keys(identity, None) == identity_keys(identity)
