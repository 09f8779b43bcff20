"""Create a cluster with its three authorities, or take over those of a running one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from trivet.authority import once, record
from trivet.authority.access import Permission, Requester, authorize
from trivet.authority.status.publish import begin_lists
from trivet.pki.errors import ConflictError, Fault, InvalidError
from trivet.pki.keys import IssuerPrivateKey, spki
from trivet.pki.names import parse_cluster_name
from trivet.pki.pem import UNREADABLE, from_pem, to_der
from trivet.pki.profiles import CLUSTER_AUTHORITIES, AuthorityName
from trivet.pki.roots import RootAlgorithm, check_imported_root, root_builder, root_subject, root_validity
from trivet.signing.file import generate_key, sign_root
from trivet.store import authorities, clusters
from trivet.store.authorities import Generation, GenerationState
from trivet.store.clusters import Cluster

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from cryptography import x509
    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.pki.subjects import ClusterNames


@dataclass(frozen=True, slots=True)
class ImportedRoot:
    """A root certificate and its unencrypted private key, PEM, as in a kubeadm `pki/` folder."""

    certificate: bytes
    private_key: bytes = field(repr=False)


def create_cluster(
    authority: Authority,
    requester: Requester,
    name: str,
    names: ClusterNames,
    *,
    algorithm: RootAlgorithm = RootAlgorithm.P384,
    imported: Mapping[AuthorityName, ImportedRoot] | None = None,
    idempotency_key: str | None = None,
) -> Cluster:
    """Store a cluster with its three authorities, each with one active generation.

    Args:
        authority: the context.
        requester: needs `clusters:create`.
        name: an RFC 1123 label, unique.
        names: what its certificates are named after.
        algorithm: of the roots that are made.
        imported: all three roots of a running cluster, or none.
        idempotency_key: one cluster for it, however often it is sent.

    Raises:
        ConflictError: there is a cluster of that name.
        ConflictError: an imported key is that of an authority that is hosted already.
        InvalidError: the name is no RFC 1123 label; an imported root is not acceptable, or one is missing.
    """
    authorize(requester, Permission.CREATE_CLUSTER, None, authority.clock())
    _check_name(name)
    now = authority.clock()
    # Keys are made outside of the transaction: RSA-4096 takes seconds.
    if imported is not None:
        roots = {root: _imported(root, imported, now) for root in CLUSTER_AUTHORITIES}
    else:
        roots = {root: make_root(authority, root, name, algorithm) for root in CLUSTER_AUTHORITIES}
    _check_distinct(roots)
    with authority.database.write() as connection:
        cluster = Cluster(authority.new_id(now), name, names, now)
        asked = once.fingerprint("cluster.create", name, names, algorithm, imported)
        earlier = once.take(connection, requester, idempotency_key, asked, str(cluster.id), now)
        standing = clusters.find(connection, name)
        if standing is not None and str(standing.id) == earlier:
            return standing
        if standing is not None:
            message = f"there is a cluster {name!r} already"
            raise ConflictError(message, Fault("/name", "must be new"))
        clusters.add(connection, cluster)
        _check_unknown(connection, roots)
        for root, (certificate, key) in roots.items():
            add_authority(authority, connection, cluster.id, root, certificate, key)
        begin_lists(authority, connection, cluster.id)
        how = "cluster.import" if imported is not None else "cluster.create"
        record.change(authority, connection, requester, how, name, cluster.id, {})
    authority.news.set()
    return cluster


def _check_name(name: str) -> None:
    try:
        parse_cluster_name(name)
    except ValueError as error:
        raise InvalidError(str(error), Fault("/name", str(error))) from error


def make_root(
    authority: Authority, root: AuthorityName, cluster: str, algorithm: RootAlgorithm
) -> tuple[x509.Certificate, IssuerPrivateKey]:
    """Make a key and a self-signed CA certificate of ten years."""
    key = generate_key(algorithm)
    subject = root_subject(root, cluster)
    validity = root_validity(authority.clock())
    builder = root_builder(subject, key.public_key(), authority.new_serial(), validity)
    return sign_root(key, builder), key


def _imported(
    root: AuthorityName, imported: Mapping[AuthorityName, ImportedRoot], now: datetime
) -> tuple[x509.Certificate, IssuerPrivateKey]:
    pointer = f"/import/{root}"
    if root not in imported:
        message = f"the root of the authority {root} is missing; import all three"
        raise InvalidError(message, Fault(pointer, "is required"))
    certificates = from_pem(imported[root].certificate)
    key = _private_key(imported[root].private_key, pointer)
    if len(certificates) != 1:
        message = f"the root of the authority {root} must be one certificate, not {len(certificates)}"
        raise InvalidError(message, Fault(f"{pointer}/certificate", message))
    try:
        check_imported_root(certificates[0], key, now)
    except InvalidError as error:
        message = f"the root of the authority {root} cannot be imported: {error.detail}"
        raise InvalidError(message, Fault(pointer, error.detail)) from error
    return certificates[0], key


def _private_key(pem: bytes, pointer: str) -> IssuerPrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except UNREADABLE as error:
        # Not chained into the message: a parser's words could quote the key.
        message = "the private key is not an unencrypted PEM key"
        raise InvalidError(message, Fault(f"{pointer}/privateKey", message)) from error
    return key  # type: ignore[return-value]  # check_imported_root refuses other kinds


def _check_distinct(roots: Mapping[AuthorityName, tuple[x509.Certificate, IssuerPrivateKey]]) -> None:
    # kubeadm's three CAs differ; one key for two of them would let a kubelet's certificate into etcd.
    if len({spki(certificate.public_key()) for certificate, _ in roots.values()}) < len(roots):
        message = "the three authorities must have three different keys"
        raise InvalidError(message, Fault("/import", message))


def _check_unknown(
    connection: Connection, roots: Mapping[AuthorityName, tuple[x509.Certificate, IssuerPrivateKey]]
) -> None:
    # Certificates of one cluster must mean nothing in another, so a `pki/` folder is imported once.
    for root, (certificate, _) in roots.items():
        if authorities.holds_key(connection, certificate.public_key()):
            message = f"the key of the authority {root} belongs to an authority that is hosted already"
            raise ConflictError(message, Fault(f"/import/{root}", "must be a key of this cluster alone"))


def add_authority(
    authority: Authority,
    connection: Connection,
    cluster_id: UUID | None,
    name: AuthorityName,
    certificate: x509.Certificate,
    key: IssuerPrivateKey,
) -> None:
    """Store an authority with its first, active generation; the key goes in encrypted."""
    now = authority.clock()
    owner = authorities.Authority(authority.new_id(now), cluster_id, name)
    authorities.add(connection, owner)
    authorities.add_generation(
        connection,
        Generation(
            authority.new_id(now),
            owner.id,
            name,
            GenerationState.ACTIVE,
            to_der(certificate),
            authority.keyring.encrypt(key),
            now,
        ),
    )
