"""Search keys: names written so that an ordered index finds suffixes and address ranges.

A DNS name is stored with its labels reversed (`kubernetes.default.svc` as `svc.default.kubernetes.`), an
address as fixed-width hex (`4c0000201`). A suffix or a CIDR range is then one range of the index. The
columns must compare by byte: COLLATE "C" on PostgreSQL, BINARY on SQLite.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trivet.pki.names import IPAddress, IPNetwork, Names


_WIDTHS = {4: 32, 6: 128}
_NEAR = 8  # bits of an address within its subnet


class NameKind(StrEnum):
    """What a row of a certificate's names is."""

    COMMON_NAME = "cn"
    GROUP = "group"
    DNS = "dns"
    IP = "ip"


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The keys `low <= key < high` of one kind."""

    kind: NameKind
    low: str
    high: str


def certificate_keys(names: Names) -> frozenset[tuple[NameKind, str]]:
    """The search keys under which a certificate with these names is found."""
    return frozenset(_certificate_keys(names))


def _certificate_keys(names: Names) -> Iterator[tuple[NameKind, str]]:
    yield NameKind.COMMON_NAME, names.common_name
    for group in names.organizations:
        yield NameKind.GROUP, group
    for name in names.host_names():
        yield NameKind.DNS, reversed_labels(name)
    for address in names.ip_addresses:
        yield NameKind.IP, address_key(address)


def reversed_labels(name: str) -> str:
    """`a.b.c` as `c.b.a.`; the closing dot keeps `x.b.c` apart from `xb.c`."""
    return ".".join(reversed(name.split("."))) + "."


def address_key(address: IPAddress) -> str:
    """The address as its version and fixed-width hex, which sort as the addresses do."""
    return f"{address.version}{address.packed.hex()}"


def exactly(kind: NameKind, key: str) -> KeyRange:
    """The range that holds one key only (no key contains U+0000)."""
    return KeyRange(kind, key, key + "\x01")


def below_suffix(suffix: str) -> KeyRange:
    """All host names with at least one label more than `suffix` (given without its leading dot)."""
    prefix = reversed_labels(suffix)
    # U+0001 shuts out the suffix itself; `/` follows `.`.
    return KeyRange(NameKind.DNS, prefix + "\x01", prefix[:-1] + "/")


def within_network(network: IPNetwork) -> KeyRange:
    """All addresses of a CIDR range."""
    if network.num_addresses == 1:
        return exactly(NameKind.IP, address_key(network[0]))  # so that many are one search (`store.marking`)
    return KeyRange(NameKind.IP, address_key(network[0]), address_key(network[-1]) + "~")


def network_key(network: IPNetwork) -> str:
    """The key of a CIDR range: its first address as a key, and the length of its prefix."""
    return f"{address_key(network[0])}/{network.prefixlen}"


def enclosing_networks(address: IPAddress) -> list[str]:
    """The key of every CIDR range that holds the address, narrowest first."""
    bits, version = int(address), address.version
    near = _ranges(version, bits, 0, _NEAR)
    # The wide ranges are those of the whole subnet, whose addresses come together: 15 microseconds less.
    return [*near, *_wide_ranges(version, bits >> _NEAR)]


@lru_cache(maxsize=1024)
def _wide_ranges(version: int, subnet: int) -> list[str]:
    return _ranges(version, subnet << _NEAR, _NEAR, _WIDTHS[version] + 1)


def _ranges(version: int, bits: int, narrowest: int, widest: int) -> list[str]:
    # By hand: an IPv6 address lies in 129 ranges, and ipaddress takes 5 microseconds for each.
    width = _WIDTHS[version]
    layout = f"{version}%0{width // 4}x/%d"
    return [layout % (bits >> free << free, width - free) for free in range(narrowest, widest)]
