"""Which names and addresses a node owns: what its serving certificate may hold without anybody looking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from trivet.pki.errors import ConflictError, Fault, InvalidError
from trivet.pki.names import MAX_SANS, DnsName, IPAddress, IPNetwork, parse_dns_name, parse_ip_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trivet.pki.names import Names

WIDEST: Final = {4: 16, 6: 48}
"""The shortest prefix by IP version: a range that is wider is a network's, not one node's."""

_T = TypeVar("_T", DnsName, IPNetwork)


@dataclass(frozen=True, slots=True)
class Grants:
    """What one node owns.

    Attributes:
        dns_names: beyond the node's own name, which needs no grant; never wildcards.
        networks: CIDR ranges; a lone address is a range of one.
    """

    dns_names: tuple[DnsName, ...] = ()
    networks: tuple[IPNetwork, ...] = ()

    def without(self, hosts: frozenset[DnsName | IPAddress]) -> Grants:
        """The same without those names, and without ranges of one of those addresses alone."""
        networks = (each for each in self.networks if each.num_addresses > 1 or each[0] not in hosts)
        return Grants(tuple(name for name in self.dns_names if name not in hosts), tuple(networks))


def read_grants(dns_names: Sequence[str], networks: Sequence[str]) -> Grants:
    """Read what an administrator wrote; every fault is listed.

    Raises:
        InvalidError: a name or range cannot be read or is too wide, or there are too many.
    """
    faults: list[Fault] = []
    names = _read(dns_names, "/dnsNames", parse_dns_name, faults)
    ranges = _read(networks, "/ipAddresses", _parse_range, faults)
    if faults:
        message = f"the grants are wrong in {len(faults)} places; the first: {faults[0].message}"
        raise InvalidError(message, *faults)
    return Grants(names, ranges)


def _read(
    texts: Sequence[str], pointer: str, parse: Callable[[str], _T], faults: list[Fault]
) -> tuple[_T, ...]:
    if len(texts) > MAX_SANS:
        faults.append(Fault(pointer, f"a node owns at most {MAX_SANS} of them"))
        return ()
    values: dict[_T, None] = {}
    for number, text in enumerate(texts):
        try:
            values[parse(text)] = None
        except ValueError as error:
            faults.append(Fault(f"{pointer}/{number}", str(error)))
    return tuple(values)


def _parse_range(text: str) -> IPNetwork:
    network = parse_ip_network(text)
    widest = WIDEST[network.version]
    if network.prefixlen < widest:
        message = (
            f"{network} is too wide for one node; the shortest prefix for IPv{network.version} is /{widest}"
        )
        raise ValueError(message)
    return network


def check_conflicts(node: str, grants: Grants, others: Mapping[str, Grants]) -> None:
    """Let no two nodes of a cluster own the same name or address, nor ranges that share one.

    A node's own name is its own: nobody else may be granted it.

    Args:
        node: who is granted.
        grants: what.
        others: what the other nodes of the cluster own; the node itself may be among them.

    Raises:
        ConflictError: another node owns some of it; the message says which and who.
    """
    for other, owned in others.items():
        if other == node:
            continue
        shared = next(_shared(node, grants, other, owned), None)
        if shared is not None:
            message = f"{shared} belongs to the node {other} of this cluster; take it from that node first"
            raise ConflictError(message)


def _shared(node: str, grants: Grants, other: str, owned: Grants) -> Iterator[str]:
    theirs = {other, *owned.dns_names}
    yield from (name for name in (node, *grants.dns_names) if name in theirs)
    for network in grants.networks:
        for range_ in owned.networks:
            if network.version == range_.version and network.overlaps(range_):
                yield str(network) if network == range_ else f"{network}, which overlaps {range_},"


@dataclass(frozen=True, slots=True)
class Owned:
    """All that decides which SANs a node may have.

    Attributes:
        node: whose name is its own without any grant.
        grants: what it owns beyond that.
        foreign: names that belong to other nodes; its own may be among them.
        reserved: what the cluster's API server is found by (`subjects.reserved_hosts`): not even a node of that name
            owns it, unless it is granted by itself; a range that holds such an address does not do.
    """

    node: str
    grants: Grants = Grants()
    foreign: frozenset[str] = frozenset()
    reserved: frozenset[DnsName | IPAddress] = frozenset()

    def missing(self, names: Names) -> tuple[str, ...]:
        """The SANs that the node does not own, in the order of the request; empty if it owns all."""
        own = (({self.node} - self.reserved) | set(self.grants.dns_names)) - self.foreign
        hosts = [self._in_words(name) for name in names.dns_names if name not in own]
        addresses = [self._in_words(address) for address in names.ip_addresses if not self._has(address)]
        return (*hosts, *addresses)

    def _has(self, address: IPAddress) -> bool:
        return any(
            address in network and (address not in self.reserved or network.num_addresses == 1)
            for network in self.grants.networks
        )

    def _in_words(self, host: DnsName | IPAddress) -> str:
        return f"{host} (which the API server is found by)" if host in self.reserved else str(host)
