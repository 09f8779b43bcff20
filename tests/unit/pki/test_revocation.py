from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from trivet.pki.entries import normalise_value
from trivet.pki.names import Names, parse_dns_name, parse_ip_address
from trivet.pki.revocation import Entry, EntryKind, Identity, entry_keys, identity_keys, matches, name_ranges

KEY = "0c" * 32


def identity(  # each test says only what it is about
    common_name: str = "holder",
    groups: Iterable[str] = (),
    dns: Iterable[str] = (),
    ip: Iterable[str] = (),
    serials: Iterable[str] = (),
    ancestors: Iterable[str] = (),
) -> Identity:
    names = Names(
        common_name,
        tuple(groups),
        tuple(parse_dns_name(name, wildcard=True) for name in dns),
        tuple(parse_ip_address(address) for address in ip),
    )
    return Identity(names, KEY, frozenset(serials), frozenset(ancestors))


def entry(kind: EntryKind, text: str, *, include_renewed: bool = True) -> Entry:
    return Entry(kind, normalise_value(kind, text), include_renewed=include_renewed)


def names_it(found: Entry, holder: Identity) -> bool:
    """Ask `matches`, and demand that the index finds what it says."""
    matched = matches(found, holder)
    assert not matched or set(entry_keys(found)) & identity_keys(holder)
    return matched


@pytest.mark.parametrize(
    ("text", "name", "named"),
    [
        # an exact name, in every spelling
        ("kubernetes.default.svc", "kubernetes.default.svc", True),
        ("Kubernetes.Default.SVC.", "kubernetes.default.svc", True),
        ("kubernetes.default.svc", "KUBERNETES.default.svc.", True),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("xn--bcher-kva.example", "bücher.example", True),
        ("default.svc", "kubernetes.default.svc", False),
        ("kubernetes.default.svc", "default.svc", False),
        ("a.example", "ba.example", False),
        # a suffix needs one more label
        (".cluster.local", "kubernetes.default.svc.cluster.local", True),
        (".Cluster.Local.", "a.cluster.local", True),
        (".cluster.local", "cluster.local", False),
        (".cluster.local", "mycluster.local", False),
        (".cluster.local", "a.cluster.local.example", False),
        (".local", "cluster.local", True),
        (".local", "local", False),
        # wildcards of the certificate
        ("node.example", "*.example", True),
        ("a.node.example", "*.example", False),
        ("example", "*.example", False),
        (".example", "*.example", True),
        (".a.example", "*.a.example", True),
        (".a.example", "*.example", False),
        (".example", "*.a.example", True),
        ("a.b.example", "*.b.example", True),
        ("a.xb.example", "*.b.example", False),
    ],
)
def test_a_dns_entry_names_hosts_suffixes_and_the_wildcards_that_cover_them(
    text: str,
    name: str,
    named: bool,  # noqa: FBT001
) -> None:
    dns = entry(EntryKind.DNS, text)
    assert names_it(dns, identity(dns=["other.invalid", name])) is named
    # The same holds for a CN that is a DNS name, in whatever spelling.
    assert names_it(dns, identity(common_name=name)) is named


def test_a_dns_entry_compares_no_common_name_that_is_not_a_dns_name() -> None:
    assert not names_it(entry(EntryKind.DNS, "node-1"), identity("system:node:node-1"))
    assert names_it(entry(EntryKind.DNS, "kube-apiserver"), identity("kube-apiserver"))


@pytest.mark.parametrize(
    ("text", "address", "named"),
    [
        ("170.63.128.124", "170.63.128.124", True),
        ("170.63.128.124", "170.63.128.125", False),
        ("170.63.128.124", "::ffff:170.63.128.124", True),
        ("::ffff:170.63.128.124", "170.63.128.124", True),
        ("10.0.0.0/8", "10.255.255.255", True),
        ("10.0.0.0/8", "11.0.0.0", False),
        ("10.0.0.0/8", "9.255.255.255", False),
        ("::ffff:10.0.0.0/104", "10.1.2.3", True),
        ("0.0.0.0/0", "192.0.2.1", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("::/0", "2001:db8::1", True),
        ("::/0", "192.0.2.1", False),
        ("2001:DB8:0:0::1", "2001:db8::1", True),
        ("2001:db8::/32", "2001:db8:ffff::1", True),
        ("2001:db8::/32", "2001:db9::1", False),
    ],
)
def test_an_ip_entry_names_addresses_and_ranges(text: str, address: str, named: bool) -> None:  # noqa: FBT001
    assert names_it(entry(EntryKind.IP, text), identity(ip=[address])) is named


def test_an_ip_entry_does_not_name_host_names() -> None:
    assert not names_it(entry(EntryKind.IP, "10.0.0.1"), identity("10.0.0.1", dns=["a.example"]))


@pytest.mark.parametrize(
    ("kind", "holder", "named"),
    [
        (EntryKind.GROUP, identity(groups=["a", "system:nodes"]), True),
        (EntryKind.GROUP, identity(groups=["System:Nodes"]), False),
        (EntryKind.GROUP, identity(groups=["system:nodes2"]), False),
        (EntryKind.GROUP, identity("system:nodes"), False),
        (EntryKind.COMMON_NAME, identity("system:nodes"), True),
        (EntryKind.COMMON_NAME, identity("System:nodes"), False),
        (EntryKind.COMMON_NAME, identity(groups=["system:nodes"]), False),
    ],
)
def test_groups_and_common_names_are_compared_as_they_are(
    kind: EntryKind,
    holder: Identity,
    named: bool,  # noqa: FBT001
) -> None:
    assert names_it(entry(kind, "system:nodes"), holder) is named


def test_a_public_key_entry_names_the_hash_of_the_key_in_any_spelling() -> None:
    assert names_it(entry(EntryKind.PUBLIC_KEY, ":".join(["0C"] * 32)), identity())
    assert not names_it(entry(EntryKind.PUBLIC_KEY, "0d" * 32), identity())


@pytest.mark.parametrize("text", ["77fdf4b1", "77:FD:F4:B1", "0077FDF4B1"])
def test_a_serial_entry_names_the_certificate_and_what_was_renewed_from_it(text: str) -> None:
    found = entry(EntryKind.SERIAL_NUMBER, text)
    assert names_it(found, identity(serials=["77fdf4b1"]))
    assert names_it(found, identity(serials=["1"], ancestors=["2", "77fdf4b1"]))
    assert not names_it(found, identity(serials=["1"], ancestors=["2"]))


def test_a_serial_entry_without_the_lineage_names_one_certificate() -> None:
    found = entry(EntryKind.SERIAL_NUMBER, "77fdf4b1", include_renewed=False)
    assert names_it(found, identity(serials=["77fdf4b1"]))
    assert not names_it(found, identity(serials=["1"], ancestors=["77fdf4b1"]))


def test_an_entry_covers_what_was_issued_before_its_time_and_nothing_from_then_on() -> None:
    moment = datetime(2026, 4, 17, 17, 22, 5, tzinfo=UTC)
    found = Entry(EntryKind.GROUP, "system:nodes", moment)
    assert found.covers(moment - timedelta(microseconds=1))
    assert not found.covers(moment)
    assert not found.covers(moment + timedelta(seconds=1))


def test_an_entry_without_a_time_covers_past_and_future() -> None:
    found = Entry(EntryKind.GROUP, "system:nodes")
    assert found.covers(datetime.min.replace(tzinfo=UTC))
    assert found.covers(datetime.max.replace(tzinfo=UTC))


@pytest.mark.parametrize("kind", [EntryKind.SERIAL_NUMBER, EntryKind.PUBLIC_KEY])
def test_serials_and_keys_are_found_by_column_not_by_name(kind: EntryKind) -> None:
    assert name_ranges(Entry(kind, "0c")) == ()


def test_only_a_dns_entry_with_a_leading_dot_is_a_suffix() -> None:
    assert entry(EntryKind.DNS, ".a.b").is_suffix
    assert not entry(EntryKind.DNS, "a.b").is_suffix
    assert not Entry(EntryKind.GROUP, ".a").is_suffix
