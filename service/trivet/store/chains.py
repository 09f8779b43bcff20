"""Chains of records, and the checkpoints that seal them.

A chain of decisions has one writer, which knows its end (`Chain`); so issuing waits for nobody. The audit trail is
one chain, whose writers take turns at its row (`store.audit`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypedDict

import orjson
from sqlalchemy import func, insert, select, text, update

from trivet.pki.proof.lines import AUDIT_CHAIN, digest, time_text
from trivet.store.tables import chains, checkpoints, decisions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from trivet.pki.proof.lines import Line
    from trivet.store.decisions import Decision

Head = tuple[int, str]
"""The position of a chain's last record, and its hash; at 0 that of the opening."""


class Place(TypedDict):
    """The place of a record, as its members have it. Making the record with it costs half of linking it later."""

    chain: int
    position: int
    previous_sha256: str


# Advisory locks, as partitions._MAKING: of whoever opens a chain, and of whoever makes a checkpoint.
_OPENING, _SEALING = -4, -5


def line_of(record: Decision) -> bytes:
    """A decision as its line: what `pki.proof.lines.canonical` makes of it, ten times as fast."""
    return orjson.dumps(
        {
            "action": record.action,
            "certificateSha256": record.certificate_sha256,
            "chain": record.chain,
            "cluster": str(record.cluster_id) if record.cluster_id else None,
            "clusterVersion": record.cluster_version,
            "considered": record.considered,
            "decidedAt": time_text(record.decided_at),
            "detail": record.detail,
            "globalVersion": record.global_version,
            "id": str(record.id),
            "identity": record.identity,
            "parentSerialNumber": record.parent_serial,
            "position": record.position,
            "previous": record.previous_sha256,
            "profile": record.profile,
            "reason": record.reason,
            "requestId": record.request_id,
            "requestSha256": record.request_sha256,
            "requester": record.requester,
            "serialNumber": record.serial,
            "type": "decision",
            "verdict": record.verdict,
        },
        option=orjson.OPT_SORT_KEYS,
    )


class Chain:
    """The end of a chain of decisions, in the hands of its one writer.

    Attributes:
        number: of the chain.
        head: the last record that is known to be stored.
        trusted_until: the writer lets go of it then, unless it is renewed.
    """

    __slots__ = ("_next", "head", "number", "trusted_until")

    def __init__(self, number: int, head: Head, trusted_until: datetime) -> None:
        """Take a chain whose last record is `head`."""
        self.number, self.head, self.trusted_until = number, head, trusted_until
        self._next: Head | None = None

    @property
    def place(self) -> Place:
        """The place of the next record."""
        position, previous = self._next or self.head
        return {"chain": self.number, "position": position + 1, "previous_sha256": previous}

    def link(self, record: Decision) -> Decision:
        """Let a record that was made for the next place stand there; it counts once the transaction has committed."""
        position, previous = self._next or self.head
        if (record.chain, record.position, record.previous_sha256) != (self.number, position + 1, previous):
            message = "the record was made for another place"
            raise ValueError(message)
        self._next = (position + 1, digest(line_of(record)))
        return record

    @property
    def is_in_doubt(self) -> bool:
        """Whether records were linked of which is not known whether they are stored."""
        return self._next is not None

    def settle(self) -> None:
        """Note that what was linked is stored."""
        self.head, self._next = self._next or self.head, None


@dataclass(frozen=True, slots=True)
class StoredChain:
    """A chain that no checkpoint has closed.

    Attributes:
        opening: its first line.
        expires_at: nobody writes to it from then on.
        head: of the audit trail.
    """

    number: int
    opening: str
    expires_at: datetime | None
    head: Head


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint: what was signed, with its signature."""

    number: int
    made_at: datetime
    line: str
    sha256: str
    prunes: bool = False


_STORED: Final = tuple(Checkpoint.__dataclass_fields__)


def lock_opening(connection: Connection) -> int:
    """Keep others from opening a chain until the transaction ends; give the number that is next."""
    _lock(connection, _OPENING)
    return 1 + int(connection.scalar(select(func.max(chains.c.number))) or AUDIT_CHAIN)


def add(
    connection: Connection, number: int, opening: bytes, opened_at: datetime, expires_at: datetime
) -> str:
    """Store a new chain; give the hash that its first record carries."""
    head = digest(opening)
    row = {"number": number, "opening": opening.decode(), "opened_at": opened_at, "expires_at": expires_at}
    connection.execute(insert(chains).values(**row, position=0, head=head))
    return head


def expire(connection: Connection, numbers: Collection[int], expires_at: datetime) -> set[int]:
    """Note until when chains are written to, later than before or earlier; give those that are not closed yet."""
    query = (
        update(chains)
        .where(chains.c.number.in_(list(numbers)), chains.c.closed_in.is_(None))
        .values(expires_at=expires_at)
        .returning(chains.c.number)
    )
    return set(connection.scalars(query)) if numbers else set()


def expire_all(connection: Connection, now: datetime) -> None:
    """Let the next checkpoint close every chain of decisions: those who wrote to them are gone."""
    is_open = chains.c.closed_in.is_(None) & (chains.c.number != AUDIT_CHAIN)
    connection.execute(update(chains).where(is_open).values(expires_at=now))


def close(connection: Connection, numbers: Collection[int], checkpoint: int) -> None:
    """Note which checkpoint closed chains."""
    if numbers:
        closed = update(chains).where(chains.c.number.in_(list(numbers))).values(closed_in=checkpoint)
        connection.execute(closed)


def open_chains(connection: Connection) -> list[StoredChain]:
    """The chains that are not closed, by number."""
    query = select(chains).where(chains.c.closed_in.is_(None)).order_by(chains.c.number)
    return [
        StoredChain(row.number, row.opening, row.expires_at, (row.position, row.head))
        for row in connection.execute(query)
    ]


def audit_head(connection: Connection) -> Head:
    """The last record of the audit trail."""
    query = select(chains.c.position, chains.c.head).where(chains.c.number == AUDIT_CHAIN)
    position, head = connection.execute(query).one()
    return position, head


def openings(connection: Connection, after: int, until: int) -> list[str]:
    """The first lines of the chains with those numbers."""
    query = select(chains.c.opening).where(chains.c.number > after, chains.c.number <= until)
    return list(connection.scalars(query.order_by(chains.c.number)))


def stored_head(connection: Connection, chain: StoredChain) -> Head:
    """The last record of a chain of decisions that the database has; that of the opening where it has none."""
    from trivet.store.decisions import of_chain  # noqa: PLC0415  which needs the form of its lines from here

    last = connection.scalar(select(func.max(decisions.c.position)).where(decisions.c.chain == chain.number))
    if last is None:
        return chain.head
    return last, digest(line_of(of_chain(connection, chain.number, last - 1, 1)[0]))


def lock_sealing(connection: Connection) -> None:
    """Keep others from making a checkpoint until the transaction ends."""
    _lock(connection, _SEALING)


def _lock(connection: Connection, key: int) -> None:
    if connection.dialect.name != "sqlite":  # BEGIN IMMEDIATE holds the database already
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def last_checkpoint(connection: Connection) -> Checkpoint | None:
    """The newest checkpoint."""
    row = connection.execute(select(checkpoints).order_by(checkpoints.c.number.desc()).limit(1)).first()
    return Checkpoint(**{name: getattr(row, name) for name in _STORED}) if row else None


def checkpoint_before(connection: Connection, moment: datetime) -> Checkpoint | None:
    """The newest checkpoint made before a time."""
    query = select(checkpoints).where(checkpoints.c.made_at < moment)
    row = connection.execute(query.order_by(checkpoints.c.number.desc()).limit(1)).first()
    return Checkpoint(**{name: getattr(row, name) for name in _STORED}) if row else None


def last_checkpoint_number(connection: Connection, until: datetime | None) -> int:
    """The number of the first checkpoint at or after a time, or of the newest; 0 where there is none."""
    if until is not None:
        query = select(func.min(checkpoints.c.number)).where(checkpoints.c.made_at >= until)
        if number := connection.scalar(query):
            return int(number)
    return int(connection.scalar(select(func.max(checkpoints.c.number))) or 0)


def checkpoint_page(connection: Connection, after: int, limit: int) -> list[Checkpoint]:
    """Checkpoints by number, from the one after `after`."""
    query = select(checkpoints).where(checkpoints.c.number > after).order_by(checkpoints.c.number)
    rows = connection.execute(query.limit(limit))
    return [Checkpoint(**{name: getattr(row, name) for name in _STORED}) for row in rows]


def pruning_checkpoints(connection: Connection) -> list[str]:
    """The lines of all checkpoints that say that records were pruned."""
    query = select(checkpoints.c.line).where(checkpoints.c.prunes).order_by(checkpoints.c.number)
    return list(connection.scalars(query))


def add_checkpoint(connection: Connection, checkpoint: Checkpoint) -> None:
    """Store a checkpoint."""
    connection.execute(insert(checkpoints).values({name: getattr(checkpoint, name) for name in _STORED}))


def heads_of(line: Mapping[str, Any]) -> dict[int, Head]:
    """The chains that a checkpoint leaves open, with their ends."""
    return {one["chain"]: (one["position"], one["head"]) for one in line["chains"] if not one["closed"]}


def described_heads(heads: Mapping[int, Head], closed: Collection[int]) -> Sequence[Line]:
    """Chains as a checkpoint has them."""
    return [
        {"chain": number, "position": position, "head": head, "closed": number in closed}
        for number, (position, head) in sorted(heads.items())
    ]
