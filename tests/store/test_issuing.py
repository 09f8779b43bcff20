"""The hot path's statements, on both databases: they write what SQLAlchemy reads, and read what it wrote."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Connection, delete, insert, make_url, text, update
from tests.support import rows
from tests.support.clock import START
from tests.support.refused import refused_write
from tests.support.revocation_objects import entry

from trivet.pki.errors import ConflictError, UnavailableError
from trivet.pki.profiles import AuthorityName
from trivet.pki.revocation import EntryKind, entry_keys
from trivet.pki.search import NameKind, certificate_keys, exactly
from trivet.store import (
    certificates,
    decisions,
    idempotency,
    issuing,
    issuing_postgresql,
    issuing_sqlite,
    migrate,
    revocations,
    tokens,
    turns,
)
from trivet.store.authorities import Generation, GenerationState
from trivet.store.certificates import CertificateFilter, StoredCertificate
from trivet.store.clusters import ALL_CLUSTERS, Cluster
from trivet.store.decisions import Decision
from trivet.store.engine import Database
from trivet.store.idempotency import Claim
from trivet.store.issuing import Results, Standing, Wanted
from trivet.store.tables import certificates as certificate_rows
from trivet.store.tables import revocation_entries, revocation_entry_keys
from trivet.store.tokens import Token

K = EntryKind
ODD = "Grüße \u2028\u2029 'x' \"y\" \\ {z} %s ?"
NOTHING = Wanted(frozenset(), frozenset(), frozenset(), frozenset(), frozenset())


def _certificate(generation: Generation, cluster: Cluster | None, **fields: Any) -> StoredCertificate:  # noqa: ANN401
    plain = StoredCertificate(
        id=rows.new_id(),
        cluster_id=cluster.id if cluster else None,
        authority=generation.name.value,
        generation_id=generation.id,
        serial=f"{rows.new_id().int:x}",
        profile="etcd-peer",
        node="node-1",
        common_name="system:node:node-1",
        spki_sha256="0c" * 32,
        issued_at=START,
        not_before=START - timedelta(minutes=5),
        not_after=START + timedelta(days=4),
        der=b"0\x00\xff\\x",
        parent_id=None,
        decision_id=rows.new_id(),
        requester="token:1",
    )
    return replace(plain, **fields)


def _decision(**fields: Any) -> Decision:  # noqa: ANN401
    plain = Decision(rows.new_id(), START, None, "token:1", "issue", "etcd-peer", "ab" * 32, "issued")
    return replace(plain, **fields)


CERTIFICATES: dict[str, dict[str, Any]] = {
    "plain": {},
    "no node": {"node": None},
    "odd texts": {"node": ODD, "common_name": ODD, "requester": f"certificate:1 ({ODD})"},
    "microseconds": {"issued_at": START.replace(microsecond=1)},
    "no microseconds": {"issued_at": START.replace(microsecond=0)},
    "another offset": {"not_after": START.astimezone(timezone(timedelta(hours=5, minutes=30)))},
    "far away": {"not_after": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)},
    "long ago": {"not_before": datetime(1950, 1, 1, tzinfo=UTC)},
    "parent": {"parent_id": UUID(int=(7 << 76) | 77)},
    "any octet": {"der": bytes(range(256))},
    "seal": {"seal": "5e" * 32},
}
DECISIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "everything": {
        "verdict": "refused",
        "reason": "revoked",
        "detail": ODD,
        "cluster_version": 2**40,
        "global_version": 0,
        "considered": [{"entry": "1", "kind": "DNS", "value": ODD, "notBefore": None, "matched": True}],
        "identity": {"commonName": ODD, "organizations": ["ä", "b"], "dnsNames": [], "ancestors": ["1"]},
        "serial": "ff",
        "parent_serial": "0a",
        "request_id": "r-1",
    },
    "nothing considered": {"considered": [], "identity": {}},
    "no identity": {"identity": None},
    "no microseconds": {"decided_at": START.replace(microsecond=0)},
    "odd profile": {"profile": ascii("\ud800\x00")},
    "looks like JSON": {"detail": '{"a": null}', "profile": "null", "requester": "\\u0041"},
}


@pytest.mark.parametrize("fields", CERTIFICATES.values(), ids=CERTIFICATES)
def test_a_certificate_is_read_as_it_was_written(connection: Connection, fields: dict[str, Any]) -> None:
    cluster = rows.add_cluster(connection)
    written = _certificate(rows.add_generation(connection, cluster), cluster, **fields)
    issuing.write(connection, Results([_decision()], [(written, [])]), START)
    assert certificates.find_one(connection, written.id) == written
    assert certificates.with_serial(connection, written.serial) == [written]
    assert certificates.find_by_serial(connection, cluster.id, written.serial) == written
    assert issuing.of_serials(connection, {written.serial}) == [(written.serial, written)]
    assert issuing.of_serials(connection, {written.serial})[0][1].facts == written.facts  # type: ignore[union-attr]


def test_certificates_are_found_by_their_serials_whoever_issued_them(connection: Connection) -> None:
    blue, red = rows.add_cluster(connection), rows.add_cluster(connection, "red")
    mine, theirs, gone = (
        _certificate(rows.add_generation(connection, cluster, key=key), cluster, serial=serial)
        for key, (cluster, serial) in enumerate([(blue, "77"), (red, "77"), (None, "78")])
    )
    certificates.add_all(connection, [(one, [(NameKind.DNS, "a")]) for one in (mine, theirs, gone)])
    certificates.supersede(connection, [mine.id], START)
    connection.execute(delete(certificate_rows).where(certificate_rows.c.id == gone.id))
    found = issuing.of_serials(connection, ["77", "78", "79", "7"])
    superseded = replace(mine, superseded_at=START)
    assert sorted(found, key=repr) == sorted([("77", superseded), ("77", theirs), ("78", None)], key=repr)
    assert issuing.of_serials(connection, []) == []


@pytest.mark.parametrize("fields", DECISIONS.values(), ids=DECISIONS)
def test_a_decision_is_read_as_it_was_written(connection: Connection, fields: dict[str, Any]) -> None:
    cluster = rows.add_cluster(connection)
    written = _decision(**{"cluster_id": cluster.id} | fields)
    issuing.write(connection, Results([written, _decision()]), START)
    assert decisions.get(connection, written.id) == written


def test_the_decision_of_a_serial_is_found(connection: Connection) -> None:
    cluster = rows.add_cluster(connection)
    record = _decision(cluster_id=cluster.id, serial="77")
    written = _certificate(
        rows.add_generation(connection, cluster), cluster, serial="77", decision_id=record.id
    )
    issuing.write(connection, Results([record], [(written, [])]), START)
    assert decisions.of_serial(connection, cluster.id, "77") == record


def test_certificates_are_found_by_each_of_their_names(connection: Connection) -> None:
    cluster, other = rows.add_cluster(connection), rows.add_cluster(connection, "red")
    named = rows.names("Jürgen", ("team:ä", "b"), ("a.example", "*.b.example", "10.1.2.3", "2001:db8::1"))
    written = [
        (_certificate(rows.add_generation(connection, one, key=key), one), certificate_keys(named))
        for key, one in enumerate((cluster, other))
    ]
    issuing.write(connection, Results([_decision()], written), START)
    for kind, name in certificate_keys(named):
        wanted = CertificateFilter(ranges=(exactly(kind, name),))
        found = certificates.page(connection, cluster.id, wanted, START, None, 10)
        assert found == [written[0][0]], (kind, name)


def test_the_services_own_certificates_are_stored_without_a_cluster(connection: Connection) -> None:
    generation = rows.add_generation(connection, None, AuthorityName.SERVICE)
    written = _certificate(generation, None)
    issuing.write(connection, Results([_decision()], [(written, [(NameKind.DNS, "trivet")])]), START)
    assert certificates.find_one(connection, written.id) == written
    stored = connection.execute(text("SELECT cluster_id FROM certificate_names")).scalar_one()
    assert UUID(str(stored)) == UUID(int=0)


@contextmanager
def _taken_back(connection: Connection) -> Iterator[None]:
    with connection.begin_nested() as savepoint:
        yield
        savepoint.rollback()


def _raw(connection: Connection, table: str) -> list[dict[str, Any]]:
    """Rows as the driver gives them; JSON read, as only what it says counts."""
    found = connection.exec_driver_sql(f"SELECT * FROM {table}").mappings()  # noqa: S608  names of our own tables
    return [
        {
            name: json.loads(value)
            if name in {"considered", "identity"} and isinstance(value, str)
            else value
            for name, value in row.items()
        }
        for row in found
    ]


def test_both_ways_of_writing_leave_the_same_rows(connection: Connection) -> None:
    cluster = rows.add_cluster(connection)
    generation = rows.add_generation(connection, cluster)
    keys = certificate_keys(rows.names("cn", ("o",), ("a.example", "10.1.2.3")))
    issued = [(_certificate(generation, cluster, **fields), keys) for fields in CERTIFICATES.values()]
    records = [_decision(**fields) for fields in DECISIONS.values()]
    tables = ("certificates", "serials", "certificate_names", "decisions")

    def by_hand() -> None:
        issuing.write(connection, Results(records, issued), START)

    def by_expression() -> None:
        decisions.add_all(connection, records)
        certificates.add_all(connection, issued)

    found = []
    for write in (by_hand, by_expression):
        with _taken_back(connection):
            write()
            found.append({table: _raw(connection, table) for table in tables})
    assert [len(left) for left in found[0].values()] == [len(issued), len(issued), len(issued) * len(keys), 7]
    for table in tables:
        ordered = [sorted(left[table], key=repr) for left in found]
        assert ordered[0] == ordered[1], table


def test_what_is_renewed_is_superseded_once(connection: Connection) -> None:
    cluster = rows.add_cluster(connection)
    parent = _certificate(rows.add_generation(connection, cluster), cluster)
    other = replace(parent, id=rows.new_id(), serial="0e")
    issuing.write(connection, Results([_decision()], [(parent, []), (other, [])]), START)
    for hours in (1, 2):
        later = START + timedelta(hours=hours)
        issuing.write(connection, Results([_decision()], superseded=[parent.id]), later)
    found = certificates.find_all(connection, [parent.id, other.id])
    assert found[parent.id].superseded_at == START + timedelta(hours=1)
    assert found[other.id].superseded_at is None
    (standing,) = _read(connection, vouchers=frozenset({parent.id})).vouchers.values()
    assert standing == Standing(START + timedelta(hours=1), None, None)


def _read(connection: Connection, **wanted: frozenset[Any]) -> issuing.Ground:
    return issuing.read(connection, replace(NOTHING, **wanted))


def test_nothing_wanted_is_nothing_found(connection: Connection) -> None:
    rows.add_all_clusters(connection)
    ground = _read(connection)
    assert ground == issuing.Ground({}, {}, {}, frozenset(), frozenset())


def test_versions_are_those_of_the_scopes_that_are_asked_for(connection: Connection) -> None:
    rows.add_all_clusters(connection)
    blue, red = rows.add_cluster(connection), rows.add_cluster(connection, "red")
    rows.add_revocation(connection, blue.id, entry(K.DNS, "a.example"))
    rows.add_revocation(connection, blue.id, entry(K.DNS, "b.example"), name="second")
    wanted = frozenset({blue.id, ALL_CLUSTERS, rows.new_id()})
    assert _read(connection, scopes=wanted).versions == {blue.id: 2, ALL_CLUSTERS: 0}
    assert _read(connection, scopes=frozenset({red.id})).versions == {red.id: 0}


def test_generations_are_the_active_ones_of_each_cluster_and_of_the_service(connection: Connection) -> None:
    blue, red = rows.add_cluster(connection), rows.add_cluster(connection, "red")
    made = {
        (cluster.id if cluster else None, name): rows.add_generation(connection, cluster, name, key=key)
        for key, (cluster, name) in enumerate(
            [
                (blue, AuthorityName.CLUSTER),
                (blue, AuthorityName.ETCD),
                (red, AuthorityName.CLUSTER),
                (None, AuthorityName.SERVICE),
            ]
        )
    }
    old = made[blue.id, AuthorityName.CLUSTER]
    rows.add_generation(connection, blue, key=9, state=GenerationState.STAGED, authority_id=old.authority_id)
    found = _read(connection, authorities=frozenset(made)).generations
    assert {owner: found[owner] for owner in made} == {owner: one.id for owner, one in made.items()}
    found = _read(connection, authorities=frozenset({(red.id, AuthorityName.CLUSTER)})).generations
    assert found == {(red.id, AuthorityName.CLUSTER): made[red.id, AuthorityName.CLUSTER].id}


def test_a_generation_that_was_replaced_is_not_given_again(connection: Connection) -> None:
    cluster = rows.add_cluster(connection)
    old = rows.add_generation(connection, cluster)
    connection.execute(text("UPDATE generations SET state = 'retiring'"))
    owner = (cluster.id, AuthorityName.CLUSTER)
    assert _read(connection, authorities=frozenset({owner})).generations == {}
    new = rows.add_generation(connection, cluster, key=101, authority_id=old.authority_id)
    assert _read(connection, authorities=frozenset({owner})).generations == {owner: new.id}


def test_vouchers_are_read_as_they_stand_now(connection: Connection) -> None:
    cluster = rows.add_cluster(connection)
    generation = rows.add_generation(connection, cluster)
    kept, superseded, revoked, gone = (
        _certificate(generation, cluster, serial=f"{number}a") for number in range(4)
    )
    certificates.add_all(
        connection, [(one, [(NameKind.COMMON_NAME, one.serial)]) for one in (kept, superseded, revoked)]
    )
    (standing,) = rows.add_revocation(connection, cluster.id, entry(K.SERIAL_NUMBER, "2a")).entries
    certificates.supersede(connection, [superseded.id], START)
    connection.execute(
        update(certificate_rows)
        .where(certificate_rows.c.id == revoked.id)
        .values(revoked_at=START, revoked_by=standing.id)
    )
    wanted = frozenset(one.id for one in (kept, superseded, revoked, gone))
    assert _read(connection, vouchers=wanted).vouchers == {
        kept.id: Standing(None, None, None),
        superseded.id: Standing(START, None, None),
        revoked.id: Standing(None, START, standing.id),
    }


def test_tokens_are_those_that_still_exist(connection: Connection) -> None:
    kept, deleted, unasked = (
        Token(rows.new_id(), "", "issuer", None, START, "token:1", None) for _ in range(3)
    )
    for number, token in enumerate((kept, deleted, unasked)):
        tokens.add(connection, token, f"hash {number}")
    wanted = frozenset({kept.id, deleted.id, rows.new_id()})
    assert _read(connection, tokens=wanted).tokens == {kept.id, deleted.id}
    tokens.remove(connection, deleted.id)
    assert _read(connection, tokens=wanted).tokens == {kept.id}


ENTRIES = [
    entry(K.DNS, "a.example"),
    entry(K.DNS, ".b.example"),
    entry(K.IP, "10.1.2.3"),
    entry(K.IP, "10.0.0.0/8"),
    entry(K.IP, "2001:db8::/64"),
    entry(K.COMMON_NAME, "Jürgen 'the \"quoted\"' \\ {x}"),
    entry(K.GROUP, "team,1:ä%s?"),
    entry(K.PUBLIC_KEY, "0c" * 32),
    entry(K.SERIAL_NUMBER, "ff"),
]


def test_entries_are_found_under_each_of_their_keys(connection: Connection) -> None:
    rows.add_all_clusters(connection)
    cluster = rows.add_cluster(connection)
    stored = rows.add_revocation(connection, cluster.id, *ENTRIES)
    everywhere = rows.add_revocation(connection, ALL_CLUSTERS, entry(K.DNS, "a.example"))
    for standing in stored.entries:
        keys = frozenset(entry_keys(standing.entry))
        expected = {standing.id} | ({everywhere.entries[0].id} if standing.position == 0 else set())
        assert _read(connection, keys=keys).entries == expected
        assert {found.id for found in revocations.candidates(connection, keys)} == expected
    every_key = frozenset(key for one in ENTRIES for key in entry_keys(one))
    assert len(_read(connection, keys=every_key).entries) == len(ENTRIES) + 1
    assert _read(connection, keys=frozenset({("DNS", "10.1.2.3"), ("CN", "a.example")})).entries == set()
    revocations.remove_entries(connection, [stored.entries[0].id, everywhere.entries[0].id], 2)
    assert _read(connection, keys=frozenset(entry_keys(ENTRIES[0]))).entries == set()


def _claim(key: str = "key", reference: str = "first", requester: str = "token:1") -> Claim:
    return Claim(requester, key, "ab" * 32, reference)


def test_keys_are_taken_once(connection: Connection) -> None:
    first, other = _claim(), _claim(requester="token:2")
    odd = _claim(key="~'\"\\%s?{}")
    assert issuing.claim(connection, [], START) == []
    assert issuing.claim(connection, [first, other, odd], START) == [first, other, odd]
    later = replace(first, fingerprint="cd" * 32, reference="second")
    fresh = _claim(key="a")
    assert issuing.claim(connection, [later, fresh, odd], START) == [first, fresh, odd]
    assert idempotency.claim(connection, later, START) == first
    idempotency.release(connection, "token:1", "key")
    assert issuing.claim(connection, [later], START) == [later]


def test_a_key_that_sqlalchemy_took_is_held(connection: Connection) -> None:
    held = idempotency.claim(connection, _claim(), START)
    assert issuing.claim(connection, [_claim(reference="second")], START) == [held]
    assert idempotency.forget_older(connection, START + timedelta(seconds=1)) == 1
    assert issuing.claim(connection, [_claim(reference="third")], START)[0].reference == "third"
    assert idempotency.forget_older(connection, START) == 0


def test_of_two_claims_in_a_batch_the_first_holds_the_key(connection: Connection) -> None:
    batch = [_claim("z", "1"), _claim("a", "2"), _claim("z", "3"), _claim("a", "4")]
    assert [one.reference for one in issuing.claim(connection, batch, START)] == ["1", "2", "1", "2"]


def test_batches_that_claim_the_same_keys_in_opposite_orders_wait_and_do_not_lock_each_other(
    database: Database,
) -> None:
    keys = [f"key-{number:03}" for number in range(100)]
    barrier, lost = threading.Barrier(2), []
    held: dict[str, list[str]] = {}

    def run(name: str, ordered: list[str]) -> None:
        for attempt in range(5):
            claims = [_claim(f"{attempt} {key}", name) for key in ordered]
            barrier.wait(20)
            try:
                with database.write() as connection:
                    held[f"{attempt} {name}"] = [
                        one.reference for one in issuing.claim(connection, claims, START)
                    ]
            except UnavailableError as error:
                lost.append(error)

    threads = [
        threading.Thread(target=run, args=arguments) for arguments in (("one", keys), ("two", keys[::-1]))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert lost == []
    for attempt in range(5):
        # Whoever was first holds all.
        assert set(held[f"{attempt} one"]) == set(held[f"{attempt} two"])
        assert len(set(held[f"{attempt} one"])) == 1


COUNT = 100_000


@pytest.fixture(scope="module")
def crowded(shared_database: Database) -> Iterator[tuple[Connection, Cluster]]:
    """Give a cluster with as many entries as certificates, all in one transaction that is rolled back."""
    with shared_database.write() as connection:
        transaction = connection.get_transaction()
        assert transaction is not None
        rows.add_all_clusters(connection)
        cluster = rows.add_cluster(connection)
        rows.add_generation(connection, cluster)
        revocation = rows.add_revocation(connection, cluster.id)
        ids = [rows.new_id() for _ in range(COUNT)]
        like = {
            "revocation_id": revocation.id,
            "scope": cluster.id,
            "position": 0,
            "kind": "DNS",
            "value": "x",
            "description": "",
            "include_renewed": True,
            "added_in": 1,
        }
        connection.execute(insert(revocation_entries), [{**like, "id": one} for one in ids])
        keys = [{"kind": "DNS", "value": f"h{n}.example", "entry_id": one} for n, one in enumerate(ids)]
        connection.execute(insert(revocation_entry_keys), keys)
        for number in range(300):
            token = Token(rows.new_id(), "", "issuer", None, START, "token:1", None)
            tokens.add(connection, token, f"hash {number}")
        connection.execute(text("ANALYZE"))
        yield connection, cluster
        transaction.rollback()


def _explained(connection: Connection, statement: str, *parameters: object) -> str:
    explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    plan = connection.exec_driver_sql(explain + statement, parameters)
    return "\n".join(str(row[-1]) for row in plan)


def test_the_entries_are_found_by_index_however_many_stand(crowded: tuple[Connection, Cluster]) -> None:
    connection, _ = crowded
    names = [f"h{number}.example" for number in (1, 500, 99_999)] + ["unknown.example"]
    if connection.dialect.name == "sqlite":
        wanted = json.dumps([["DNS", name] for name in names])
        plan = _explained(connection, issuing_sqlite._ENTRIES, wanted)
        assert "SEARCH k USING COVERING INDEX" in plan
        assert not re.search(r"SCAN (k|revocation_entry_keys)\b", plan)
    else:
        asked = issuing_postgresql._asked(replace(NOTHING, keys=frozenset(("DNS", name) for name in names)))
        plan = _explained(connection, issuing_postgresql._GROUND, asked)
        assert re.search(r"Index (Only )?Scan using pk_revocation_entry_keys", plan)
        assert "Seq Scan on revocation_entry_keys" not in plan
    found = _read(connection, keys=frozenset(("DNS", name) for name in names)).entries
    assert len(found) == 3


def test_vouchers_and_tokens_are_found_by_their_ids(crowded: tuple[Connection, Cluster]) -> None:
    connection, _ = crowded
    if connection.dialect.name != "sqlite":
        pytest.skip("PostgreSQL reads a page at once where that is all there is")
    for statement in (issuing_sqlite._VOUCHERS, issuing_sqlite._TOKENS):
        plan = _explained(connection, statement, "[]")
        assert not re.search(r"SCAN (certificates|tokens)\b", plan), plan
    plan = _explained(connection, issuing_sqlite._OF_SERIALS, "[]")
    assert "SEARCH s USING PRIMARY KEY" in plan
    assert "SEARCH c USING INDEX" in plan
    plan = _explained(connection, issuing_sqlite._SUPERSEDE, "2026-11-24 12:00:00", "00")
    assert "SEARCH certificates" in plan
    assert "SEARCH idempotency_keys" in _explained(connection, issuing_sqlite._CLAIMED, "token:1", "key")


# How it fails.


@pytest.fixture
def postgres_owner(request: pytest.FixtureRequest) -> psycopg.Connection:
    owner: psycopg.Connection = request.getfixturevalue("_postgres_owner")
    return owner


def _committed(database: Database) -> tuple[Cluster, Generation]:
    with database.write() as connection:
        rows.add_all_clusters(connection)
        cluster = rows.add_cluster(connection)
        return cluster, rows.add_generation(connection, cluster)


def test_a_serial_that_is_taken_is_a_conflict_and_leaves_nothing(database: Database) -> None:
    cluster, generation = _committed(database)
    first = _certificate(generation, cluster)
    with database.write() as connection:
        issuing.write(connection, Results([_decision()], [(first, [])]), START)
    second, refused = replace(first, id=rows.new_id()), _decision()
    with refused_write(database, ConflictError) as connection:
        issuing.write(connection, Results([refused], [(second, [])]), START)
    with database.write() as connection:
        assert decisions.get(connection, refused.id) is None
        assert certificates.find_one(connection, second.id) is None
        # The connection serves again, and another issuer may use the serial.
        other = rows.add_generation(connection, rows.add_cluster(connection, "red"), key=2)
        issuing.write(connection, Results([refused], [(replace(second, generation_id=other.id), [])]), START)
        assert decisions.get(connection, refused.id) is not None


@pytest.mark.parametrize("step", ["read", "claim", "write"])
def test_a_backend_that_is_killed_is_unavailable_and_the_pool_recovers_at_once(
    postgres_database: str, postgres_owner: psycopg.Connection, step: str
) -> None:
    failures: list[str] = []
    database = Database(postgres_database, pool_size=3, on_failure=failures.append)
    migrate.upgrade(database)
    cluster, _ = _committed(database)
    # Several connections lie in the pool, and all lose their server.
    with database.read() as one, database.read() as other:
        one.execute(text("SELECT 1"))
        other.execute(text("SELECT 1"))
    with refused_write(database, UnavailableError) as connection:
        connection.execute(text("SELECT 1"))
        name = make_url(postgres_database).database
        postgres_owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        if step == "read":
            _read(connection, scopes=frozenset({cluster.id}))
        elif step == "claim":
            issuing.claim(connection, [_claim()], START)
        else:
            issuing.write(connection, Results([_decision()]), START)
    with database.write() as connection:
        assert _read(connection, scopes=frozenset({cluster.id})).versions == {cluster.id: 0}
    assert failures == ["unavailable"]
    database.dispose()


def test_a_database_that_stays_busy_is_unavailable_after_the_patience(
    sqlite_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(sqlite_database)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    path = make_url(sqlite_database).database
    assert path is not None
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.2)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError), database.write():
            pytest.fail("the transaction began")
        other.execute("ROLLBACK")
    with database.write() as connection:
        connection.execute(text("INSERT INTO t VALUES (1)"))
    database.dispose()
