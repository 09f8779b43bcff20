"""Names as they stand in certificates: normalised once, compared as plain values ever after."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NewType

import idna

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

DnsName = NewType("DnsName", str)
"""A host name in lower-case A-labels, without a trailing dot; its first label may be `*`."""

MAX_DNS_NAME = 253  # RFC 1035 section 2.3.4, less the root label and its length octet
MAX_ATTRIBUTE = 64  # octets of UTF-8; RFC 5280 appendix A has 64 characters, cryptography no more than octets
MAX_SANS = 100  # as in RFC 8555 deployments; a node with more names than this is a mistake

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LABELS = re.compile(rf"(?:{_LABEL.pattern}\.)*{_LABEL.pattern}")
_ALL_NUMERIC = re.compile(r"[0-9]+")
# Control characters, line separators, and halves of surrogate pairs (JSON can hold those, UTF-8 not).
_NOT_PLAIN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Names:
    """Every name that a certificate gives its holder: the subject's CN and O, and the SANs."""

    common_name: str
    organizations: tuple[str, ...] = ()
    dns_names: tuple[DnsName, ...] = ()
    ip_addresses: tuple[IPAddress, ...] = ()

    def host_names(self) -> frozenset[DnsName]:
        """The dNSNames, and the CN where it is a DNS name (old clients still compare it)."""
        host = _host_of(self.common_name)
        return frozenset(self.dns_names if host is None else (*self.dns_names, host))


@lru_cache(maxsize=4096)
def _host_of(common_name: str) -> DnsName | None:
    # Kept, because each issuance asks for its CN thrice: 12 microseconds less.
    try:
        return parse_dns_name(common_name, wildcard=True)
    except ValueError:
        return None


def parse_dns_name(text: str, *, wildcard: bool = False) -> DnsName:
    """Normalise a host name (RFC 1123 section 2.1, RFC 5890 A-labels).

    Args:
        text: the name in any letter case, with or without the trailing dot, in A- or U-labels.
        wildcard: whether a first label `*` is accepted (RFC 9525 section 6.3).

    Raises:
        ValueError: it is not a host name; the message says what is accepted.
    """
    star = "*." if wildcard and text.startswith("*.") else ""
    # UTS 46 has more full stops than one, so the trailing one is known only after the mapping.
    name = _to_ascii(text.removeprefix(star)).removesuffix(".")
    if len(star + name) > MAX_DNS_NAME or not _LABELS.fullmatch(name):
        message = f"{text[:300]!r} is not a DNS name of letters, digits and hyphens in labels of 1 to 63"
        raise ValueError(message)
    if _ALL_NUMERIC.fullmatch(name.rpartition(".")[2]):
        # RFC 1123 section 2.1: a name whose last label is numeric reads as an IP address.
        message = f"{text[:300]!r} is not a DNS name, because its last label is a number"
        raise ValueError(message)
    return DnsName(star + name)


def _to_ascii(name: str) -> str:
    if name.isascii():
        return name.lower()
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        message = f"{name[:300]!r} is not an internationalised DNS name: {error}"
        raise ValueError(message) from error


def is_plain(text: str) -> bool:
    """Whether the text is one line that can be stored, shown and logged as it is."""
    return not _NOT_PLAIN.search(text)


def is_attribute(text: str) -> bool:
    """Whether a CN or an O can hold the text: 1 to `MAX_ATTRIBUTE` octets of plain text."""
    return is_plain(text) and 0 < len(text.encode()) <= MAX_ATTRIBUTE


def parse_ip_address(text: str) -> IPAddress:
    """Read an address in canonical form; an IPv4-mapped IPv6 address is the IPv4 address.

    Raises:
        ValueError: it is not an address. Scoped addresses (`fe80::1%eth0`) mean nothing in certificates.
    """
    return canonical_ip(_unscoped(ipaddress.ip_address(text)))


def canonical_ip(address: IPAddress) -> IPAddress:
    """The address that all spellings share: `::ffff:192.0.2.1` is 192.0.2.1."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _unscoped(address: IPAddress) -> IPAddress:
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        message = f"'{address}' has a zone; certificates hold addresses without one"
        raise ValueError(message)
    return address


def parse_ip_network(text: str) -> IPNetwork:
    """Read a CIDR range or a lone address in canonical form.

    Raises:
        ValueError: it is not a network, or bits are set to the right of the prefix.
    """
    network = ipaddress.ip_network(text)
    if isinstance(network, ipaddress.IPv6Network):
        _unscoped(network.network_address)
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= 96:  # noqa: PLR2004  ::ffff:0:0/96, RFC 4291 section 2.5.5.2
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network


def parse_cluster_name(text: str) -> str:
    """Accept an RFC 1123 label, the form of a cluster's and a node's name in Kubernetes.

    Raises:
        ValueError: it is not one.
    """
    if not _LABEL.fullmatch(text):
        message = f"{text[:80]!r} is not an RFC 1123 label: 1 to 63 of a-z, 0-9 and -, no hyphen at the ends"
        raise ValueError(message)
    return text


def parse_node_name(text: str) -> str:
    """Accept an RFC 1123 subdomain, the form of a node's name in Kubernetes.

    Raises:
        ValueError: it is not one.
    """
    if len(text) > MAX_DNS_NAME or not _LABELS.fullmatch(text):
        message = f"{text[:300]!r} is not a node name: RFC 1123 labels of a-z, 0-9 and -, joined by dots"
        raise ValueError(message)
    return text
