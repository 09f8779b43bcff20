"""Which names a certificate gets: the profile's, and those that the profile lets the request choose."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import NameOID

from trivet.pki.errors import Fault, InvalidError, MalformedError, RejectedIdentifierError
from trivet.pki.kubernetes import SYSTEM_MASTERS
from trivet.pki.names import (
    MAX_ATTRIBUTE,
    DnsName,
    IPAddress,
    IPNetwork,
    Names,
    canonical_ip,
    parse_dns_name,
    parse_ip_address,
    parse_node_name,
)
from trivet.pki.pem import UNREADABLE
from trivet.pki.profiles import FROM_REQUEST, AuthorityName, Profile, SanPolicy

if TYPE_CHECKING:
    from trivet.pki.csr import CertificateRequest


@dataclass(frozen=True, slots=True)
class ClusterNames:
    """What a cluster's own certificates are named after.

    Attributes:
        endpoint: host name or address of the control plane, without port.
        service_cidr: its first address is the `kubernetes` service.
        dns_domain: as in kubeadm's `dnsDomain`.
    """

    endpoint: DnsName | IPAddress
    service_cidr: IPNetwork
    dns_domain: DnsName


def names_for(
    profile: Profile, request: CertificateRequest, node: str | None, cluster: ClusterNames | None
) -> Names:
    """The names that a certificate of this profile gets for this request.

    Args:
        profile: what is asked for.
        request: its subject may be empty; what it does say must be what the profile grants.
        node: the node's name, for profiles that hold one; found in the request's CN where it is None.
        cluster: the names of the cluster; None for Trivet's own authority.

    Raises:
        InvalidError: the profile needs a node, and there is none that can be a host's name; or the cluster's
            own names give none for an API server.
        RejectedIdentifierError: the request asks for a name that the profile does not grant.
    """
    common_name, organizations = _granted_subject(profile, request, node)
    _check_subject(common_name, organizations)
    match profile.sans:
        case SanPolicy.NONE if request.dns_names or request.ip_addresses:
            message = f"the profile {profile.name} has no subjectAltNames; leave them out"
            raise RejectedIdentifierError(message)
        case SanPolicy.HOST if not (request.dns_names or request.ip_addresses):
            message = f"the profile {profile.name} needs a subjectAltName (dNSName or iPAddress)"
            raise RejectedIdentifierError(message)
        case SanPolicy.API_SERVER if cluster is not None:
            dns_names, addresses = _api_server_names(node_of(profile, request, node), cluster)
        case _:
            dns_names, addresses = (), ()
    return Names(
        common_name,
        organizations,
        tuple(dict.fromkeys((*dns_names, *_checked_wildcards(profile, request)))),
        tuple(dict.fromkeys((*addresses, *request.ip_addresses))),
    )


def _granted_subject(
    profile: Profile, request: CertificateRequest, node: str | None
) -> tuple[str, tuple[str, ...]]:
    if profile.common_name == FROM_REQUEST:
        return request.common_name, request.organizations
    common_name = profile.common_name
    if "{node}" in common_name:
        common_name = common_name.replace("{node}", node_of(profile, request, node))
    organizations = (profile.organization,) if profile.organization else ()
    if request.common_name not in {"", common_name}:
        message = f"the profile {profile.name} has the CN {common_name!r}; ask for that or for none"
        raise RejectedIdentifierError(message)
    if request.organizations and request.organizations != organizations:
        wanted = f"the O {profile.organization!r}" if profile.organization else "no O"
        message = f"the profile {profile.name} has {wanted}; ask for that or for none"
        raise RejectedIdentifierError(message)
    return common_name, organizations


def node_of(profile: Profile, request: CertificateRequest, node: str | None) -> str:
    """The node's name, as given or as the request's CN tells.

    Raises:
        InvalidError: there is none, or it is not a node's name.
    """
    if node is None:
        prefix = profile.common_name.removesuffix("{node}")
        if "{node}" in profile.common_name and request.common_name.startswith(prefix):
            node = request.common_name.removeprefix(prefix)
    try:
        return parse_node_name(node or "")
    except ValueError as error:
        message = f"the profile {profile.name} needs the name of a node: {error}"
        raise InvalidError(message, Fault("/node", "must be the name of a node")) from error


def _check_subject(common_name: str, organizations: tuple[str, ...]) -> None:
    if not common_name:
        message = "the subject needs a CN"
        raise RejectedIdentifierError(message)
    if len(common_name.encode()) > MAX_ATTRIBUTE:
        message = f"the CN {common_name!r} is longer than the {MAX_ATTRIBUTE} octets that X.509 has room for"
        raise RejectedIdentifierError(message)
    if SYSTEM_MASTERS in organizations:
        message = f"no certificate may have the O {SYSTEM_MASTERS}, which passes by every authorizer"
        raise RejectedIdentifierError(message)


def _checked_wildcards(profile: Profile, request: CertificateRequest) -> tuple[DnsName, ...]:
    # etcd's own tools use wildcards for members that come and go; a kubelet or API server has its own names.
    allowed = profile.authority is AuthorityName.ETCD or profile.sans is SanPolicy.ANY
    for name in request.dns_names:
        if name.startswith("*.") and not allowed:
            message = f"the profile {profile.name} has no wildcards; leave out {name!r}"
            raise RejectedIdentifierError(message)
    return request.dns_names


def _api_server_names(node: str, cluster: ClusterNames) -> tuple[tuple[DnsName, ...], tuple[IPAddress, ...]]:
    try:
        endpoint = cluster.endpoint
        hosts = [*service_hosts(cluster), parse_host(endpoint) if isinstance(endpoint, str) else endpoint]
    except (ValueError, IndexError) as error:
        message = (
            f"the cluster's endpoint, service CIDR or DNS domain gives no name to an API server: {error}"
        )
        raise InvalidError(message) from error
    try:
        hosts.insert(-1, parse_host(node))
    except ValueError as error:
        message = f"the API server's certificate names its node as a host: {error}"
        raise InvalidError(message, Fault("/node", "must be a host name or an address")) from error
    return (
        tuple(host for host in hosts if isinstance(host, str)),
        tuple(host for host in hosts if not isinstance(host, str)),
    )


def service_hosts(cluster: ClusterNames) -> tuple[DnsName | IPAddress, ...]:
    """The names and the address of the `kubernetes` service, by which pods reach the API server.

    They are those of Kubernetes' page "PKI certificates and requirements".

    Raises:
        ValueError: the cluster's DNS domain gives no DNS names.
        IndexError: the service CIDR holds one address only.
    """
    service = "kubernetes.default.svc"
    domain = cluster.dns_domain
    short = f"{service}.{domain.partition('.')[0]}"
    texts = ("kubernetes", "kubernetes.default", service, short, f"{service}.{domain}")
    return (*(parse_dns_name(text) for text in texts), cluster.service_cidr[1])


def reserved_hosts(cluster: ClusterNames) -> frozenset[DnsName | IPAddress]:
    """What clients find the cluster's API server by: no node's, unless an administrator says so.

    A node with a serving certificate for one of them would be the API server to whoever trusts the Cluster CA.
    """
    hosts: set[DnsName | IPAddress] = set()
    with suppress(ValueError, IndexError):  # such a cluster's API server has no certificate for any of them
        hosts.update(service_hosts(cluster))
    with suppress(ValueError):
        hosts.add(parse_host(str(cluster.endpoint)))
    return frozenset(hosts)


def parse_host(text: str) -> DnsName | IPAddress:
    """Read a host name or an address, whichever it is.

    Raises:
        ValueError: it is neither.
    """
    try:
        return parse_ip_address(text)
    except ValueError:
        return parse_dns_name(text)


def names_of(certificate: x509.Certificate) -> Names:
    """The names that a certificate holds. Other kinds of SAN, which Trivet never issues, are left out.

    Raises:
        MalformedError: its subject or its extensions cannot be read.
    """
    try:
        subject, extensions = certificate.subject, certificate.extensions
    except UNREADABLE as error:
        message = f"the certificate's subject or extensions cannot be read: {error}"[:200]
        raise MalformedError(message) from error
    organizations = _texts(subject, NameOID.ORGANIZATION_NAME)
    # Of several CNs the last one counts, as it does for Kubernetes (crypto/x509/pkix FillFromRDNSequence).
    common_name = "".join(_texts(subject, NameOID.COMMON_NAME)[-1:])
    try:
        sans = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return Names(common_name, organizations)
    dns_names = tuple(_host_name(name) for name in sans.get_values_for_type(x509.DNSName))
    addresses = sans.get_values_for_type(x509.IPAddress)
    hosts = tuple(canonical_ip(address) for address in addresses if isinstance(address, IPAddress))
    return Names(common_name, organizations, dns_names, hosts)


def _host_name(text: str) -> DnsName:
    # A name that Trivet would not issue (with an underscore, say) is kept, so that entries can match it.
    return DnsName(text.lower().removesuffix("."))


def _texts(name: x509.Name, oid: x509.ObjectIdentifier) -> tuple[str, ...]:
    attributes = name.get_attributes_for_oid(oid)
    return tuple(attribute.value for attribute in attributes if isinstance(attribute.value, str))
