"""The statements of the hot path: what one batch of issuances reads and writes, in a few round trips.

SQLAlchemy's expressions cost four times the statements themselves here (docs/performance.md), so these are written
for each database's own driver; all else in `store` goes through SQLAlchemy. Both ways read what the other wrote, as
the conformance tests show.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from trivet.pki.profiles import AuthorityName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from trivet.pki.revocation import Key
    from trivet.pki.search import NameKind
    from trivet.store.certificates import StoredCertificate
    from trivet.store.decisions import Decision
    from trivet.store.idempotency import Claim

    AuthorityOf = tuple[UUID | None, AuthorityName]
    Issued = tuple[StoredCertificate, Collection[tuple[NameKind, str]]]
    OfSerial = tuple[str, StoredCertificate | None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a batch has to know before it is decided.

    Attributes:
        scopes: the scopes of revocations, which are locked shared before anything is read.
        authorities: by cluster and name; their active generations sign.
        vouchers: ids of the certificates that vouch for an application.
        tokens: ids of the access tokens that requesters were known by.
        keys: under which the entries are stored that could match.
    """

    scopes: frozenset[UUID]
    authorities: frozenset[AuthorityOf]
    vouchers: frozenset[UUID]
    tokens: frozenset[UUID]
    keys: frozenset[Key]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a certificate that vouches stands now; what was signed of it never changes."""

    superseded_at: datetime | None
    revoked_at: datetime | None
    revoked_by: UUID | None


@dataclass(frozen=True, slots=True)
class Ground:
    """What a batch is decided on, read after the locks were granted.

    Attributes:
        versions: of the revocation set of each scope.
        generations: the id of the active generation of each authority that has one.
        vouchers: those that are still kept.
        tokens: those that still exist.
        entries: ids of the standing entries, of any scope, that are stored under one of the keys.
    """

    versions: Mapping[UUID, int]
    generations: Mapping[AuthorityOf, UUID]
    vouchers: Mapping[UUID, Standing]
    tokens: frozenset[UUID]
    entries: frozenset[UUID]


@dataclass(frozen=True, slots=True)
class Results:
    """What a batch leaves: a decision for each application, a certificate for each that was granted.

    Attributes:
        decisions: their records.
        certificates: with their search keys.
        superseded: ids of the certificates that were renewed.
    """

    decisions: Sequence[Decision]
    certificates: Sequence[Issued] = field(default=())
    superseded: Sequence[UUID] = field(default=())


class Statements(Protocol):
    """The hot path's statements in the words of one driver."""

    def read(self, connection: Connection, wanted: Wanted) -> Ground:
        """Take the locks, then read."""

    def of_serials(self, connection: Connection, serials: Collection[str]) -> list[OfSerial]:
        """Find certificates."""

    def claim(self, connection: Connection, claims: Sequence[Claim], now: datetime) -> list[Claim]:
        """Take Idempotency-Keys; the claim that holds each, in the order of those that were given."""

    def write(self, connection: Connection, results: Results, now: datetime) -> None:
        """Store."""


def read(connection: Connection, wanted: Wanted) -> Ground:
    """Hold the revocation locks of the scopes, shared, until the transaction ends; then read."""
    return _statements(connection).read(connection, wanted)


def of_serials(connection: Connection, serials: Collection[str]) -> list[OfSerial]:
    """The certificates with those serials, of all issuers; None for one that was issued and is no longer kept."""
    return _statements(connection).of_serials(connection, serials)


def claim(connection: Connection, claims: Sequence[Claim], now: datetime) -> list[Claim]:
    """Take Idempotency-Keys, or give the claims that hold them. Waits for concurrent claims of the same keys.

    Returns:
        the claim that now holds each key, in the order of `claims`; of two for one key the first one.
    """
    if not claims:
        return []
    return _statements(connection).claim(connection, claims, now)


def write(connection: Connection, results: Results, now: datetime) -> None:
    """Store what a batch leaves: one statement for each table, however large the batch."""
    _statements(connection).write(connection, results, now)


def ground_of(
    versions: Iterable[Sequence[Any]],
    generations: Iterable[Sequence[Any]],
    vouchers: Iterable[Sequence[Any]],
    tokens: Iterable[str],
    entries: Iterable[str],
) -> Ground:
    """What was found, as rows of texts in the order of `Ground`'s attributes; for the statements of the drivers."""
    return Ground(
        {UUID(scope): version for scope, version in versions},
        {
            (id_of(cluster), AuthorityName(name)): UUID(generation)
            for cluster, name, generation in generations
        },
        {
            UUID(one): Standing(time_of(replaced), time_of(at), id_of(by))
            for one, replaced, at, by in vouchers
        },
        frozenset(map(UUID, tokens)),
        frozenset(map(UUID, entries)),
    )


def id_of(text: str | None) -> UUID | None:
    """The id that a text stands for, if there is one."""
    return UUID(text) if text else None


def time_of(text: str | None) -> datetime | None:
    """The moment that a text stands for, if there is one; in UTC, whether it says so or not."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None


def _statements(connection: Connection) -> Statements:
    # Imported by need: an installation with SQLite alone has no driver for PostgreSQL.
    if connection.dialect.name == "sqlite":
        from trivet.store import issuing_sqlite  # noqa: PLC0415

        return issuing_sqlite.STATEMENTS
    from trivet.store import issuing_postgresql  # noqa: PLC0415

    return issuing_postgresql.STATEMENTS
