"""What a trial has shown: the clients' memory held against every row of the database."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from sqlalchemy import Connection, func, select, text
from tests.faults.journal import UNAVAILABLE, Journal
from tests.faults.load import BOUND

from trivet.store.engine import Database
from trivet.store.tables import certificate_names, certificates, decisions, revocations, serials

RECOVERY_BOUND = 10.0


@dataclass
class Verdict:
    """The violations of each promise, in words; all must be empty.

    Attributes:
        received: certificates that clients have.
        tried_again: of them those that needed more than one request.
        answered_anew: of them those that had been committed when an earlier answer was lost.
        revoked: revocations that were acknowledged.
        unavailable: requests that were answered 503.
        recovery: the longest, in seconds.
        slowest: of all answers, in seconds.
    """

    received: int = 0
    revoked: int = 0
    unavailable: int = 0
    tried_again: int = 0
    answered_anew: int = 0
    recovery: float = 0.0
    recovery_bound: float = RECOVERY_BOUND
    slowest: float = 0.0
    lost: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    past_revocation: list[str] = field(default_factory=list)
    half_stored: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        late = self.recovery > self.recovery_bound
        recovery = [f"it took {self.recovery:.1f} s until the service had recovered"] if late else []
        found = (self.lost, self.duplicates, self.past_revocation, self.half_stored, self.answers, recovery)
        return [violation for kind in found for violation in kind]


def verify(journal: Journal, url: str) -> Verdict:
    """Hold what clients remember against the database, which nothing writes to any more."""
    database = Database(url)
    try:
        with database.read() as connection:
            stored = [dict(row) for row in connection.execute(select(certificates)).mappings()]
            made = [dict(row) for row in connection.execute(select(decisions)).mappings()]
            verdict = _of_answers(journal)
            verdict.answered_anew = _answered_anew(journal, stored)
            verdict.lost += [*_lost(journal, stored, made), *_forgotten(journal, connection)]
            verdict.duplicates += _duplicates(journal, stored)
            verdict.past_revocation += [*_late(journal), *_standing(journal, stored)]
            verdict.half_stored += _half_stored(connection, stored, made)
    finally:
        database.dispose()
    return verdict


def _of_answers(journal: Journal) -> Verdict:
    answers = journal.answers()
    slow = [f"an answer took {a.ended - a.began:.1f} s" for a in answers if a.ended - a.began > BOUND + 1]
    open_ = [f"{wish.identity.node} never got an answer" for wish in journal.wishes if wish.is_open]
    return Verdict(
        received=sum(len(wish.received) for wish in journal.wishes),
        revoked=len(journal.revoked),
        tried_again=sum(wish.tries_until_received > 1 for wish in journal.wishes),
        unavailable=sum(answer.status == UNAVAILABLE for answer in answers),
        recovery=max(journal.recoveries(), default=0.0),
        slowest=max((answer.ended - answer.began for answer in answers), default=0.0),
        answers=[*(answer.oddity for answer in answers if answer.oddity), *slow, *open_],
    )


def _answered_anew(journal: Journal, stored: list[dict[str, Any]]) -> int:
    """How many clients were given what an earlier try of theirs had made."""
    issued = {row["spki_sha256"]: row["issued_at"] for row in stored}
    epoch = datetime.now(UTC) - timedelta(seconds=monotonic())
    return sum(
        issued[wish.spki_sha256]
        < epoch + timedelta(seconds=wish.answers[wish.tries_until_received - 1].began)
        for wish in journal.wishes
        if wish.tries_until_received > 1 and wish.spki_sha256 in issued
    )


def _lost(journal: Journal, stored: list[dict[str, Any]], made: list[dict[str, Any]]) -> Iterator[str]:
    """Certificates that left and are not there, byte for byte, with the record of why they were issued."""
    by_der = {row["der"]: row for row in stored}
    records = {row["id"]: row for row in made}
    for der in (der for wish in journal.wishes for der in wish.received):
        row = by_der.get(der)
        record = records.get(row["decision_id"]) if row else None
        if row is None:
            yield "a certificate that a client has is not in the database"
        elif record is None or record["verdict"] != "issued" or record["serial"] != row["serial"]:
            yield f"the certificate {row['serial']} has no decision record of its own"


def _forgotten(journal: Journal, connection: Connection) -> Iterator[str]:
    standing = select(revocations.c.name).where(revocations.c.deleted_at.is_(None))
    names = Counter(connection.execute(standing).scalars())
    for identity in journal.revoked:
        if names[identity.revocation] != 1:
            yield f"{names[identity.revocation]} revocations {identity.revocation} stand, and one was acknowledged"


def _duplicates(journal: Journal, stored: list[dict[str, Any]]) -> Iterator[str]:
    """Every wish has a key pair of its own, so its certificates are known by their public key."""
    copies = Counter(row["spki_sha256"] for row in stored)
    for wish in journal.wishes:
        if len(wish.received) > 1:
            yield f"the key {wish.key} gave {len(wish.received)} certificates"
        if copies[wish.spki_sha256] > 1:
            yield f"{copies[wish.spki_sha256]} certificates are stored for the key {wish.key}"
    serials = Counter((row["generation_id"], row["serial"]) for row in stored)
    yield from (f"the serial {serial} is there {n} times" for (_, serial), n in serials.items() if n > 1)


def _late(journal: Journal) -> Iterator[str]:
    for wish in journal.wishes:
        if wish.late:
            yield f"{wish.identity.node} got a certificate that it asked for after its revocation"


def _standing(journal: Journal, stored: list[dict[str, Any]]) -> Iterator[str]:
    """Certificates of the revoked: issued after the acknowledgement, or committed without having seen it."""
    by_name = defaultdict(list)
    for row in stored:
        by_name[row["common_name"]].append(row)
    for identity in journal.revoked:
        for row in by_name[identity.common_name]:
            if identity.acknowledged_at is not None and row["issued_at"] > identity.acknowledged_at:
                yield f"{row['serial']} was issued to {identity.node} after its revocation was acknowledged"
            if row["revoked_at"] is None:
                yield f"{row['serial']} of {identity.node}, which is revoked, is not marked"


def _half_stored(
    connection: Connection, stored: list[dict[str, Any]], made: list[dict[str, Any]]
) -> Iterator[str]:
    """Rows without those that belong to them."""
    issued = {row["id"] for row in made if row["verdict"] == "issued"}
    reasons = Counter(row["decision_id"] for row in stored)
    yield from (f"the decision {id_} issued, and there is no certificate" for id_ in issued - set(reasons))
    yield from (f"a certificate has no decision {id_}" for id_ in set(reasons) - issued)
    yield from _unnamed(connection, stored)
    yield from _unnumbered(connection, stored)
    if connection.dialect.name == "sqlite":
        result = connection.execute(text("PRAGMA integrity_check")).scalar_one()
        yield from [] if result == "ok" else [str(result)]


def _unnamed(connection: Connection, stored: list[dict[str, Any]]) -> Iterator[str]:
    """All certificates of a profile have as many names here, so one with fewer has lost some."""
    owner = certificate_names.c.certificate_id
    counted = connection.execute(select(owner, func.count()).group_by(owner))
    names = {row[0]: row[1] for row in counted}
    expected = {row["profile"]: names.get(row["id"], 0) for row in stored}
    for row in stored:
        if not expected[row["profile"]] or names.get(row["id"]) != expected[row["profile"]]:
            yield f"{row['serial']} has {names.get(row['id'], 0)} names, others have {expected[row['profile']]}"
    yield from _strangers(names, stored, "names")


def _unnumbered(connection: Connection, stored: list[dict[str, Any]]) -> Iterator[str]:
    owners = dict.fromkeys(connection.execute(select(serials.c.certificate_id)).scalars())
    yield from (f"{row['serial']} is not among the serials" for row in stored if row["id"] not in owners)
    yield from _strangers(owners, stored, "a serial")


def _strangers(owners: Iterable[object], stored: list[dict[str, Any]], what: str) -> Iterator[str]:
    known = {row["id"] for row in stored}
    yield from (f"{what} of {owner}, which is not there" for owner in owners if owner not in known)
