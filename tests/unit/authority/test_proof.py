"""What is exported verifies; whatever is changed, dropped, inserted or put out of order is found, with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Connection, Executable, delete, insert, select, text, update
from tests.support.clock import Clock
from tests.support.proof import complaints, exported, verified, verified_by
from tests.support.revocation_objects import entry
from tests.support.world import World, make_authority, prepare_database

from trivet.authority.access import Requester, Role
from trivet.authority.install import service_certificate
from trivet.authority.proof import seal as sealing
from trivet.authority.proof.seal import seal
from trivet.pki.errors import AccessDeniedError, RevokedError
from trivet.pki.keys import PublicKey
from trivet.pki.pem import from_der
from trivet.pki.proof.lines import canonical, digest, parse
from trivet.pki.revocation import EntryKind
from trivet.store import chains as chains_store
from trivet.store import decisions as decisions_store
from trivet.store import issuing
from trivet.store.issuing import Results
from trivet.store.tables import (
    audit_records,
    chains,
    checkpoints,
    decisions,
    revocation_entries,
)

Line = dict[str, Any]


class Proof(NamedTuple):
    """A genuine export, and the key that signed its checkpoints."""

    lines: list[bytes]
    key: PublicKey

    def complaints(self, lines: list[bytes]) -> list[str]:
        return complaints(verified_by([self.key], lines))


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    """Give an export of a world that was used, for tests that lay hands on it and not on the world."""
    clock = Clock()
    url = f"sqlite:///{tmp_path_factory.mktemp('proof') / 'trivet.db'}"
    prepare_database(url, clock)
    world = World(make_authority(url, clock), clock)
    world.make_cluster()
    _use(world)
    key = from_der(service_certificate(world.authority)).public_key()
    found = Proof(exported(world.authority), key)
    world.authority.database.dispose()
    return found


@pytest.fixture
def genuine(proof: Proof) -> list[bytes]:
    """Give the lines of the export, to be changed."""
    return list(proof.lines)


@pytest.fixture
def used(world: World) -> World:
    """Give a world in which two checkpoints seal issuances, renewals, refusals and revocations of two clusters."""
    _use(world)
    return world


def _use(world: World) -> None:
    world.make_cluster("green")
    first = world.issue()
    renewed = world.renew(first.stored)
    world.issue("kubelet-serving", "node-2", cluster="green", hosts=("a.example", "10.0.0.7"))
    world.revoke(entry(EntryKind.DNS, ".example"), entry(EntryKind.GROUP, "nobody"), name="bans")
    world.clock.advance(seconds=1)
    seal(world.authority)
    banned = world.revoke(entry(EntryKind.SERIAL_NUMBER, first.stored.serial))
    everywhere = world.revoke(entry(EntryKind.COMMON_NAME, "system:node:evil"), cluster=None)
    with pytest.raises(RevokedError):
        world.renew(renewed.stored)
    with pytest.raises(RevokedError):
        world.issue(node="evil")
    world.delete(banned)
    world.issue(node="good")
    world.clock.advance(seconds=1)
    seal(world.authority)
    world.delete(everywhere, cluster=None)
    world.issue(node="evil")
    world.clock.advance(seconds=1)


def _kinds(lines: list[bytes]) -> list[str]:
    return [parse(line)["type"] for line in lines]


def _found(world: World, lines: list[bytes] | None = None) -> list[str]:
    return complaints(verified(world.authority, exported(world.authority) if lines is None else lines))


def test_what_is_exported_verifies(used: World) -> None:
    lines = exported(used.authority)
    report = verified(used.authority, lines)
    assert complaints(report) == []
    assert (report.decisions, report.changes, report.checkpoints) == (7, 8, 3)
    assert report.checkpoint == (3, digest(lines[-2]), parse(lines[-2])["madeAt"])
    kinds = _kinds(lines)
    assert kinds[0] == "export"
    assert kinds[-2:] == ["checkpoint", "end"]


def test_a_record_carries_the_hash_of_the_line_before_it_in_its_chain(used: World) -> None:
    lines = exported(used.authority)
    of_chain = [line for line in lines if parse(line).get("chain") == 2]
    assert [parse(line).get("previous") for line in of_chain[1:]] == [digest(line) for line in of_chain[:-1]]


def test_the_same_is_exported_again(used: World) -> None:
    first, second = exported(used.authority), exported(used.authority)
    assert first[1:-1] == second[1:-1]


def test_nothing_new_makes_no_checkpoint(used: World) -> None:
    assert seal(used.authority) is not None
    assert seal(used.authority) is None


def test_a_checkpoint_that_is_young_is_enough(used: World) -> None:
    seal(used.authority)
    used.issue(node="node-7")
    assert seal(used.authority, unless_younger=timedelta(minutes=1)) is None
    used.clock.advance(minutes=1)
    assert seal(used.authority, unless_younger=timedelta(minutes=1)) is not None


# An export that somebody has laid hands on. What they cannot do is sign.


def _altered(line: bytes, **changed: object) -> bytes:
    return canonical({**parse(line), **changed})


def _fields() -> list[tuple[str, str]]:
    fields = {
        "decision": (
            "action certificateSha256 chain cluster clusterVersion considered decidedAt detail globalVersion id"
            " identity parentSerialNumber position previous profile reason requestId requestSha256 requester"
            " serialNumber verdict"
        ),
        "audit": "action chain cluster details id object position previous recordedAt requestId requester",
        "checkpoint": "chains key madeAt number opened previous pruned records sets signature",
        "chain": "after chain key kind openedAt signature",
        "entries": "added removed scope version",
        "export": "anchor cluster exportedAt format scopes",
        "end": "checkpoint lines sha256",
    }
    return [(kind, name) for kind, names in fields.items() for name in names.split()]


def _other(value: object) -> object:  # noqa: PLR0911  a case for each type
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str() if value.endswith("Z"):
            return value[:-2] + ("1Z" if value[-2] != "1" else "2Z")
        case str():
            return value[:-1] + ("0" if value[-1] != "0" else "1")
        case list():
            return value[:-1] if value else [{}]
        case dict():
            return {**value, "more": 1}
        case _:
            return "x"


@pytest.mark.parametrize(("kind", "field"), _fields())
def test_a_field_that_was_changed_is_found_at_its_place(
    proof: Proof, genuine: list[bytes], kind: str, field: str
) -> None:
    lines = genuine
    of_kind = [number for number, found in enumerate(_kinds(lines)) if found == kind]
    number = of_kind[len(of_kind) // 2]
    line = parse(lines[number])
    lines[number] = _altered(lines[number], **{field: _other(line[field])})
    found = proof.complaints(lines)
    assert found
    if kind in {"decision", "audit"} and field not in {"chain", "position", "id"}:
        place = f"chain {line['chain']}, position {line['position']}, record {line['id']}"
        assert any(place in complaint for complaint in found), found
    if kind == "checkpoint" and field != "number":
        assert any(f"checkpoint {line['number']}" in complaint for complaint in found), found
    if kind == "chain" and field != "chain":
        assert any(f"chain {line['chain']}" in complaint for complaint in found), found


def _index(lines: list[bytes], kind: str, which: int = 1) -> int:
    return [number for number, found in enumerate(_kinds(lines)) if found == kind][which]


@pytest.mark.parametrize("kind", ["decision", "audit", "checkpoint", "entries", "chain", "export", "end"])
def test_a_line_that_was_dropped_is_found(proof: Proof, genuine: list[bytes], kind: str) -> None:
    lines = genuine
    number = _index(lines, kind, 1 if kind not in {"export", "end"} else 0)
    line = parse(lines.pop(number))
    found = proof.complaints(lines)
    assert found
    if kind in {"decision", "audit"}:
        assert f"records {line['position']} to {line['position']} before it are missing" in found[0]
        assert f"chain {line['chain']}, position {line['position'] + 1}, record " in found[0]


@pytest.mark.parametrize("kind", ["decision", "audit", "checkpoint", "chain"])
def test_lines_that_changed_places_are_found(proof: Proof, genuine: list[bytes], kind: str) -> None:
    lines = genuine
    one, other = _index(lines, kind, 0), _index(lines, kind, 1)
    lines[one], lines[other] = lines[other], lines[one]
    assert proof.complaints(lines)


@pytest.mark.parametrize("kind", ["decision", "audit", "checkpoint", "entries", "chain", "end"])
def test_a_line_that_stands_twice_is_found(proof: Proof, genuine: list[bytes], kind: str) -> None:
    lines = genuine
    number = _index(lines, kind, 1 if kind != "end" else 0)
    lines.insert(number, lines[number])
    assert proof.complaints(lines)


def test_a_record_that_was_inserted_is_found_though_all_hashes_after_it_were_made_anew(
    proof: Proof, genuine: list[bytes]
) -> None:
    lines = genuine
    number = _index(lines, "decision", 0)
    forged = _altered(lines[number], requester="token:somebody-else")
    rest = _rehashed([*lines[: number + 1], _altered(forged, position=2), *lines[number + 1 :]], chain=2)
    found = proof.complaints(rest)
    assert any("checkpoint 1 seals" in complaint and "chain 2" in complaint for complaint in found), found


def _rehashed(lines: list[bytes], chain: int) -> list[bytes]:
    """Make positions and hashes of a chain right again, as anybody can; the checkpoints they cannot sign."""
    made: list[bytes] = []
    position, head = 0, ""
    for raw in lines:
        line = parse(raw)
        if line.get("chain") == chain and "position" in line:
            position += 1
            raw = canonical({**line, "position": position, "previous": head})  # noqa: PLW2901
        if line.get("chain") == chain:
            head = digest(raw)
        made.append(raw)
    return made


def test_a_chain_that_somebody_else_opened_is_found(used: World) -> None:
    used.authority.ledger._idle.clear()
    used.issue(node="node-8")
    lines = exported(used.authority)
    number = _index(lines, "chain", 2)
    forged = _altered(lines[number], openedAt="2020-01-01T00:00:00.000000Z")
    lines = _rehashed([*lines[:number], forged, *lines[number + 1 :]], chain=3)
    assert any("chain 3: it was not opened by the service authority" in one for one in _found(used, lines))


def test_a_checkpoint_that_another_key_signed_is_found(
    used: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    url = f"sqlite:///{tmp_path_factory.mktemp('other') / 'trivet.db'}"
    prepare_database(url, Clock())
    other = make_authority(url, Clock())
    lines = exported(used.authority)
    stranger = next(line for line in exported(other) if parse(line)["type"] == "checkpoint")
    lines[_index(lines, "checkpoint", 0)] = stranger
    assert any(
        "checkpoint 1: it was not signed by the service authority" in one for one in _found(used, lines)
    )


@pytest.mark.parametrize("left", range(1, 12))
def test_an_export_that_was_cut_off_is_found(proof: Proof, genuine: list[bytes], left: int) -> None:
    lines = genuine
    assert any("cut off" in complaint for complaint in proof.complaints(lines[:-left]))


def test_an_older_export_is_told_from_a_newer_one_by_a_checkpoint_noted_elsewhere(used: World) -> None:
    old = exported(used.authority)
    used.issue(node="node-9")
    number, sha256, _ = verified(used.authority, exported(used.authority)).checkpoint or (0, "", "")
    assert verified(used.authority, old).is_sound
    report = verified(used.authority, old, {number: sha256})
    assert complaints(report) == [
        f"{len(old)}: checkpoint {number}: it is known from elsewhere, but is not in this export"
    ]
    assert verified(used.authority, exported(used.authority), {number: sha256}).is_sound
    wrong = verified(used.authority, exported(used.authority), {number: "0" * 64})
    assert "not the one that is known from elsewhere" in complaints(wrong)[0]


def test_a_space_more_is_found(proof: Proof, genuine: list[bytes]) -> None:
    lines = genuine
    number = _index(lines, "decision")
    lines[number] = json.dumps(parse(lines[number])).encode()
    assert any("canonical" in complaint for complaint in proof.complaints(lines))


@pytest.mark.parametrize(
    "noise", [b"", b"null", b"[]", b"{}", b'{"type":"decision"}', b"\xff", b'{"type":1}', b"[" * 100_000]
)
def test_noise_is_a_finding_and_no_defect(proof: Proof, genuine: list[bytes], noise: bytes) -> None:
    lines = genuine
    lines[7] = noise
    assert proof.complaints(lines)


# A database that somebody has laid hands on, who can write everywhere but has no key.


def _tamper(world: World, *statements: Executable) -> list[str]:
    with world.authority.database.write() as connection:
        for statement in statements:
            connection.execute(statement)
    return _found(world)


SECOND = (decisions.c.chain == 2) & (decisions.c.position == 2)


@pytest.mark.parametrize(
    "values",
    [
        {"requester": "token:other"},
        {"verdict": "refused"},
        {"cluster_version": 7},
        {"considered": [{"entry": "x", "matched": False}]},
        {"identity": None},
        {"serial": "abc"},
        {"certificate_sha256": "00" * 32},
        {"request_sha256": "00" * 32},
        {"position": 20},
        {"chain": 1},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_decision_that_was_changed_in_the_database_is_found(used: World, values: dict[str, object]) -> None:
    found = _tamper(used, update(decisions).where(SECOND).values(values))
    assert any("chain 2" in complaint for complaint in found), found


def test_a_decision_that_was_removed_from_the_database_is_found(used: World) -> None:
    found = _tamper(used, delete(decisions).where(SECOND))
    assert any(
        "chain 2, position 2 to 2" in one and "no checkpoint says that they were pruned" in one
        for one in found
    )


def test_an_audit_record_that_was_removed_from_the_database_is_found(used: World) -> None:
    found = _tamper(used, delete(audit_records).where(audit_records.c.position == 3))
    assert "chain 1, position 4" in found[0]
    assert "records 3 to 3 before it are missing" in found[0]


@pytest.mark.parametrize(
    "values",
    [
        {"value": ".other"},
        {"kind": "CommonName"},
        {"include_renewed": False},
        {"added_in": 2},
        {"removed_in": 1},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_forged_history_of_an_entry_is_found(used: World, values: dict[str, object]) -> None:
    forged = update(revocation_entries).where(revocation_entries.c.value == ".example").values(values)
    found = _tamper(used, forged)
    assert any("are not those that it names" in complaint for complaint in found), found
    assert any("chain 1, position 4" in complaint for complaint in found), found


def test_an_entry_that_was_removed_behind_trivets_back_is_found_by_the_next_decision(used: World) -> None:
    used.revoke(entry(EntryKind.COMMON_NAME, "system:node:gone"), name="gone")
    with used.authority.database.write() as connection:
        connection.execute(text("DELETE FROM revocation_entry_keys WHERE value = 'system:node:gone'"))
    issued = used.issue(node="gone")
    found = _found(used)
    assert any(str(issued.stored.decision_id) in one and "which stood" in one for one in found), found


def test_a_mark_that_was_taken_away_is_found_by_the_renewal_that_it_lets_pass(used: World) -> None:
    victim = used.issue(node="victim")
    used.clock.advance(hours=1)
    ban = used.revoke(entry(EntryKind.SERIAL_NUMBER, victim.stored.serial), name="ban")
    used.delete(ban)
    with used.authority.database.write() as connection:
        connection.execute(text("UPDATE certificates SET revoked_at = NULL, revoked_by = NULL"))
    renewed = used.renew(victim.stored)
    found = _found(used)
    assert any(str(renewed.stored.decision_id) in one and "had revoked" in one for one in found), found


@pytest.mark.parametrize("number", [1, 2])
def test_checkpoints_that_were_removed_are_found(used: World, number: int) -> None:
    found = _tamper(used, delete(checkpoints).where(checkpoints.c.number == number))
    assert any(f"checkpoint {number} should stand here" in complaint for complaint in found), found


def test_the_end_of_a_living_chain_that_was_cut_off_is_found(used: World) -> None:
    exported(used.authority)
    cut = used.issue(node="node-10")
    found = _tamper(used, delete(decisions).where(decisions.c.id == cut.stored.decision_id))
    assert any("they are missing" in complaint for complaint in found), found


def test_the_unsealed_end_of_a_chain_whose_writer_is_dead_can_be_cut_off_unseen(used: World) -> None:
    """Say what the proof does not do: nobody vouches for what came after the last checkpoint."""
    exported(used.authority)
    cut = used.issue(node="node-10")
    used.authority.ledger._held.clear()
    used.authority.ledger._idle.clear()
    assert _tamper(used, delete(decisions).where(decisions.c.id == cut.stored.decision_id)) == []


def test_a_chain_that_was_inserted_into_the_database_is_found(used: World) -> None:
    with used.authority.database.read() as connection:
        opening = connection.scalar(select(chains.c.opening).where(chains.c.number == 2)) or ""
    forged = canonical({**json.loads(opening), "chain": 3})
    row = {"number": 3, "opening": forged.decode(), "opened_at": used.clock.now, "position": 0}
    found = _tamper(used, insert(chains).values(**row, head=digest(forged)))
    assert any("chain 3: it was not opened by the service authority" in one for one in found), found


def test_a_record_behind_the_end_of_a_closed_chain_is_found(used: World) -> None:
    used.authority.ledger.release(used.authority)
    lines = exported(used.authority)
    last = [line for line in lines if parse(line)["type"] == "decision"][-1]
    forged = _altered(last, position=parse(last)["position"] + 1, previous=digest(last))
    assert any("has closed" in complaint for complaint in _found(used, [*lines[:-1], forged, lines[-1]]))


# Parts of the whole.


def test_an_export_of_one_cluster_shows_nothing_of_others_and_verifies(used: World) -> None:
    lines = exported(used.authority, cluster="green")
    report = verified(used.authority, lines)
    assert complaints(report) == []
    assert (report.decisions, report.omitted) == (1, 10)
    assert b"node-1" not in b"".join(lines)
    assert b"nobody" not in b"".join(lines)


def test_who_belongs_to_a_cluster_gets_that_cluster_and_no_entries_of_all(used: World) -> None:
    blue = used.make_cluster("red")
    auditor = used.admin_of(blue, Role.AUDITOR)
    lines = exported(used.authority, auditor)
    report = verified(used.authority, lines)
    assert complaints(report) == []
    assert report.decisions == 0
    assert b"evil" not in b"".join(lines)
    with pytest.raises(AccessDeniedError):
        exported(used.authority, auditor, cluster="green")
    with pytest.raises(AccessDeniedError):
        exported(used.authority, Requester("token:1", Role.ISSUER))


def test_what_is_left_out_of_an_export_of_all_clusters_is_missed(used: World) -> None:
    lines = exported(used.authority)
    number = _index(lines, "decision", 0)
    line = parse(lines[number])
    lines[number] = canonical(
        {
            "type": "omitted", "chain": line["chain"], "from": line["position"], "to": line["position"],
            "sha256": digest(lines[number]), "pruned": False,
        }
    )  # fmt: skip
    assert any("records are left out" in complaint for complaint in _found(used, lines))


def test_an_export_can_begin_at_a_checkpoint_and_end_with_one(used: World) -> None:
    whole = [parse(line) for line in exported(used.authority)]
    times = [line["madeAt"] for line in whole if line["type"] == "checkpoint"]
    since = used.clock.now - timedelta(seconds=1.5)
    lines = exported(used.authority, since=since)
    report = verified(used.authority, lines)
    assert complaints(report) == []
    assert [parse(line)["number"] for line in lines if parse(line)["type"] == "checkpoint"] == [1, 2, 3]
    assert report.decisions == 4
    until = exported(used.authority, until=since)
    report = verified(used.authority, until)
    assert complaints(report) == []
    assert report.checkpoint == (2, digest(until[-2]), times[1])


def test_a_chain_that_rests_too_long_is_closed_and_another_is_opened(used: World) -> None:
    used.clock.advance(minutes=20)
    used.issue(node="node-11")
    lines = exported(used.authority)
    (closing,) = [
        one
        for line in lines
        if parse(line)["type"] == "checkpoint"
        for one in parse(line)["chains"]
        if one["closed"]
    ]
    assert closing["chain"] == 2
    assert complaints(verified(used.authority, lines)) == []


def test_a_renewed_chain_stays_in_use(used: World) -> None:
    for _ in range(5):
        used.clock.advance(minutes=4)
        used.authority.ledger.renew(used.authority)
        used.issue(node="node-12")
        seal(used.authority)
    assert {parse(line)["chain"] for line in exported(used.authority) if b'"decision"' in line} == {2}


def test_a_commit_of_unknown_outcome_begins_a_new_chain(used: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class LostError(Exception):
        pass

    write = issuing.write

    def lost(connection: Connection, results: Results, now: datetime) -> None:
        write(connection, results, now)
        raise LostError

    monkeypatch.setattr(issuing, "write", lost)
    with pytest.raises(LostError):
        used.issue(node="node-13")
    monkeypatch.setattr(issuing, "write", write)
    used.issue(node="node-14")
    lines = exported(used.authority)
    assert parse([line for line in lines if b'"decision"' in line][-1])["chain"] == 3
    assert complaints(verified(used.authority, lines)) == []


def test_a_transaction_that_fails_before_it_records_keeps_the_chain(
    used: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Callable[..., Any] = issuing.read
    monkeypatch.setattr(issuing, "read", lambda *_: 1 / 0)
    with suppress(ZeroDivisionError):
        used.issue(node="node-13")
    monkeypatch.setattr(issuing, "read", read)
    used.issue(node="node-14")
    assert {parse(line)["chain"] for line in exported(used.authority) if b'"decision"' in line} == {2}


def test_what_a_checkpoint_says_was_pruned_may_be_missing_and_no_more(used: World) -> None:
    exported(used.authority)
    with used.authority.database.write() as connection:
        last = chains_store.last_checkpoint(connection)
        found = sealing._look(connection, last, used.clock.now, {})
        third = decisions_store.of_chain(connection, 2, 2, 1)[0]
        gone = {"chain": 2, "position": 3, "head": digest(chains_store.line_of(third))}
        sealing._make(used.authority, connection, found, [gone])
        connection.execute(delete(decisions).where(decisions.c.chain == 2, decisions.c.position <= 3))
    report = verified(used.authority, exported(used.authority))
    assert complaints(report) == []
    assert (report.pruned, report.decisions) == (3, 4)
    # As a part of the whole, too: what was pruned later explains what is missing earlier.
    until = used.clock.now - timedelta(seconds=1)
    assert complaints(verified(used.authority, exported(used.authority, until=until))) == []
    found_more = _tamper(used, delete(decisions).where(decisions.c.chain == 2, decisions.c.position == 4))
    assert any("no checkpoint says that they were pruned" in complaint for complaint in found_more)


def test_clocks_that_go_back_make_no_false_alarm(used: World) -> None:
    used.clock.advance(hours=3)
    ban = used.revoke(entry(EntryKind.COMMON_NAME, "system:node:n"), name="n")
    used.delete(ban)
    used.clock.advance(hours=-2)
    held = used.issue(node="n")
    used.renew(held.stored)
    assert _found(used) == []
