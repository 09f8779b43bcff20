"""Asking the service for first certificates: with an issuer's token, as a new node, and in a repair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from trivet.agent.files.pairs import KeyPair, checked, read_chain
from trivet.agent.inspection import name_differences
from trivet.client.keys import build_request, new_key
from trivet.pki.errors import BadPublicKeyError
from trivet.pki.keys import check_public_key, key_algorithm
from trivet.pki.names import parse_dns_name, parse_ip_network
from trivet.pki.subjects import ClusterNames, parse_host

if TYPE_CHECKING:
    from trivet.agent.files import NodeFiles
    from trivet.agent.plan.model import CertificatePlan, PlannedCertificate
    from trivet.client import Client
    from trivet.client.keys import PrivateKey


class NotAskedError(Exception):
    """This credential cannot get this certificate; the message says which can."""


class Source(Protocol):
    """Where first certificates come from: an access token, a one-time token, a new node's certificate requests."""

    def certificate_for(self, planned: PlannedCertificate, request: bytes) -> str:
        """The certificate for a request (DER), as PEM.

        Raises:
            ClientError: the service refused, or did not answer.
            NotAskedError: this credential cannot get it.
        """


def seconds_of(planned: PlannedCertificate) -> int | None:
    """How long a certificate shall live, as requests say it."""
    return None if planned.validity is None else int(planned.validity.total_seconds())


@dataclass(frozen=True, slots=True)
class ByToken:
    """With an access token that may issue, or a one-time token of a repair."""

    trivet: Client
    plan: CertificatePlan

    def certificate_for(self, planned: PlannedCertificate, request: bytes) -> str:
        """Ask for it."""
        issued = self.trivet.certificates.issue(
            self.plan.cluster,
            planned.profile.name,
            request,
            # Also where the profile names no node: a repair waits for what each node holds.
            node=planned.node,
            expiration_seconds=seconds_of(planned),
        )
        return issued["certificate"]


def cluster_names(trivet: Client, cluster: str) -> ClusterNames:
    """What the cluster's API servers are named after, as the service has it.

    Raises:
        ClientError: the service refused, or did not answer.
    """
    known = trivet.clusters.get(cluster)
    return ClusterNames(
        parse_host(known["endpoint"]),
        parse_ip_network(known["serviceCidr"]),
        parse_dns_name(known["dnsDomain"]),
    )


def ask(source: Source, planned: PlannedCertificate, key: PrivateKey) -> KeyPair:
    """Get a certificate for a key, and see that it is what was asked for.

    Args:
        source: whom to ask, with which credential.
        planned: what is asked for.
        key: to be certified.

    Raises:
        ClientError: the service refused, or did not answer.
        NotAskedError: this credential cannot get it.
        ValueError: what came is not for this key.
    """
    request = build_request(
        key,
        # In full, though most profiles would give it: certificate requests must state it, as in Kubernetes.
        common_name=planned.names.common_name,
        organizations=planned.names.organizations,
        hosts=planned.sans,
    )
    pair = checked(KeyPair(read_chain(source.certificate_for(planned, request).encode()), key))
    differences = name_differences(planned.names, pair.certificate)
    if differences:
        message = f"the service gave other names than the plan has: {differences}"
        raise ValueError(message)
    return pair


def key_for(files: NodeFiles, planned: PlannedCertificate) -> PrivateKey:
    """The key to be certified: one that waits without a certificate, if it is good and of the planned kind; else new.

    A key that has had a certificate is not certified again.
    """
    kind = planned.algorithm.key_algorithm
    waiting = files.lone_key(planned)
    if waiting is not None and key_algorithm(waiting.public_key()) is kind:
        try:
            check_public_key(waiting.public_key(), planned.profile.keys)
        except BadPublicKeyError:
            return new_key(kind)
        return waiting
    return new_key(kind)
