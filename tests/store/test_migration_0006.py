"""The proof begins in a database that is in use: what stood before is named by its hash, and nothing is lost."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text
from tests.support.clock import Clock
from tests.support.proof import complaints, exported, verified
from tests.support.revocation_objects import entry
from tests.support.world import World, make_authority, prepare_database

from trivet.pki.proof.lines import parse
from trivet.pki.revocation import EntryKind
from trivet.store import migrate


def test_a_database_that_was_used_before_there_was_a_proof_verifies_from_then_on(database_url: str) -> None:
    clock = Clock()
    prepare_database(database_url, clock)
    world = World(make_authority(database_url, clock), clock)
    world.make_cluster()
    old = world.issue(node="old")
    world.revoke(
        entry(EntryKind.COMMON_NAME, "evil"), entry(EntryKind.DNS, ".example", clock.now + timedelta(1))
    )
    gone = world.revoke(entry(EntryKind.IP, "10.0.0.0/8"), cluster=None)
    world.delete(gone, cluster=None)
    with world.authority.database.read() as connection:
        before = [
            row[0] for row in connection.execute(text("SELECT id FROM audit_records WHERE position > 1"))
        ]
    migrate.downgrade(world.authority.database, "0005")
    migrate.upgrade(world.authority.database)
    world = World(make_authority(database_url, clock), clock)
    new = world.issue(node="new")
    world.renew(old.stored)
    world.revoke(entry(EntryKind.GROUP, "nobody"))
    lines = exported(world.authority)
    report = verified(world.authority, lines)
    assert complaints(report) == []
    assert (report.decisions, report.changes) == (2, 2)
    first = next(parse(line) for line in lines if b'"type":"audit"' in line)
    assert first["action"] == "proof.begin"
    assert first["details"]["decisionsBefore"] == 1
    assert first["details"]["auditRecordsBefore"] == len(before)
    assert [(one["entries"], one["version"]) for one in first["details"]["sets"]] == [(0, 2), (2, 1)]
    assert str(new.stored.decision_id).encode() in b"".join(lines)
    with world.authority.database.write() as connection:
        connection.execute(text("UPDATE revocation_entries SET value = 'good' WHERE value = 'evil'"))
    forged = complaints(verified(world.authority, exported(world.authority)))
    assert any("that stood when the proof began" in complaint for complaint in forged), forged
    world.authority.database.dispose()
