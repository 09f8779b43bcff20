"""Entries and identities that often collide: few labels, few addresses, few groups."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st

from trivet.pki.entries import normalise_value
from trivet.pki.locations import StatusLocations
from trivet.pki.names import IPAddress, Names, canonical_ip, parse_dns_name
from trivet.pki.revocation import Entry, EntryKind, Identity
from trivet.pki.serials import serial_hex

# Labels whose order among each other and against dots is treacherous, and one that needs A-labels.
LABELS = ("a", "b", "a-b", "ab", "0", "a0", "é", "xn--9ca", "A")
labels = st.sampled_from(LABELS)
# The last label is never a number, which would make the name an address.
plain_names = st.builds(
    lambda front, last: ".".join([*front, last]),
    st.lists(labels, max_size=4),
    st.sampled_from([label for label in LABELS if label != "0"]),
)
host_names = st.builds(
    lambda star, name, dot: star + name + dot,
    st.sampled_from(["", "", "*."]),
    plain_names,
    st.sampled_from(["", "."]),
)
# Attributes of a subject: DNS names, Kubernetes' own, characters beyond ASCII and beyond the BMP.
attributes = st.one_of(
    host_names,
    st.sampled_from(
        ["system:nodes", "system:node:a", "team", "team2", "\u00e9quipe", "\uffee", "\U0001f980", "~", "!"]
    ),
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=8
    ),
)

_V4 = int(ipaddress.IPv4Address("10.0.0.0"))
_V6 = int(ipaddress.IPv6Address("2001:db8::"))
# Neighbours across bit borders, so that a range ends between two of them.
_offsets = st.sampled_from([0, 1, 2, 3, 4, 7, 8, 127, 128, 255, 256, 65535, 65536, 0xFFFFFF])


def _mapped(address: ipaddress.IPv4Address) -> ipaddress.IPv6Address:
    return ipaddress.IPv6Address(f"::ffff:{address}")


v4_addresses = _offsets.map(lambda offset: ipaddress.IPv4Address(_V4 + offset))
v6_addresses = _offsets.map(lambda offset: ipaddress.IPv6Address(_V6 + offset))
any_addresses: st.SearchStrategy[IPAddress] = st.one_of(
    v4_addresses,
    v6_addresses,
    v4_addresses.map(_mapped),
    st.ip_addresses(v=4),
    st.ip_addresses(v=6),
)


@st.composite
def networks(draw: st.DrawFn) -> str:
    address = draw(any_addresses)
    low = 96 if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped else 0
    prefix = draw(st.integers(low, address.max_prefixlen))
    return str(ipaddress.ip_network((address, prefix), strict=False))


serials = st.integers(1, 4).map(serial_hex)
key_hashes = st.sampled_from(["0c" * 32, "0d" * 32])

_zones = st.sampled_from([UTC, timezone(timedelta(hours=-11)), timezone(timedelta(hours=5, minutes=30))])
times = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=_zones)  # noqa: DTZ001

_texts = {
    EntryKind.SERIAL_NUMBER: serials,
    EntryKind.GROUP: attributes,
    EntryKind.COMMON_NAME: attributes,
    EntryKind.PUBLIC_KEY: key_hashes,
    EntryKind.DNS: st.builds(str.__add__, st.sampled_from(["", "."]), plain_names),
    EntryKind.IP: st.one_of(any_addresses.map(str), networks()),
}


@st.composite
def entries(draw: st.DrawFn, kinds: tuple[EntryKind, ...] = tuple(EntryKind)) -> Entry:
    kind = draw(st.sampled_from(kinds))
    value = normalise_value(kind, draw(_texts[kind]))
    lineage = kind is not EntryKind.SERIAL_NUMBER or draw(st.booleans())
    not_before = draw(st.none() | times)
    return Entry(kind, value, not_before, draw(st.sampled_from(["", "why"])), lineage)


names = st.builds(
    Names,
    common_name=attributes,
    organizations=st.lists(attributes, max_size=3).map(tuple),
    dns_names=st.lists(host_names.map(lambda text: parse_dns_name(text, wildcard=True)), max_size=3).map(
        tuple
    ),
    ip_addresses=st.lists(any_addresses.map(canonical_ip), max_size=3).map(tuple),
)
_urls = st.from_regex(r"https?://[a-z0-9.-]{1,40}(:[0-9]{1,5})?/pki/[ -~]{0,300}", fullmatch=True)
status_locations = st.builds(StatusLocations, _urls, _urls, st.none() | _urls)
identities = st.builds(
    Identity,
    names=names,
    spki_sha256=key_hashes,
    serials=st.frozensets(serials, max_size=1),
    ancestors=st.frozensets(serials, max_size=3),
)
