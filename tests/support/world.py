"""An Authority over a database of a test's own, with verbs short enough for tables of cases."""

from __future__ import annotations

import ipaddress
import secrets
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from cryptography import x509
from sqlalchemy import make_url
from tests.support.clock import Clock
from tests.support.revocation_objects import renew_revocation
from tests.support.signing_requests import csr

from trivet.authority.access import Requester, Role
from trivet.authority.context import Authority, Policy
from trivet.authority.create import create_cluster
from trivet.authority.holders import authenticate_certificate
from trivet.authority.install import OPERATOR, install
from trivet.authority.issuance.application import Issuance, Renewal
from trivet.authority.issue import IssuedCertificate, issue
from trivet.authority.revoke import Revoked, create_revocation, delete_revocation
from trivet.pki.names import DnsName
from trivet.pki.revocation import Entry
from trivet.pki.subjects import ClusterNames
from trivet.signing.encryption import KeyEncryptionKey
from trivet.signing.file import Keyring
from trivet.store import certificates, decisions, migrate
from trivet.store.certificates import StoredCertificate
from trivet.store.clusters import Cluster
from trivet.store.decisions import Decision
from trivet.store.engine import Database

KEY_ENCRYPTION_KEY = KeyEncryptionKey(bytes(range(32)))
CLUSTER_NAMES = ClusterNames(
    endpoint=DnsName("api.blue.example"),
    service_cidr=ipaddress.ip_network("10.96.0.0/12"),
    dns_domain=DnsName("cluster.local"),
)


def make_authority(
    url: str,
    clock: Callable[[], object],
    *,
    policy: Policy | None = None,
    key_encryption_key: KeyEncryptionKey = KEY_ENCRYPTION_KEY,
    random_bits: Callable[[int], int] = secrets.randbits,
) -> Authority:
    """Put an Authority together; its database is neither migrated nor installed."""
    database = Database(url)
    # Tests that end with their connections open would have them collected in the midst of another one.
    for engine in database.engine, database._glances:
        weakref.finalize(database, engine.dispose)
    return Authority(
        database,
        Keyring(key_encryption_key),
        key_encryption_key,
        clock,  # type: ignore[arg-type]  # tests hand over clocks of their own
        random_bits,
        policy or Policy(),
    )


@cache
def _empty_schema() -> bytes:
    """The octets of an SQLite file at the newest schema: to migrate costs more than most tests do."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "trivet.db"
        database = Database(f"sqlite:///{file}")
        migrate.upgrade(database)
        database.dispose()
        return file.read_bytes()


def prepare_database(url: str, clock: Callable[[], object]) -> None:
    """Bring an empty database to the newest schema and install Trivet in it."""
    file = make_url(url).database if url.startswith("sqlite") else None
    if file is not None and not Path(file).exists():
        Path(file).write_bytes(_empty_schema())
    authority = make_authority(url, clock)
    migrate.upgrade(authority.database)
    install(authority)
    authority.database.dispose()


def request_for(profile: str, node: str, hosts: tuple[str, ...] = (), key: int = 0) -> bytes:
    """Make the least request that the profile grants, with more hosts if wanted."""
    if profile in {"etcd-apiserver", "kubelet-serving", "etcd-server", "etcd-peer"}:
        return csr(hosts=hosts or (node,), key=key)
    if profile == "kube-apiserver-client":
        return csr("jane", ("team",), hosts, key)
    return csr(hosts=hosts, key=key)


@dataclass
class World:
    """What a test of use cases works with."""

    authority: Authority
    clock: Clock

    def make_cluster(self, name: str = "blue") -> Cluster:
        return create_cluster(self.authority, OPERATOR, name, CLUSTER_NAMES)

    def issue(
        self,
        profile: str = "kubelet-client",
        node: str | None = "node-1",
        *,
        cluster: str = "blue",
        hosts: tuple[str, ...] = (),
        key: int = 0,
        request: bytes | None = None,
        requester: Requester = OPERATOR,
        lifetime: timedelta | None = None,
        idempotency_key: str | None = None,
    ) -> IssuedCertificate:
        body = request if request is not None else request_for(profile, node or "", hosts, key)
        wish = Issuance(cluster, profile, body, node, lifetime, idempotency_key)
        return issue(self.authority, requester, wish)

    def holder(self, held: StoredCertificate) -> Requester:
        """Authenticate by the certificate, as a connection over mutual TLS does."""
        return authenticate_certificate(self.authority, x509.load_der_x509_certificate(held.der))

    def renew(
        self,
        current: StoredCertificate,
        *,
        cluster: str = "blue",
        key: int = 1,
        request: bytes | None = None,
        requester: Requester | None = None,
        idempotency_key: str | None = None,
    ) -> IssuedCertificate:
        holder = requester or self.holder(current)
        wish = Renewal(
            holder.certificate or current,
            cluster,
            csr(key=key) if request is None else request,
            idempotency_key=idempotency_key,
        )
        return issue(self.authority, holder, wish)

    def revoke(self, *entries: Entry, cluster: str | None = "blue", name: str | None = None) -> Revoked:
        return create_revocation(self.authority, OPERATOR, cluster, renew_revocation(*entries, name=name))

    def delete(self, revoked: Revoked, cluster: str | None = "blue") -> None:
        standing = revoked.revocation
        delete_revocation(self.authority, OPERATOR, cluster, standing.namespace, standing.name)

    def stored(self, issued: IssuedCertificate) -> StoredCertificate:
        """Read a certificate again, as the database has it now."""
        with self.authority.database.read() as connection:
            found = certificates.find_one(connection, issued.stored.id)
        assert found is not None
        return found

    def is_revoked(self, issued: IssuedCertificate) -> bool:
        return self.stored(issued).revoked_at is not None

    def decision(self, decision_id: object) -> Decision:
        with self.authority.database.read() as connection:
            found = decisions.get(connection, UUID(str(decision_id)))
        assert found is not None
        return found

    def admin_of(self, cluster: Cluster, role: Role = Role.ADMIN) -> Requester:
        """Give a requester that may act in that cluster only."""
        return Requester(f"token:{role}", role, cluster.id)
