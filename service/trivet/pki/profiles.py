"""What a profile is: everything that may be said about one kind of certificate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from cryptography.x509.oid import ExtendedKeyUsageOID

from trivet.pki.keys import KeyAlgorithm

if TYPE_CHECKING:
    from cryptography.x509 import ObjectIdentifier


class AuthorityName(StrEnum):
    """The three authorities of a cluster, and the one that vouches for Trivet's own HTTPS."""

    CLUSTER = "cluster"
    ETCD = "etcd"
    FRONT_PROXY = "front-proxy"
    SERVICE = "service"


CLUSTER_AUTHORITIES = (AuthorityName.CLUSTER, AuthorityName.ETCD, AuthorityName.FRONT_PROXY)


class SanPolicy(StrEnum):
    """Which subjectAltNames a certificate of the profile has."""

    NONE = "none"
    HOST = "the host's names and addresses from the request, at least one"
    API_SERVER = "the Kubernetes service's names and address, the node, the endpoint, and the request's"
    ANY = "what the request says"


class StatusPolicy(StrEnum):
    """How whoever meets a certificate learns that it was revoked; a certificate never says both."""

    PUBLISHED = "CRL distribution point and authority information access"
    NO_REV_AVAIL = "noRevAvail (RFC 9608): nothing is published"
    NO_CHECK = "id-pkix-ocsp-nocheck (RFC 6960): its holder tells the status of others"


FROM_REQUEST = "{request}"
"""In place of a CN or O: the certificate request chooses."""

FOUR_DAYS = timedelta(days=4)
ALL_KEYS = frozenset(KeyAlgorithm)


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of certificate.

    Attributes:
        name: as clients ask for it.
        authority: which authority of the cluster signs it.
        usages: the extended key usages, exactly.
        common_name: the CN; `{node}` is the node's name, `FROM_REQUEST` leaves it to the request.
        organization: the O, none, or `FROM_REQUEST`.
        sans: which subjectAltNames it has.
        status: where it says that its status is published; it says nothing where no base URL is set.
        signer_name: Kubernetes' name for it, where it has one.
        longest: the longest validity, and the default.
        keys: the kinds of key that a request may bring.
    """

    name: str
    authority: AuthorityName
    usages: tuple[ObjectIdentifier, ...]
    common_name: str
    organization: str | None
    sans: SanPolicy
    status: StatusPolicy = StatusPolicy.PUBLISHED
    signer_name: str | None = None
    longest: timedelta = FOUR_DAYS
    keys: frozenset[KeyAlgorithm] = ALL_KEYS

    @property
    def is_per_node(self) -> bool:
        """Whether the subject or the SANs hold the name of a node."""
        return "{node}" in self.common_name or self.sans is SanPolicy.API_SERVER

    @property
    def is_for_clients(self) -> bool:
        """Whether a server may know somebody by its certificates (RFC 5280 section 4.2.1.12)."""
        return ExtendedKeyUsageOID.CLIENT_AUTH in self.usages

    @property
    def is_for_servers(self) -> bool:
        """Whether its certificates name hosts."""
        return self.sans in {SanPolicy.HOST, SanPolicy.API_SERVER}
