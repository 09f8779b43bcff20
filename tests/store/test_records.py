"""The small tables: decisions, audit, tokens, the installation."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from tests.support import rows
from tests.support.clock import START
from tests.support.refused import refused_write

from trivet.pki.errors import ConflictError
from trivet.store import audit, decisions, installation, tokens
from trivet.store.audit import AuditRecord
from trivet.store.decisions import Decision
from trivet.store.engine import Database
from trivet.store.tokens import Token


def test_a_decision_is_read_as_it_was_stored(connection: Connection) -> None:
    cluster = rows.add_cluster(connection)
    full = Decision(
        id=rows.new_id(),
        decided_at=START,
        cluster_id=cluster.id,
        requester="token:1",
        action="renew",
        profile="admin",
        request_sha256="ab" * 32,
        verdict="refused",
        reason="revoked",
        detail="é 🦀",
        cluster_version=2**40,
        global_version=0,
        considered=[{"entry": "1", "matched": True, "notBefore": None}],
        identity={"commonName": "x", "dnsNames": ["a", "b"]},
        serial=None,
        parent_serial="ab",
        request_id="r",
    )
    least = Decision(rows.new_id(), START, None, "token:1", "issue", "admin", "cd" * 32, "issued")
    decisions.add_all(connection, [])
    decisions.add_all(connection, [full, least])
    assert decisions.get(connection, full.id) == full
    assert decisions.get(connection, least.id) == least
    assert decisions.get(connection, rows.new_id()) is None


def test_a_verdict_is_issued_or_refused(shared_database: Database) -> None:
    odd = Decision(rows.new_id(), START, None, "token:1", "issue", "admin", "cd" * 32, "perhaps")
    with refused_write(shared_database, IntegrityError, match="ck_decisions_verdict") as connection:
        decisions.add_all(connection, [odd])


def test_audit_records_are_listed_newest_first_by_cluster(connection: Connection) -> None:
    cluster = rows.add_cluster(connection)
    records = [
        AuditRecord(
            rows.new_id(), START, "token:1", "x", f"o{n}", cluster.id if n % 2 else None, {"n": n}, "r"
        )
        for n in range(6)
    ]
    newest = [audit.add(connection, record) for record in records][::-1]
    assert audit.page(connection, None, None, 6) == newest
    assert audit.page(connection, None, None, 2) == newest[:2]
    assert audit.page(connection, None, newest[1].id, 4) == newest[2:]
    assert audit.page(connection, cluster.id, None, 10) == [newest[0], newest[2], newest[4]]


def _token(number: int, connection: Connection, *, of_cluster: bool = False) -> Token:
    cluster = rows.add_cluster(connection, f"c{number}").id if of_cluster else None
    token = Token(rows.new_id(), "why", "issuer", cluster, START, "operator", START + timedelta(days=1))
    tokens.add(connection, token, f"hash-{number}")
    return token


def test_a_token_is_found_by_its_hash_and_its_id(connection: Connection) -> None:
    token = _token(1, connection, of_cluster=True)
    lasting = replace(token, id=rows.new_id(), expires_at=None, cluster_id=None)
    tokens.add(connection, lasting, "hash-2")
    assert tokens.find_by_hash(connection, "hash-1") == token
    assert tokens.find_by_hash(connection, "hash-2") == lasting
    assert tokens.find_by_hash(connection, "HASH-1") is None
    assert tokens.find(connection, token.id) == token
    assert tokens.find(connection, rows.new_id()) is None


def test_tokens_are_listed_in_order_of_their_making(connection: Connection) -> None:
    made = [_token(number, connection, of_cluster=number == 1) for number in range(4)]
    assert tokens.page(connection, None, None, 10) == made
    assert tokens.page(connection, None, made[0].id, 2) == made[1:3]
    assert tokens.page(connection, made[1].cluster_id, None, 10) == [made[1]]


def test_a_removed_token_is_gone(connection: Connection) -> None:
    token = _token(1, connection)
    assert tokens.remove(connection, token.id)
    assert not tokens.remove(connection, token.id)
    assert tokens.find_by_hash(connection, "hash-1") is None


def test_two_tokens_cannot_have_one_secret(shared_database: Database) -> None:
    with refused_write(shared_database, ConflictError) as connection:
        _token(1, connection)
        _token(1, connection)


def test_a_role_that_does_not_exist_is_refused_by_the_database(shared_database: Database) -> None:
    with refused_write(shared_database, IntegrityError, match="ck_tokens_role") as connection:
        _token(1, connection)
        connection.execute(text("UPDATE tokens SET role = 'holder'"))


def test_there_is_one_installation(shared_database: Database) -> None:
    with refused_write(shared_database, ConflictError) as connection:
        assert installation.key_check(connection) is None
        installation.begin(connection, "proof", START)
        assert installation.key_check(connection) == "proof"
        installation.begin(connection, "other", START)
    with shared_database.read() as connection:
        assert installation.key_check(connection) is None


def test_an_installation_has_one_possible_id(shared_database: Database) -> None:
    with refused_write(shared_database, IntegrityError, match="ck_installations_single") as connection:
        installation.begin(connection, "proof", START)
        connection.execute(text("UPDATE installations SET id = 2"))
