"""Authorities and the generations of their keys and certificates."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from trivet.pki.errors import NotFoundError
from trivet.pki.keys import spki_sha256
from trivet.pki.pem import from_der
from trivet.pki.profiles import AuthorityName
from trivet.store.tables import authorities, generations

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from trivet.pki.keys import PublicKey


class GenerationState(StrEnum):
    """Where a generation stands in the life of its authority."""

    STAGED = "staged"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"


IN_BUNDLE = (GenerationState.ACTIVE, GenerationState.STAGED, GenerationState.RETIRING)


@dataclass(frozen=True, slots=True)
class Generation:
    """One key and certificate of an authority.

    Attributes:
        certificate: the CA certificate, DER.
        private_key: PKCS#8, encrypted; only `signing` can open it. Kept out of the repr.
    """

    id: UUID
    authority_id: UUID
    name: AuthorityName
    state: GenerationState
    certificate: bytes
    private_key: bytes = field(repr=False)
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority of a cluster, or (without one) Trivet's own."""

    id: UUID
    cluster_id: UUID | None
    name: AuthorityName


_GENERATION = select(generations, authorities.c.name).join(authorities)


def add(connection: Connection, authority: Authority) -> None:
    """Store a new authority, as yet without generations."""
    connection.execute(
        insert(authorities).values(id=authority.id, cluster_id=authority.cluster_id, name=authority.name)
    )


def add_generation(connection: Connection, generation: Generation) -> None:
    """Store a generation."""
    connection.execute(
        insert(generations).values(
            id=generation.id,
            authority_id=generation.authority_id,
            state=generation.state,
            certificate=generation.certificate,
            private_key=generation.private_key,
            spki_sha256=spki_sha256(from_der(generation.certificate).public_key()),
            created_at=generation.created_at,
        )
    )


def holds_key(connection: Connection, key: PublicKey) -> bool:
    """Whether any generation of any authority has that key."""
    query = select(generations.c.id).where(generations.c.spki_sha256 == spki_sha256(key))
    return connection.execute(query).first() is not None


def active_generation(connection: Connection, cluster_id: UUID | None, name: AuthorityName) -> Generation:
    """The generation that signs.

    Raises:
        NotFoundError: the authority has none.
    """
    query = _GENERATION.where(
        authorities.c.cluster_id.is_not_distinct_from(cluster_id),
        authorities.c.name == name,
        generations.c.state == GenerationState.ACTIVE,
    )
    row = connection.execute(query).first()
    if row is None:
        message = f"the authority {name} has no active generation"
        raise NotFoundError(message)
    return _generation(row)


def all_generations(connection: Connection, cluster_id: UUID | None) -> list[Generation]:
    """Every generation of a cluster's authorities, oldest first."""
    query = _GENERATION.where(authorities.c.cluster_id.is_not_distinct_from(cluster_id))
    return [_generation(row) for row in connection.execute(query.order_by(generations.c.id))]


def generation(connection: Connection, generation_id: UUID) -> Generation:
    """The generation of that id, which exists."""
    return _generation(connection.execute(_GENERATION.where(generations.c.id == generation_id)).one())


def owner(connection: Connection, authority_id: UUID) -> Authority:
    """The authority of that id, which exists."""
    row = connection.execute(select(authorities).where(authorities.c.id == authority_id)).one()
    return Authority(row.id, row.cluster_id, AuthorityName(row.name))


def _generation(row: Row[Any]) -> Generation:
    return Generation(
        row.id,
        row.authority_id,
        AuthorityName(row.name),
        GenerationState(row.state),
        row.certificate,
        row.private_key,
        row.created_at,
    )
