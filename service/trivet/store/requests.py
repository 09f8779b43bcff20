"""Certificate requests that wait for approval, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update

from trivet.store.tables import certificate_requests

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import ColumnElement, Connection, Row


class RequestState(StrEnum):
    """Where a request stands: pending → approved → issued or failed; or pending → denied."""

    PENDING = "pending"
    APPROVED = "approved"
    ISSUED = "issued"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Submitted:
    """Who submitted a request, as Kubernetes' spec has it, and how Trivet knew them.

    Attributes:
        username: as Kubernetes names them: `system:bootstrap:ID`, `system:node:NAME`, `token:ID`.
        uid: of the user, where there is one.
        groups: of the user.
        extra: further attributes of the user.
        requester: their name in records.
        voucher_id: of the certificate by which they were known.
        bootstrap_token: id of the one by which they were known.
    """

    username: str
    uid: str | None
    groups: tuple[str, ...]
    extra: dict[str, Any]
    requester: str
    voucher_id: UUID | None = None
    bootstrap_token: str | None = None


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A request and its history. All down to `submitted` is its spec, which never changes.

    Attributes:
        version: of its last change, from its cluster's counter.
        reason: in words: why it waits, or what became of it.
        conditions: each step with its time, as Kubernetes has them.
        pem: the CSR as it was written, where that is not how PEM usually looks.
        managed_fields: as metadata.managedFields has them.
        seal: a keyed hash of what was approved.
        collect_at: when it is removed.
    """

    id: UUID
    cluster_id: UUID
    name: str
    version: int
    der: bytes = field(repr=False)
    profile: str
    node: str | None
    signer_name: str | None
    usages: tuple[str, ...]
    expiration_seconds: int | None
    submitted: Submitted
    state: RequestState
    reason: str
    created_at: datetime
    collect_at: datetime
    conditions: tuple[dict[str, Any], ...] = ()
    decided_at: datetime | None = None
    decided_by: str | None = None
    seal: str | None = field(default=None, repr=False)
    certificate_id: UUID | None = None
    decision_id: UUID | None = None
    generate_name: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    pem: str | None = field(default=None, repr=False)
    managed_fields: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """What to list; None means any. Of `labels` each has that value, or (where that is None) is there."""

    state: RequestState | None = None
    profile: str | None = None
    node: str | None = None
    username: str | None = None
    name: str | None = None
    labels: tuple[tuple[str, str | None], ...] = ()


_SUBMITTED = tuple(Submitted.__dataclass_fields__)
_FIELDS = tuple(name for name in StoredRequest.__dataclass_fields__ if name != "submitted")
_CHANGING = (
    "version", "state", "reason", "conditions", "decided_at", "decided_by", "seal", "certificate_id", "decision_id",
    "collect_at", "labels", "annotations", "managed_fields",
)  # fmt: skip
_columns = certificate_requests.c


def add(connection: Connection, request: StoredRequest) -> None:
    """Store a request."""
    row = {name: getattr(request, name) for name in _FIELDS}
    row |= {name: getattr(request.submitted, name) for name in _SUBMITTED}
    row |= {name: list(row[name]) for name in ("usages", "groups", "conditions", "managed_fields")}
    connection.execute(insert(certificate_requests).values(row))


def find(connection: Connection, cluster_id: UUID, name: str, *, lock: bool = False) -> StoredRequest | None:
    """The request of that name in a cluster; with `lock`, nobody else changes it until the transaction ends."""
    query = select(certificate_requests).where(_columns.cluster_id == cluster_id, _columns.name == name)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return _request(row) if row else None


def take(connection: Connection, ids: Collection[UUID]) -> dict[UUID, StoredRequest]:
    """Requests by their ids, in one order for all, so that no two transactions wait for each other; locked."""
    query = select(certificate_requests).where(_columns.id.in_(sorted(ids))).order_by(_columns.id)
    return {row.id: _request(row) for row in connection.execute(query.with_for_update())}


def change(connection: Connection, request: StoredRequest) -> None:
    """Store what may change of a request."""
    row = {name: getattr(request, name) for name in _CHANGING}
    row |= {name: list(row[name]) for name in ("conditions", "managed_fields")}
    connection.execute(update(certificate_requests).where(_columns.id == request.id).values(row))


def page(
    connection: Connection, cluster_id: UUID, wanted: RequestFilter, before: UUID | None, limit: int
) -> list[StoredRequest]:
    """Requests of a cluster that meet the filter, newest first, from the first one older than `before`."""
    conditions = _matching(cluster_id, wanted)
    if before is not None:
        conditions.append(_columns.id < before)
    query = select(certificate_requests).where(*conditions).order_by(_columns.id.desc()).limit(limit)
    return [_request(row) for row in connection.execute(query)]


def page_by_name(
    connection: Connection, cluster_id: UUID, wanted: RequestFilter, after: str | None, limit: int
) -> list[StoredRequest]:
    """Requests of a cluster that meet the filter, by their names, the first ones after `after`."""
    conditions = _matching(cluster_id, wanted, after)
    query = select(certificate_requests).where(*conditions).order_by(_columns.name).limit(limit)
    return [_request(row) for row in connection.execute(query)]


def count_by_name(
    connection: Connection, cluster_id: UUID, wanted: RequestFilter, after: str | None, most: int
) -> int:
    """How many `page_by_name` would give, `most` at most: of a flood nobody needs to know how many there are."""
    found = select(_columns.name).where(*_matching(cluster_id, wanted, after)).limit(most).subquery()
    return int(connection.execute(select(func.count()).select_from(found)).scalar_one())


def _matching(cluster_id: UUID, wanted: RequestFilter, after: str | None = None) -> list[ColumnElement[bool]]:
    conditions = [_columns.cluster_id == cluster_id]
    for name in ("state", "profile", "node", "username", "name"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(_columns[name] == value)
    for key, value in wanted.labels:
        label = _columns.labels[key].as_string()
        conditions.append(label.is_not(None) if value is None else label == value)
    return conditions if after is None else [*conditions, _columns.name > after]


def has_pending(connection: Connection, cluster_id: UUID, username: str | None, most: int) -> bool:
    """Whether so many requests (of one requester, or all) wait in a cluster."""
    conditions = [_columns.cluster_id == cluster_id, _columns.state == RequestState.PENDING.value]
    if username is not None:
        conditions.append(_columns.username == username)
    return _has(connection, conditions, most)


def has_kept(connection: Connection, cluster_id: UUID, username: str | None, most: int) -> bool:
    """Whether so many requests (of one requester, or all) are kept in a cluster, decided ones too."""
    conditions = [_columns.cluster_id == cluster_id]
    if username is not None:
        conditions.append(_columns.username == username)
    return _has(connection, conditions, most)


def _has(connection: Connection, conditions: list[ColumnElement[bool]], most: int) -> bool:
    # The last one of so many: the index is read that far, and nothing is counted.
    query = select(_columns.cluster_id).where(*conditions).offset(most - 1).limit(1)
    return connection.execute(query).first() is not None


def pending_by_cluster(connection: Connection) -> dict[UUID, int]:
    """How many requests wait in each cluster where any do."""
    query = (
        select(_columns.cluster_id, func.count().label("waiting"))
        .where(_columns.state == RequestState.PENDING.value)
        .group_by(_columns.cluster_id)
    )
    return {row.cluster_id: row.waiting for row in connection.execute(query)}


def approved_before(
    connection: Connection, moment: datetime, after: tuple[datetime, UUID] | None, limit: int
) -> list[StoredRequest]:
    """Requests that were approved before the moment and are not issued yet, by when that was and their ids.

    The first ones after `after`: those that cannot be issued do not keep back the others.
    """
    conditions = [_columns.state == RequestState.APPROVED.value, _columns.decided_at < moment]
    if after is not None:
        decided_at, request_id = after
        is_later = (_columns.decided_at == decided_at) & (_columns.id > request_id)
        conditions.append((_columns.decided_at > decided_at) | is_later)
    order = (_columns.decided_at, _columns.id)
    query = select(certificate_requests).where(*conditions).order_by(*order).limit(limit)
    return [_request(row) for row in connection.execute(query)]


def remove(connection: Connection, request_id: UUID) -> None:
    """Remove a request."""
    connection.execute(delete(certificate_requests).where(_columns.id == request_id))


def due(connection: Connection, moment: datetime, limit: int) -> dict[UUID, UUID]:
    """The clusters of requests whose time has come, by the ids of those, the oldest first."""
    query = select(_columns.id, _columns.cluster_id).where(_columns.collect_at <= moment)
    found = connection.execute(query.order_by(_columns.collect_at).limit(limit))
    return {row.id: row.cluster_id for row in found}


def collect(connection: Connection, moment: datetime, ids: Collection[UUID]) -> list[StoredRequest]:
    """Remove those of the requests whose time has (still) come; give what they were."""
    query = select(certificate_requests).where(_columns.id.in_(sorted(ids)), _columns.collect_at <= moment)
    # Another process collects others.
    rows = connection.execute(query.order_by(_columns.id).with_for_update(skip_locked=True)).all()
    if rows:
        connection.execute(delete(certificate_requests).where(_columns.id.in_([row.id for row in rows])))
    return [_request(row) for row in rows]


def _request(row: Row[Any]) -> StoredRequest:
    own = {name: getattr(row, name) for name in _FIELDS}
    own |= {
        "usages": tuple(row.usages),
        "conditions": tuple(row.conditions),
        "managed_fields": tuple(row.managed_fields or ()),
        "state": RequestState(row.state),
    }
    by = {name: getattr(row, name) for name in _SUBMITTED} | {"groups": tuple(row.groups)}
    return StoredRequest(submitted=Submitted(**by), **own)
