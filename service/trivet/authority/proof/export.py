"""Export the proof of what was decided, as lines that `pki.proof` verifies without Trivet or its database.

An export holds what checkpoints seal, checkpoint by checkpoint, so that it can be made and verified in a stream. What
is sealed never changes, so the export need not be one transaction.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from trivet.authority.access import Permission, authorize, authorized_cluster
from trivet.authority.proof.seal import seal
from trivet.pki.proof.lines import AUDIT_CHAIN, FORMAT, RESTORED, canonical, digest, time_text
from trivet.store import audit, chains, decisions, history
from trivet.store.clusters import ALL_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from typing import Any
    from uuid import UUID

    from sqlalchemy import Connection

    from trivet.authority.access import Requester
    from trivet.authority.context import Authority
    from trivet.pki.proof.lines import Line
    from trivet.store.audit import AuditRecord
    from trivet.store.chains import Checkpoint
    from trivet.store.clusters import Cluster
    from trivet.store.decisions import Decision

_PAGE: Final = 500


@dataclass(slots=True)
class Export:
    """One export on its way.

    Attributes:
        cluster_id: shown are the records of this cluster only; None for all.
        scopes: the revocation sets whose history is shown; None for all.
        anchor: the checkpoint that it begins at; None for the beginning.
        last: number of the checkpoint that it ends with.
        heads: how far each open chain was shown.
    """

    authority: Authority
    cluster_id: UUID | None
    scopes: frozenset[UUID] | None
    anchor: Checkpoint | None
    last: int
    heads: dict[int, int] = field(default_factory=dict)
    opened: int = 0
    lines: int = 0
    hashed: Any = field(default_factory=hashlib.sha256)

    def pages(self, heading: Line) -> Iterator[bytes]:
        """The export, some lines at a time; each page is read in a transaction of its own."""
        with self.authority.database.read() as connection:
            pruned = [
                {"type": "pruning", "checkpoint": line} for line in chains.pruning_checkpoints(connection)
            ]
            first = chains.openings(connection, 0, AUDIT_CHAIN)
        yield self._page([canonical(heading), *map(canonical, pruned), *(line.encode() for line in first)])
        self.heads[AUDIT_CHAIN], self.opened = 0, AUDIT_CHAIN
        number = 0
        if self.anchor is not None:
            yield from self._begin_at(self.anchor)
            number = self.anchor.number
        while number < self.last:
            with self.authority.database.read() as connection:
                found = chains.checkpoint_page(connection, number, min(_PAGE, self.last - number))
            for checkpoint in found:
                yield from self._checkpoint(checkpoint)
                number = checkpoint.number
            if not found:
                break
        end = {
            "type": "end",
            "lines": self.lines,
            "checkpoint": number or None,
            "sha256": self.hashed.hexdigest(),
        }
        yield canonical(end) + b"\n"

    def _page(self, lines: Iterable[bytes]) -> bytes:
        page = bytearray()
        for line in lines:
            page += line + b"\n"
            self.lines += 1
        self.hashed.update(page)
        return bytes(page)

    def _begin_at(self, checkpoint: Checkpoint) -> Iterator[bytes]:
        """The audit trail from its beginning, without which entries have no history; then the checkpoint."""
        line = json.loads(checkpoint.line)
        heads = chains.heads_of(line)
        yield from self._audit_trail(heads[AUDIT_CHAIN][0])
        self.heads = {number: position for number, (position, _) in heads.items()}
        self.opened = line["opened"]
        yield self._page([checkpoint.line.encode()])

    def _checkpoint(self, checkpoint: Checkpoint) -> Iterator[bytes]:
        """What a checkpoint seals anew, the audit trail first; then the checkpoint."""
        line = json.loads(checkpoint.line)
        with self.authority.database.read() as connection:
            opened = chains.openings(connection, self.opened, line["opened"])
        if opened:
            yield self._page(one.encode() for one in opened)
        self.opened = line["opened"]
        for sealed in line["chains"]:
            if sealed["chain"] == AUDIT_CHAIN:
                yield from self._audit_trail(sealed["position"])
        for sealed in line["chains"]:
            if sealed["chain"] != AUDIT_CHAIN:
                yield from self._decisions(sealed)
        yield self._page([checkpoint.line.encode()])

    def _audit_trail(self, until: int) -> Iterator[bytes]:
        while (place := self.heads[AUDIT_CHAIN]) < until:
            with self.authority.database.read() as connection:
                found = audit.of_chain(connection, place, min(_PAGE, until - place))
                lines = [line for record in found for line in self._audit_lines(connection, record)]
            if not found:
                return  # records are missing, as the verification will find
            self.heads[AUDIT_CHAIN] = found[-1].position or until
            yield self._page(_joined(lines))

    def _audit_lines(self, connection: Connection, record: AuditRecord) -> Iterator[bytes | Line]:
        shown = self.cluster_id in {None, record.cluster_id} or self._shows(ALL_CLUSTERS, record)
        if not shown:
            yield _omitted(AUDIT_CHAIN, record.position or 0, audit.line_of(record))
            return
        for scope, version in history.begun_sets(record):
            if self.scopes is None or scope in self.scopes:
                yield from history.standing_lines(connection, scope, version)
        changed = history.changed_set(record)
        if changed is not None:
            yield history.changed_in(connection, *changed)
        yield audit.line_of(record)

    def _shows(self, scope: UUID, record: AuditRecord) -> bool:
        """Whether a record about no cluster is shown in an export of one: changes of entries that hold in it are.

        So are the beginning and each restore, which say at which versions the sets went on.
        """
        if record.position == 1 or record.action == RESTORED:
            return True
        changed = history.changed_set(record)
        return changed is not None and changed[0] == scope and (self.scopes is None or scope in self.scopes)

    def _decisions(self, sealed: Line) -> Iterator[bytes]:
        chain, until = sealed["chain"], sealed["position"]
        place = self.heads.get(chain, 0)
        while place < until:
            with self.authority.database.read() as connection:
                found = decisions.of_chain(connection, chain, place, min(_PAGE, until - place))
            found = [record for record in found if (record.position or 0) <= until]
            lines: list[bytes | Line] = []
            for record in found:
                lines += self._decision_lines(chain, place, record)
                place = record.position or until
            if not found:
                lines, place = [_gap(chain, place + 1, until, sealed["head"])], until
            yield self._page(_joined(lines))
        self.heads[chain] = until

    def _decision_lines(self, chain: int, place: int, record: Decision) -> Iterator[bytes | Line]:
        position = record.position or 0
        if position > place + 1:
            yield _gap(chain, place + 1, position - 1, record.previous_sha256 or "")
        line = chains.line_of(record)
        is_shown = self.cluster_id in {None, record.cluster_id}
        yield line if is_shown else _omitted(chain, position, line)


def _omitted(chain: int, position: int, line: bytes) -> Line:
    """In place of a record that is not shown."""
    return _run(chain, position, position, digest(line), pruned=False)


def _gap(chain: int, first: int, last: int, sha256: str) -> Line:
    """In place of records that the database does not have (any more)."""
    return _run(chain, first, last, sha256, pruned=True)


def _run(chain: int, first: int, last: int, sha256: str, *, pruned: bool) -> Line:
    return {"type": "omitted", "chain": chain, "from": first, "to": last, "sha256": sha256, "pruned": pruned}


def _joined(lines: Iterable[bytes | Line]) -> Iterator[bytes]:
    """The lines, records in a row that are not shown as one."""
    run: Line | None = None
    for line in lines:
        if isinstance(line, bytes):
            if run is not None:
                yield canonical(run)
            run = None
            yield line
        elif run is not None and run["pruned"] == line["pruned"] and run["to"] + 1 == line["from"]:
            run = {**run, "to": line["to"], "sha256": line["sha256"]}
        else:
            if run is not None:
                yield canonical(run)
            run = line
    if run is not None:
        yield canonical(run)


def export(
    authority: Authority,
    requester: Requester,
    *,
    cluster: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Iterator[bytes]:
    """Seal what there is, and export it; whoever belongs to one cluster gets what concerns that one.

    Args:
        authority: the context.
        requester: needs `audit:read`.
        cluster: show the records of this cluster only, and of the others nothing but hashes.
        since: begin at the last checkpoint before that time; the audit trail begins at its beginning all the same.
        until: end with the first checkpoint at or after that time.

    Raises:
        AccessDeniedError: the requester may not read the audit trail, or only that of another cluster.
        NotFoundError: there is no such cluster.
    """
    with authority.database.read() as connection:
        now = authority.clock()
        found: Cluster | None = None
        if cluster is not None:
            found = authorized_cluster(connection, requester, Permission.READ_AUDIT, cluster, now)
        else:
            authorize(requester, Permission.READ_AUDIT, requester.cluster_id, now)
    seal(authority)
    cluster_id = found.id if found else requester.cluster_id
    scopes = None
    if cluster_id is not None:
        # What holds in all clusters is not for those to see who belong to one.
        scopes = frozenset({cluster_id} if requester.cluster_id else {cluster_id, ALL_CLUSTERS})
    with authority.database.read() as connection:
        anchor = chains.checkpoint_before(connection, since) if since else None
        last = chains.last_checkpoint_number(connection, until)
    heading = {
        "type": "export",
        "format": FORMAT,
        "exportedAt": time_text(now),
        "anchor": anchor.number if anchor else None,
        "cluster": str(cluster_id) if cluster_id else None,
        "scopes": sorted(map(str, scopes)) if scopes is not None else None,
    }
    return Export(authority, cluster_id, scopes, anchor, last).pages(heading)
