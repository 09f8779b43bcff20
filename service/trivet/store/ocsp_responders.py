"""The certificates and keys by which OCSP responses are signed: one for each generation, for all processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from trivet.store.authorities import GenerationState
from trivet.store.tables import certificates, generations, ocsp_responders

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from typing import Any
    from uuid import UUID

    from sqlalchemy import ColumnElement, Connection, Row

_COLUMNS = ocsp_responders.c


@dataclass(frozen=True, slots=True)
class StoredResponder:
    """A responder's certificate and key.

    Attributes:
        generation_id: whose certificates it speaks for, and which issued it.
        certificate_id: of its own certificate.
        certificate: DER.
        private_key: PKCS#8, encrypted; only `signing` can open it. Kept out of the repr.
        renew_at: when the next one is due.
    """

    generation_id: UUID
    certificate_id: UUID
    certificate: bytes
    private_key: bytes = field(repr=False)
    renew_at: datetime


def find(connection: Connection, generation_id: UUID) -> StoredResponder | None:
    """The responder of a generation; None where none was made yet."""
    row = connection.execute(
        select(ocsp_responders).where(
            _COLUMNS.generation_id == generation_id, _COLUMNS.certificate.is_not(None)
        )
    ).first()
    return _responder(row) if row else None


def take_lease(connection: Connection, generation_id: UUID, now: datetime, until: datetime) -> bool:
    """Take the right to make the next responder of a generation, unless another process has it."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    first = {"generation_id": generation_id, "renew_at": now}
    connection.execute(dialect.insert(ocsp_responders).values(first).on_conflict_do_nothing())
    taken = update(ocsp_responders).where(_COLUMNS.generation_id == generation_id, _is_free(now))
    return connection.execute(taken.values(leased_until=until)).rowcount == 1


def give_back(connection: Connection, generation_id: UUID, until: datetime) -> None:
    """Give a lease back, by its end, so that whoever asks next may try; nothing where another process has it now."""
    held = update(ocsp_responders).where(
        _COLUMNS.generation_id == generation_id, _COLUMNS.leased_until == until
    )
    connection.execute(held.values(leased_until=None))


def put(connection: Connection, responder: StoredResponder) -> None:
    """Store the next responder of a generation in the place of the one before, and give the lease back."""
    connection.execute(
        update(ocsp_responders)
        .where(_COLUMNS.generation_id == responder.generation_id)
        .values(
            certificate_id=responder.certificate_id,
            certificate=responder.certificate,
            private_key=responder.private_key,
            renew_at=responder.renew_at,
            leased_until=None,
        )
    )


def due(connection: Connection, now: datetime, limit: int) -> list[UUID]:
    """The generations whose next responder is due, and whose lease nobody holds; the longest overdue first."""
    query = (
        select(_COLUMNS.generation_id)
        .join(generations, generations.c.id == _COLUMNS.generation_id)
        .where(
            _COLUMNS.renew_at <= now,
            generations.c.state != GenerationState.RETIRED,
            _is_free(now),
        )
        .order_by(_COLUMNS.renew_at)
        .limit(limit)
    )
    return list(connection.scalars(query))


def first_to_end(connection: Connection) -> tuple[datetime, timedelta] | None:
    """When the responder's certificate ends that ends first, of those that the chore looks after; and its lifetime."""
    query = (
        select(certificates.c.not_after, certificates.c.issued_at)
        .join(ocsp_responders, _COLUMNS.certificate_id == certificates.c.id)
        .join(generations, generations.c.id == _COLUMNS.generation_id)
        .where(generations.c.state != GenerationState.RETIRED)
        .order_by(certificates.c.not_after)
        .limit(1)
    )
    first = connection.execute(query).first()
    return (first.not_after, first.not_after - first.issued_at) if first is not None else None


def _is_free(now: datetime) -> ColumnElement[bool]:
    return or_(_COLUMNS.leased_until.is_(None), _COLUMNS.leased_until <= now)


def _responder(row: Row[Any]) -> StoredResponder:
    return StoredResponder(
        row.generation_id, row.certificate_id, row.certificate, row.private_key, row.renew_at
    )
