"""Read clusters, authorities and certificates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trivet.authority.access import Permission, Requester, Role, authorize, authorized_cluster
from trivet.pki.errors import AccessDeniedError, Fault, InvalidError, NotFoundError
from trivet.pki.kubernetes import PROFILES
from trivet.pki.manifest import normalise_value
from trivet.pki.profiles import CLUSTER_AUTHORITIES, AuthorityName
from trivet.pki.revocation import Entry, EntryKind, name_ranges
from trivet.pki.serials import parse_serial, serial_hex
from trivet.pki.validity import Validity
from trivet.store import authorities, certificates, clusters
from trivet.store.certificates import CertificateFilter, StoredCertificate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.pki.search import KeyRange
    from trivet.store.authorities import Generation
    from trivet.store.clusters import Cluster

STATUSES = ("valid", "revoked", "expired")


@dataclass(frozen=True, slots=True)
class Search:
    """What to search certificates for, as people write it; None means any."""

    serial: str | None = None
    common_name: str | None = None
    group: str | None = None
    dns: str | None = None
    dns_suffix: str | None = None
    ip: str | None = None
    profile: str | None = None
    authority: str | None = None
    status: str | None = None
    not_after_before: datetime | None = None
    issued_after: datetime | None = None


def list_clusters(authority: Authority, requester: Requester, after: str | None, limit: int) -> list[Cluster]:
    """Clusters by name; those who belong to one cluster see that one."""
    with authority.database.read() as connection:
        authorize(requester, Permission.READ_CLUSTER, requester.cluster_id, authority.clock())
        return clusters.page(connection, requester.cluster_id, after, limit)


def get_cluster(authority: Authority, requester: Requester, name: str) -> Cluster:
    """One cluster.

    Raises:
        NotFoundError: there is none of that name.
    """
    with authority.database.read() as connection:
        return authorized_cluster(connection, requester, Permission.READ_CLUSTER, name, authority.clock())


def list_generations(
    authority: Authority, requester: Requester, cluster: str, name: str | None = None
) -> list[Generation]:
    """The generations of a cluster's authorities (or of one), by authority, oldest first.

    Raises:
        NotFoundError: there is no such cluster or authority.
    """
    with authority.database.read() as connection:
        found = authorized_cluster(connection, requester, Permission.READ_CLUSTER, cluster, authority.clock())
        if name is not None and name not in CLUSTER_AUTHORITIES:
            message = f"there is no authority {name[:80]!r}; a cluster has {', '.join(CLUSTER_AUTHORITIES)}"
            raise NotFoundError(message)
        generations = authorities.all_generations(connection, found.id)
    names = list(CLUSTER_AUTHORITIES) if name is None else [name]
    return [generation for wanted in names for generation in generations if generation.name == wanted]


def search_certificates(
    authority: Authority, requester: Requester, cluster: str, wanted: Search, before: UUID | None, limit: int
) -> list[StoredCertificate]:
    """Certificates of a cluster that meet the search, newest first; a holder sees only their own.

    Raises:
        InvalidError: a value of the search is not of its kind.
    """
    wanted_rows = _filter(wanted)
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_CERTIFICATE, cluster, now)
        if requester.role is Role.HOLDER:
            message = "a certificate's holder may read it by its serial, but not search"
            raise AccessDeniedError(message)
        return certificates.page(connection, found.id, wanted_rows, now, before, limit)


def _filter(wanted: Search) -> CertificateFilter:
    ranges: list[KeyRange] = []
    for field, kind, text in (
        ("cn", EntryKind.COMMON_NAME, wanted.common_name),
        ("group", EntryKind.GROUP, wanted.group),
        ("dnsSuffix", EntryKind.DNS, wanted.dns_suffix and "." + wanted.dns_suffix.removeprefix(".")),
        ("dns", EntryKind.DNS, wanted.dns),
        ("ip", EntryKind.IP, wanted.ip),
    ):
        if text is not None:
            ranges += name_ranges(Entry(kind, _normalised(field, kind, text)))[:1]
    _check_choice("status", wanted.status, STATUSES)
    _check_choice("profile", wanted.profile, tuple(PROFILES))
    _check_choice("authority", wanted.authority, tuple(AuthorityName))
    serial = (
        _normalised("serial", EntryKind.SERIAL_NUMBER, wanted.serial) if wanted.serial is not None else None
    )
    return CertificateFilter(
        serial,
        wanted.profile,
        wanted.authority,
        wanted.status,
        wanted.not_after_before,
        wanted.issued_after,
        tuple(ranges),
    )


def _normalised(field: str, kind: EntryKind, text: str) -> str:
    try:
        return normalise_value(kind, text)
    except ValueError as error:
        raise InvalidError(str(error), Fault(f"/{field}", str(error))) from error


def _check_choice(field: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        message = f"{field} must be one of {', '.join(choices)}"
        raise InvalidError(message, Fault(f"/{field}", message))


def get_certificate(
    authority: Authority, requester: Requester, cluster: str, serial: str
) -> StoredCertificate:
    """One certificate by its serial; a holder may read their own.

    Raises:
        NotFoundError: there is none of that serial in the cluster.
    """
    with authority.database.read() as connection:
        now = authority.clock()
        found = authorized_cluster(connection, requester, Permission.READ_CERTIFICATE, cluster, now)
        return readable_certificate(connection, requester, found, serial)


def readable_certificate(
    connection: Connection, requester: Requester, cluster: Cluster, serial: str
) -> StoredCertificate:
    """The certificate of that serial, if the requester may see it.

    Raises:
        NotFoundError: there is none, or (to a holder of another) it is not shown.
    """
    try:
        wanted = serial_hex(parse_serial(serial))
    except ValueError as error:
        raise NotFoundError(str(error)) from error
    held = requester.certificate
    stored = certificates.find_by_serial(connection, cluster.id, wanted)
    if stored is None or (held is not None and held.id != stored.id):
        message = f"there is no certificate {wanted} in the cluster {cluster.name}"
        raise NotFoundError(message)
    return stored


def issuers_of(authority: Authority, found: Sequence[StoredCertificate]) -> dict[UUID, bytes]:
    """The CA certificates (DER) that signed certificates, by generation."""
    with authority.database.read() as connection:
        return _issuers(connection, found)


def _issuers(connection: Connection, found: Sequence[StoredCertificate]) -> dict[UUID, bytes]:
    wanted = {stored.generation_id for stored in found}
    return {each: authorities.generation(connection, each).certificate for each in wanted}


def names_and_issuers(
    authority: Authority, found: Sequence[StoredCertificate]
) -> tuple[dict[UUID, str], dict[UUID, bytes]]:
    """The names of clusters by id, and the CA certificates that signed certificates by generation."""
    with authority.database.read() as connection:
        return clusters.names_by_id(connection), _issuers(connection, found)


def cluster_names(authority: Authority) -> dict[UUID, str]:
    """The names of clusters by id, to show instead of ids."""
    with authority.database.read() as connection:
        return clusters.names_by_id(connection)


def status_of(stored: StoredCertificate, now: datetime) -> str:
    """One of STATUSES."""
    if stored.revoked_at is not None:
        return "revoked"
    return "valid" if Validity(stored.not_before, stored.not_after).contains(now) else "expired"
