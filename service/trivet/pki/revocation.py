"""Revocation entries: what they name, and whether they name a given certificate.

`matches` is the truth. `entry_keys` and `identity_keys` are its index: whatever matches shares at least
one key, so a database finds the entries that could match with equality look-ups alone, however many stand.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from trivet.pki.search import (
    KeyRange,
    NameKind,
    below_suffix,
    enclosing_networks,
    exactly,
    network_key,
    reversed_labels,
    within_network,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from trivet.pki.names import Names


class EntryKind(StrEnum):
    """What an entry compares; the spelling is the one that is shown and stored."""

    SERIAL_NUMBER = "SerialNumber"
    GROUP = "Group"
    DNS = "DNS"
    IP = "IP"
    COMMON_NAME = "CommonName"
    PUBLIC_KEY = "PublicKey"


Key = tuple[str, str]
"""One equality look-up: a kind of key and its normalised value."""

DNS_PARENT = "DNSParent"
"""Kind of the key under which a wildcard finds the names that it could be used for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One normalised revocation entry.

    Attributes:
        kind: what is compared.
        value: in the canonical form of its kind; a DNS suffix keeps its leading dot.
        not_before: revokes what was issued before that time; without it, past and future alike.
        description: why, for people.
        include_renewed: a SerialNumber entry covers the certificates renewed from it as well.
    """

    kind: EntryKind
    value: str
    not_before: datetime | None = None
    description: str = ""
    include_renewed: bool = True

    def covers(self, issued_at: datetime) -> bool:
        """Whether a match issued at that (true) time is revoked."""
        return self.not_before is None or issued_at < self.not_before

    @property
    def is_suffix(self) -> bool:
        """Whether the entry is a DNS suffix."""
        return self.kind is EntryKind.DNS and self.value.startswith(".")


@dataclass(frozen=True, slots=True)
class Identity:
    """What entries are compared with: all that a certificate says of its holder.

    Attributes:
        names: subject and SANs.
        spki_sha256: SHA-256 of the DER SubjectPublicKeyInfo, lower-case hex.
        serials: the certificate's own serial (hex), where it has one yet.
        ancestors: serials (hex) of the certificates that it was renewed from.
    """

    names: Names
    spki_sha256: str
    serials: frozenset[str] = frozenset()
    ancestors: frozenset[str] = frozenset()


def matches(entry: Entry, identity: Identity) -> bool:
    """Whether the entry names the identity, whatever the time of issue."""
    match entry.kind:
        case EntryKind.SERIAL_NUMBER:
            inherited = identity.ancestors if entry.include_renewed else frozenset[str]()
            return entry.value in identity.serials or entry.value in inherited
        case EntryKind.GROUP:
            return entry.value in identity.names.organizations
        case EntryKind.COMMON_NAME:
            return entry.value == identity.names.common_name
        case EntryKind.PUBLIC_KEY:
            return entry.value == identity.spki_sha256
        case EntryKind.DNS:
            return any(_dns_matches(entry.value, name) for name in identity.names.host_names())
        case EntryKind.IP:
            network = ipaddress.ip_network(entry.value)
            return any(address in network for address in identity.names.ip_addresses)


def _dns_matches(value: str, name: str) -> bool:
    if value.startswith("."):
        return name.endswith(value)
    # RFC 9525 section 6.3: a wildcard stands for exactly one left-most label.
    return name == value or (name.startswith("*.") and name[2:] == value.partition(".")[2])


def entry_keys(entry: Entry) -> tuple[Key, ...]:
    """The keys under which an entry is stored."""
    if entry.kind is EntryKind.IP:
        return ((entry.kind, network_key(ipaddress.ip_network(entry.value))),)
    own = (entry.kind, entry.value)
    parent = entry.value.partition(".")[2]
    if entry.kind is EntryKind.DNS and not entry.is_suffix and parent:
        return (own, (DNS_PARENT, parent))
    return (own,)


def identity_keys(identity: Identity) -> frozenset[Key]:
    """The keys to look up: every entry that matches the identity is stored under one of them."""
    return own_keys(identity) | name_keys(identity.names)


def own_keys(identity: Identity) -> frozenset[Key]:
    """Those of the keys to look up that no name gives: the public key and the serials."""
    serials = identity.serials | identity.ancestors
    return frozenset([
        (EntryKind.PUBLIC_KEY, identity.spki_sha256),
        *((EntryKind.SERIAL_NUMBER, serial) for serial in serials),
    ])  # fmt: skip


def name_keys(names: Names) -> frozenset[Key]:
    """Those of the keys to look up that names give."""
    return frozenset([
        *((EntryKind.GROUP, group) for group in names.organizations),
        (EntryKind.COMMON_NAME, names.common_name),
        *(key for name in names.host_names() for key in _dns_keys(name)),
        *((EntryKind.IP, network) for address in names.ip_addresses for network in enclosing_networks(address)),
    ])  # fmt: skip


def _dns_keys(name: str) -> Iterator[Key]:
    yield EntryKind.DNS, name
    if name.startswith("*."):
        yield DNS_PARENT, name[2:]
    rest = name.partition(".")[2]
    while rest:
        yield EntryKind.DNS, "." + rest
        rest = rest.partition(".")[2]


def name_ranges(entry: Entry) -> tuple[KeyRange, ...]:
    """Where certificates that the entry names are found among the stored search keys.

    SerialNumber and PublicKey entries are found by column instead, so theirs are empty.
    """
    match entry.kind:
        case EntryKind.GROUP:
            return (exactly(NameKind.GROUP, entry.value),)
        case EntryKind.COMMON_NAME:
            return (exactly(NameKind.COMMON_NAME, entry.value),)
        case EntryKind.IP:
            return (within_network(ipaddress.ip_network(entry.value)),)
        case EntryKind.DNS if entry.is_suffix:
            return (below_suffix(entry.value[1:]),)
        case EntryKind.DNS:
            parent = entry.value.partition(".")[2]
            covering = (entry.value, f"*.{parent}") if parent else (entry.value,)
            return tuple(exactly(NameKind.DNS, reversed_labels(name)) for name in covering)
        case _:
            return ()
