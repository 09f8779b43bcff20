"""Seal: make a checkpoint, which the service authority signs, of all chains as they stand.

One process does so at a time, when something has changed. Of its own chains it seals what it knows to have stored, not
what the database says of them; so whoever cuts off the end of a chain while its writer lives is found out.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trivet.authority.metrics import measures
from trivet.authority.proof.ledger import signed
from trivet.pki.proof.lines import AUDIT_CHAIN, digest, time_text
from trivet.store import audit, chains
from trivet.store.chains import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.pki.proof.lines import Line
    from trivet.store.chains import Head, StoredChain

_log = logging.getLogger(__name__)
_PAGE = 500


@dataclass(frozen=True, slots=True)
class _Found:
    """What a checkpoint is made of.

    Attributes:
        now: its time.
        last: the one before it; `sealed` are the ends of the chains that it left open.
        heads: the ends of all open chains now.
        closing: numbers of those that nobody writes to any more.
    """

    now: datetime
    last: Checkpoint | None
    sealed: Mapping[int, Head]
    heads: Mapping[int, Head]
    closing: frozenset[int]

    @property
    def is_news(self) -> bool:
        return bool(self.closing) or self.heads != self.sealed

    @property
    def new_records(self) -> int:
        return sum(position - self.sealed.get(one, (0,))[0] for one, (position, _) in self.heads.items())


def seal(authority: Authority, *, unless_younger: timedelta | None = None) -> Checkpoint | None:
    """Make a checkpoint, and give it; None where nothing has changed since the last one.

    Args:
        authority: the context.
        unless_younger: do nothing where the last one is younger.

    Raises:
        UnavailableError: the database cannot be reached, or the service authority's key does not open.
    """
    if unless_younger is not None and _is_younger(authority, unless_younger):
        return None
    # Asked before the database is: a chain may be longer there than this process says, but never shorter.
    own = authority.ledger.heads()
    with authority.database.write() as connection:
        chains.lock_sealing(connection)
        stored = chains.last_checkpoint(connection)
        last = authority.ledger.newest(stored)
        if last != stored:
            _log.critical(
                "the newest checkpoint that was made is not in the database: checkpoints were removed"
            )
        found = _look(connection, last, authority.clock(), own)
        if not found.is_news:
            return None
        made = _make(authority, connection, found)
    authority.ledger.newest(made)
    return made


def _is_younger(authority: Authority, age: timedelta) -> bool:
    with authority.database.read() as connection:
        last = chains.last_checkpoint(connection)
    return last is not None and authority.clock() - last.made_at < age


def _look(connection: Connection, last: Checkpoint | None, now: datetime, own: Mapping[int, Head]) -> _Found:
    sealed = chains.heads_of(json.loads(last.line)) if last else {}
    # Decisions first: the changes of entries that they know of are then in the audit trail that is read after.
    heads: dict[int, Head] = {}
    closing = set()
    for chain in chains.open_chains(connection):
        if chain.number != AUDIT_CHAIN:
            heads[chain.number] = _head(connection, chain, sealed, own)
            if chain.expires_at is not None and chain.expires_at <= now:
                closing.add(chain.number)
    heads[AUDIT_CHAIN] = chains.audit_head(connection)
    return _Found(now, last, sealed, heads, frozenset(closing))


def _head(
    connection: Connection, chain: StoredChain, sealed: Mapping[int, Head], own: Mapping[int, Head]
) -> Head:
    stored = chains.stored_head(connection, chain)
    for known in (own.get(chain.number), sealed.get(chain.number)):
        if known is None or known[0] < stored[0]:
            continue
        if known != stored and known is own.get(chain.number):
            measures.proof_is_damaged()
            _log.critical(
                "chain %d should end with record %d, but the database has %d: records were changed or removed",
                chain.number, known[0], stored[0],
            )  # fmt: skip
        # What was sealed or is known to be stored stays so, though the records were pruned or tampered with.
        return known
    return stored


def _make(
    authority: Authority,
    connection: Connection,
    found: _Found,
    pruned: Sequence[Line] = (),
) -> Checkpoint:
    number = found.last.number + 1 if found.last else 1
    before = json.loads(found.last.line) if found.last else {}
    body = {
        "type": "checkpoint",
        "number": number,
        "madeAt": time_text(found.now),
        "previous": found.last.sha256 if found.last else None,
        "chains": chains.described_heads(found.heads, found.closing),
        "opened": max(before.get("opened", 0), *found.heads),
        "records": before.get("records", 0) + found.new_records,
        "sets": _changed_sets(connection, found),
        "pruned": list(pruned),
    }
    line = signed(authority, connection, body)
    checkpoint = Checkpoint(number, found.now, line.decode(), digest(line), prunes=bool(pruned))
    chains.add_checkpoint(connection, checkpoint)
    chains.close(connection, found.closing, number)
    return checkpoint


def _changed_sets(connection: Connection, found: _Found) -> list[Line]:
    """The revocation sets that changed since the last checkpoint, at their versions now."""
    place, until = found.sealed.get(AUDIT_CHAIN, (0,))[0], found.heads[AUDIT_CHAIN][0]
    versions: dict[str, int] = {}
    while place < until:
        for record in audit.of_chain(connection, place, min(_PAGE, until - place)):
            for changed in sets_changed_by(record.details):
                versions[changed["scope"]] = changed["version"]
            place = record.position or until
    return [{"scope": scope, "version": version} for scope, version in sorted(versions.items())]


def sets_changed_by(details: Mapping[str, Any]) -> list[Line]:
    """The revocation sets that an audit record says to have changed."""
    return [*details.get("sets", ()), *([details["set"]] if "set" in details else ())]
