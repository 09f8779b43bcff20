"""Publish CRLs: at once when a certificate was revoked, and again well before the last one is too old.

What there is to do is read from the database, so it does not matter which process revoked, nor whether it lived to
publish. Any number of processes may publish: the number of a CRL is taken in the transaction that stores it, and of two
that were made from the same state only one is stored; the other never leaves.
"""

from __future__ import annotations

import logging
import struct
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from time import perf_counter
from typing import TYPE_CHECKING, Final

from trivet.authority.metrics import measures
from trivet.authority.status.crl_memory import CrlMemory
from trivet.pki.crl import CrlPlan, assemble_crl, check_crl, crl_of, is_signed_by
from trivet.pki.crl_entries import Entries, check_entries, encode_entry
from trivet.pki.errors import Refusal, UnavailableError
from trivet.pki.locations import crl_path, issuer_path, shard_of
from trivet.pki.plan import WronglySignedError
from trivet.signing.encryption import WrongKeyError
from trivet.store import authorities, clusters, crls, revocations
from trivet.store.clusters import ALL_CLUSTERS
from trivet.store.crls import Crl, CrlContent, CrlList

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.context import Authority
    from trivet.signing.file import Opened
    from trivet.store.authorities import Generation

_log = logging.getLogger(__name__)
_RENEWED_AFTER: Final = 1 / 4  # of the lifetime: a database may be away for the rest of it
_JITTER: Final = 1 / 10  # of that, so that what was made at one time is not made anew at one time


_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FROM_THE_FUTURE: Final = "the CRL %s of %s was published by a clock that was ahead (%s); making it anew"
_NOT_OURS: Final = "the CRL %s of %s is stored otherwise than it was published; making it anew"


@dataclass(frozen=True, slots=True)
class _State:
    """What a CRL is made from: the list, its newest CRL, and how far revocation has come."""

    listed: CrlList
    before: Crl | None
    cluster: str
    generation: Generation
    cluster_version: int
    global_version: int

    def from_nothing(self) -> _State:
        """The same, of a list that lacks everything, and is due."""
        empty = replace(self.listed, cluster_version=0, global_version=0, renew_at=_LONG_AGO)
        return replace(self, listed=empty)


class Publisher:
    """Publishes the CRLs of all authorities. One thread of a process has one; others go on meanwhile."""

    def __init__(self, authority: Authority, memory: CrlMemory | None = None) -> None:
        """Take the context, and where large CRLs are kept from one time to the next."""
        self._authority = authority
        self._memory = memory or CrlMemory()

    def begin(self) -> int:
        """Make the lists that are missing: of what was created lately, or since more shards are wanted."""
        with self._authority.database.write() as connection:
            return begin_lists(self._authority, connection)

    def publish_all(self) -> int:
        """Publish whatever is to be published, what was revoked first.

        Returns:
            how many lists are left that lack a revocation: another process may be at them, and publish what it knows.

        Raises:
            UnavailableError: the database cannot be reached; what is missing is missing still, and is done next time.
        """
        database = self._authority.database
        with database.read() as connection:
            marked = crls.marked_lists(connection)
        left = sum(not self._publish_or_log(list_id) for list_id in marked)
        with database.read() as connection:
            due = crls.due_lists(connection, self._authority.clock(), _latest(self._authority))
        for list_id in due:
            self._publish_or_log(list_id)
        with database.read() as connection:
            is_behind = crls.is_any_behind(connection)
        if is_behind:
            with database.write() as connection:
                crls.pass_over(connection)
        return left

    def _publish_or_log(self, list_id: UUID) -> bool:
        """Publish one, and say whether it is done with; whatever is wrong with it must not keep the others.

        One that failed is done with for now: the next look takes it up again.

        Raises:
            UnavailableError: it is not the list: the database answers nothing at all.
        """
        try:
            return self.publish(list_id)
        except Exception as error:  # noqa: BLE001  of one list; the turn of the others comes all the same
            is_told = isinstance(error, WronglySignedError | WrongKeyError | Refusal)
            # A database that is away for a while is no defect: the next round publishes.
            level = logging.WARNING if isinstance(error, UnavailableError) else logging.CRITICAL
            _log.log(level, "a CRL was not published: %s", error, exc_info=not is_told)
            measures.crl_failed()
            if isinstance(error, UnavailableError):
                with self._authority.database.read() as connection:
                    crls.is_any_behind(connection)
            return True

    def publish(self, list_id: UUID) -> bool:
        """Make the next CRL of a list, where there is a reason to, and publish it.

        Returns:
            whether it now tells of everything; else another process is at it.

        Raises:
            WronglySignedError: it did not come out as planned, and nothing was published.
            WrongKeyError: the authority's key does not open.
        """
        began = perf_counter()
        authority = self._authority
        with authority.database.read() as connection:
            if not crls.take_turn(connection, list_id):
                return False
            state = _state(connection, list_id)
            entries = self._entries(connection, state)
            if entries is None:
                state, entries = state.from_nothing(), Entries()
            has_news = _add_marks(authority, connection, state, entries)
            if not has_news and state.listed.renew_at > authority.clock():
                return self._pass_over(state)
            # On PostgreSQL the turn is kept until it is stored.
            crl, made = _made(authority, state, entries)
            is_stored = self._store(state, crl, made)
        if is_stored:
            self._memory.keep(crl, made)
            measures.crl_published(state.cluster, state.generation.name, perf_counter() - began)
        return is_stored

    def _entries(self, connection: Connection, state: _State) -> Entries | None:
        """Those of the newest CRL, without what has expired; None where all are to be read anew.

        That is where the CRL is not what was published, or is from the future: then what it says has expired has not.
        """
        if state.before is None:
            return Entries()
        if state.before.published_at > _latest(self._authority):
            told = state.before.published_at.isoformat()
            _log.warning(_FROM_THE_FUTURE, state.before.number, state.listed.id, told)
            return None
        found = self._memory.take(state.before)
        if found is None:
            found = crls.content(connection, state.listed.id, state.before.number)
            # Whoever can write to the database must not have something signed that this authority did not sign.
            opened = _opened(self._authority, state.generation)
            if found is None or not _is_ours(state.before, found, opened):
                _log.critical(_NOT_OURS, state.before.number, state.listed.id)
                return None
        entries = _restored(state.before, found)
        if entries is not None:
            entries.drop_expired(state.before.this_update)
        return entries

    def _pass_over(self, state: _State) -> bool:
        with self._authority.database.write() as connection:
            crls.cover(connection, state.listed, state.cluster_version, state.global_version)
        return True

    def _store(self, state: _State, crl: Crl, made: CrlContent) -> bool:
        lifetime = crl.next_update - crl.this_update
        pause = lifetime * _RENEWED_AFTER * (1 - _JITTER * (crl.number % 100) / 100)
        changed = replace(
            state.listed,
            cluster_version=state.cluster_version,
            global_version=state.global_version,
            renew_at=crl.published_at + pause,
        )
        number = state.listed.number
        with self._authority.database.write() as connection:
            return crls.store(connection, number, changed, crl, made)


def begin_lists(authority: Authority, connection: Connection, only: UUID | None = None) -> int:
    """Make the lists that are missing, of a cluster or of all; say how many there are now to be published."""
    now, chosen = authority.clock(), authority.policy.publication
    return crls.begin_lists(
        connection, chosen.shards, chosen.base_url, lambda: authority.new_id(now), only=only
    )


def _state(connection: Connection, list_id: UUID) -> _State:
    listed = crls.get_list(connection, list_id)
    # Before the marks are read: whatever is committed later has a later version, and is left for the next time.
    versions = revocations.versions(connection, {listed.cluster_id, ALL_CLUSTERS})
    return _State(
        listed,
        crls.newest(connection, list_id),
        clusters.name_of(connection, listed.cluster_id),
        authorities.generation(connection, listed.generation_id),
        versions[listed.cluster_id],
        versions[ALL_CLUSTERS],
    )


def _opened(authority: Authority, generation: Generation) -> Opened:
    return authority.keyring.open(generation.id, generation.certificate, generation.private_key)


def _is_ours(crl: Crl, content: CrlContent, opened: Opened) -> bool:
    digest = sha256(content.der).hexdigest()
    return digest == crl.sha256 and is_signed_by(content.der, opened.signer.public_key)


def _restored(crl: Crl, content: CrlContent) -> Entries | None:
    """The entries of a CRL; None where its layout, which no signature covers, is not what was stored."""
    try:
        entries = Entries.restore(memoryview(content.der)[content.entries_offset :], content.layout)
    except (ValueError, struct.error):
        entries = None
    if entries is None or entries.count != crl.entries:
        _log.critical(_NOT_OURS, crl.number, crl.list_id)
        return None
    return entries


def _add_marks(authority: Authority, connection: Connection, state: _State, entries: Entries) -> bool:
    """List the certificates that were marked since; say whether there are any."""
    listed, before, now = state.listed, entries.count, authority.clock()
    cutoff = min(state.before.this_update, now) if state.before else now
    for marks in crls.marks(connection, listed, state.cluster_version, state.global_version, cutoff):
        mine = [mark for mark in marks if shard_of(mark.entry.serial, listed.shard.of) == listed.shard]
        encoded = [encode_entry(mark.entry) for mark in mine]
        check_entries([mark.entry for mark in mine], encoded)
        entries.add((mark.not_after, octets) for mark, octets in zip(mine, encoded, strict=True))
    return entries.count > before


def _latest(authority: Authority) -> datetime:
    """When a CRL was published at the latest, unless the clock was ahead: its thisUpdate is not in the future."""
    return authority.clock() + authority.policy.backdate


def _moment(authority: Authority, state: _State) -> datetime:
    """When the next CRL is published: in a later second than the one before, as thisUpdate and Last-Modified tell."""
    now = authority.clock()
    if state.before is None or state.before.published_at > _latest(authority):
        return now
    return max(now, state.before.published_at + timedelta(seconds=1))


def _made(authority: Authority, state: _State, entries: Entries) -> tuple[Crl, CrlContent]:
    opened = _opened(authority, state.generation)
    now = _moment(authority, state)
    plan = _plan(authority, state, opened, now)
    assembled = assemble_crl(plan, entries)
    signature = opened.signer.sign(assembled.tbs)
    signed = crl_of(assembled, plan.issuer.algorithm, signature)
    check_crl(plan, signed, assembled, entries.count, opened.signer.public_key)
    crl = Crl(
        state.listed.id,
        plan.number,
        now,
        plan.this_update,
        plan.next_update,
        entries.count,
        sha256(signed.der).hexdigest(),
    )
    return crl, CrlContent(signed.der, signed.entries_offset, entries.layout())


def _plan(authority: Authority, state: _State, opened: Opened, now: datetime) -> CrlPlan:
    listed, publication = state.listed, authority.policy.publication
    # A client whose clock is behind refuses a CRL from the future, and with it every certificate.
    this_update = (now - authority.policy.backdate).replace(microsecond=0)
    path = crl_path(
        issuer_path(state.cluster, state.generation.name, opened.issuer.key_identifier), listed.shard
    )
    return CrlPlan(
        opened.issuer,
        this_update,
        this_update + authority.policy.backdate + publication.crl_lifetime,
        # A clock's, where it is ahead of what was: then a database that was restored takes no number a second time.
        max(listed.number + 1, int(now.timestamp() * 1000)),
        tuple(f"{base_url}{path}" for base_url in listed.base_urls),
    )
