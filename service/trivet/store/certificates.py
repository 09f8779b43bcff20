"""Issued certificates, and every name under which they are found."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import ColumnElement, Row, and_, insert, select, update

from trivet.pki.search import NameKind
from trivet.store.tables import NO_CLUSTER, certificate_names, certificates, serials

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Select

    from trivet.pki.search import KeyRange


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    """A certificate with all that Trivet knows of it. `serial` is lower-case hex without leading zeros."""

    id: UUID
    cluster_id: UUID | None
    authority: str
    generation_id: UUID
    serial: str
    profile: str
    node: str | None
    common_name: str
    spki_sha256: str
    issued_at: datetime
    not_before: datetime
    not_after: datetime
    der: bytes = field(repr=False)
    parent_id: UUID | None
    decision_id: UUID
    requester: str
    superseded_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: UUID | None = None
    seal: str | None = field(default=None, repr=False)

    @property
    def facts(self) -> bytes:
        """The certificate and what is noted with it for good, which its seal covers; what may change is not in it."""
        moments = (self.issued_at, self.not_before, self.not_after)
        return orjson.dumps([
            self.id, self.cluster_id, self.authority, self.generation_id, self.serial, self.profile, self.node,
            self.common_name, self.spki_sha256, *(moment.astimezone(UTC) for moment in moments),
            self.der.hex(), self.parent_id, self.decision_id, self.requester,
        ])  # fmt: skip


_FIELDS = tuple(StoredCertificate.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class CertificateFilter:
    """What to search for; None means any. Ranges must all be met by some name of the certificate."""

    serial: str | None = None
    profile: str | None = None
    authority: str | None = None
    status: str | None = None
    not_after_before: datetime | None = None
    issued_after: datetime | None = None
    ranges: tuple[KeyRange, ...] = ()


def add_all(
    connection: Connection, rows: Sequence[tuple[StoredCertificate, Iterable[tuple[NameKind, str]]]]
) -> None:
    """Store certificates with their search keys: one insert for each table, however many there are."""
    if not rows:
        return
    connection.execute(
        insert(certificates), [{name: getattr(row, name) for name in _FIELDS} for row, _ in rows]
    )
    connection.execute(
        insert(serials),
        [
            {
                "serial": row.serial,
                "generation_id": row.generation_id,
                "certificate_id": row.id,
                "parent_id": row.parent_id,
            }
            for row, _ in rows
        ],
    )
    connection.execute(
        insert(certificate_names),
        [
            {"cluster_id": row.cluster_id or NO_CLUSTER, "kind": kind, "key": key, "certificate_id": row.id}
            for row, keys in rows
            for kind, key in keys
        ],
    )


def find_by_serial(connection: Connection, cluster_id: UUID | None, serial: str) -> StoredCertificate | None:
    """The certificate with that serial in a cluster, unless it was pruned."""
    query = _of_serial(serial).where(certificates.c.cluster_id.is_not_distinct_from(cluster_id))
    row = connection.execute(query).first()
    return stored_certificate(row) if row else None


def _of_serial(serial: str) -> Select[Any]:
    """The certificates of a serial. There is no index on `certificates.serial`; `serials` leads to their ids."""
    joined = certificates.join(serials, certificates.c.id == serials.c.certificate_id)
    return select(certificates).select_from(joined).where(serials.c.serial == serial)


def serial_ids(values: Sequence[str]) -> Select[UUID]:
    """The ids of certificates with those serials, kept or pruned, as a subquery."""
    return select(serials.c.certificate_id).where(serials.c.serial.in_(values))


def find_one(connection: Connection, certificate_id: UUID) -> StoredCertificate | None:
    """The certificate with that id."""
    row = connection.execute(select(certificates).where(certificates.c.id == certificate_id)).first()
    return stored_certificate(row) if row else None


def find_all(connection: Connection, ids: Iterable[UUID]) -> dict[UUID, StoredCertificate]:
    """The certificates with those ids, by id."""
    rows = connection.execute(select(certificates).where(certificates.c.id.in_(list(ids))))
    return {row.id: stored_certificate(row) for row in rows}


def with_serial(connection: Connection, serial: str) -> list[StoredCertificate]:
    """The certificates with that serial, of all issuers, without those that were pruned."""
    return [stored_certificate(row) for row in connection.execute(_of_serial(serial))]


def was_pruned(connection: Connection, serial: str) -> bool:
    """Whether a certificate of that serial was issued, and is no longer kept."""
    kept = select(certificates.c.id).where(certificates.c.id == serials.c.certificate_id)
    query = select(serials.c.serial).where(serials.c.serial == serial, ~kept.exists())
    return connection.execute(query.limit(1)).first() is not None


def supersede(connection: Connection, ids: Sequence[UUID], now: datetime) -> None:
    """Note that certificates were renewed, so that those who still use them renew at once."""
    if ids:
        connection.execute(
            update(certificates)
            .where(certificates.c.id.in_(ids), certificates.c.superseded_at.is_(None))
            .values(superseded_at=now)
        )


def supersede_first(connection: Connection, certificate_id: UUID, now: datetime) -> bool:
    """The same of one certificate; say whether nobody did before. Waits for a concurrent transaction that does."""
    columns = certificates.c
    query = update(certificates).where(columns.id == certificate_id, columns.superseded_at.is_(None))
    return connection.execute(query.values(superseded_at=now)).rowcount == 1


def of_common_name(
    connection: Connection, cluster_id: UUID, common_name: str, profile: str, limit: int
) -> list[StoredCertificate]:
    """Certificates of a profile with that CN, newest first; expired and revoked ones, too."""
    names = certificate_names.c
    query = (
        select(certificates)
        .select_from(certificate_names.join(certificates, names.certificate_id == certificates.c.id))
        .where(
            names.cluster_id == cluster_id,
            names.kind == NameKind.COMMON_NAME.value,
            names.key == common_name,
            certificates.c.profile == profile,
        )
        .order_by(names.certificate_id.desc())
        .limit(limit)
    )
    return [stored_certificate(row) for row in connection.execute(query)]


def page(
    connection: Connection,
    cluster_id: UUID,
    wanted: CertificateFilter,
    now: datetime,
    before: UUID | None,
    limit: int,
) -> list[StoredCertificate]:
    """Certificates of a cluster that meet the filter, newest first, from the first one older than `before`."""
    conditions = [certificates.c.cluster_id == cluster_id, *_conditions(cluster_id, wanted, now)]
    if before is not None:
        conditions.append(certificates.c.id < before)
    query = select(certificates).where(and_(*conditions)).order_by(certificates.c.id.desc()).limit(limit)
    return [stored_certificate(row) for row in connection.execute(query)]


def _conditions(cluster_id: UUID, wanted: CertificateFilter, now: datetime) -> Iterable[ColumnElement[bool]]:
    columns = certificates.c
    if wanted.serial is not None:
        yield columns.id.in_(serial_ids([wanted.serial]))
    if wanted.profile is not None:
        yield columns.profile == wanted.profile
    if wanted.authority is not None:
        yield columns.authority == wanted.authority
    if wanted.not_after_before is not None:
        yield columns.not_after < wanted.not_after_before
    if wanted.issued_after is not None:
        yield columns.issued_at > wanted.issued_after
    if wanted.status is not None:
        yield {
            "valid": and_(columns.revoked_at.is_(None), unexpired(now)),
            "revoked": columns.revoked_at.is_not(None),
            "expired": and_(columns.revoked_at.is_(None), ~unexpired(now)),
        }[wanted.status]
    for key_range in wanted.ranges:
        yield columns.id.in_(ids_in_range(cluster_id, key_range))


def unexpired(now: datetime) -> ColumnElement[bool]:
    """Whether notAfter has not passed; its whole second belongs to the validity (`Validity.contains`)."""
    return certificates.c.not_after > now - timedelta(seconds=1)


def ids_in_range(cluster_id: UUID | ColumnElement[UUID], key_range: KeyRange) -> Select[UUID]:
    """The ids of a cluster's certificates with a name in the range, as a subquery."""
    names = certificate_names.c
    return select(names.certificate_id).where(
        names.cluster_id == cluster_id,
        names.kind == key_range.kind,
        names.key >= key_range.low,
        names.key < key_range.high,
    )


def ids_of_keys(cluster_id: UUID | ColumnElement[UUID], kind: NameKind, keys: Sequence[str]) -> Select[UUID]:
    """The ids of a cluster's certificates with a name of that kind and one of the keys, as a subquery."""
    names = certificate_names.c
    return select(names.certificate_id).where(
        names.cluster_id == cluster_id, names.kind == kind, names.key.in_(keys)
    )


def stored_certificate(row: Row[Any]) -> StoredCertificate:
    """Read a row of all columns of the table."""
    return StoredCertificate(**{name: getattr(row, name) for name in _FIELDS})
