from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection
from tests.support.clock import START

from trivet.store import idempotency
from trivet.store.engine import Database
from trivet.store.idempotency import Claim

CLAIM = Claim("token:1", "key", "ab" * 32, "first")


def test_a_new_key_is_taken(connection: Connection) -> None:
    assert idempotency.claim(connection, CLAIM, START) == CLAIM


def test_a_key_that_is_taken_gives_back_the_first_claim(connection: Connection) -> None:
    idempotency.claim(connection, CLAIM, START)
    second = replace(CLAIM, fingerprint="cd" * 32, reference="second")
    assert idempotency.claim(connection, second, START) == CLAIM


def test_a_key_belongs_to_its_requester(connection: Connection) -> None:
    idempotency.claim(connection, CLAIM, START)
    theirs = replace(CLAIM, requester="token:2", reference="second")
    assert idempotency.claim(connection, theirs, START) == theirs


def test_a_released_key_is_free_for_others(connection: Connection) -> None:
    idempotency.claim(connection, CLAIM, START)
    other = replace(CLAIM, key="other")
    idempotency.claim(connection, other, START)
    idempotency.release(connection, CLAIM.requester, CLAIM.key)
    second = replace(CLAIM, reference="second")
    assert idempotency.claim(connection, second, START) == second
    assert idempotency.claim(connection, replace(other, reference="third"), START) == other


def test_keys_are_forgotten_by_their_age(connection: Connection) -> None:
    for hours in range(3):
        claim = replace(CLAIM, key=f"k{hours}")
        idempotency.claim(connection, claim, START + timedelta(hours=hours))
    assert idempotency.forget_older(connection, START + timedelta(hours=1)) == 1
    assert idempotency.forget_older(connection, START + timedelta(hours=1)) == 0
    second = replace(CLAIM, key="k0", reference="second")
    assert idempotency.claim(connection, second, START) == second


def _claim_beside(database: Database, claims: list[Claim]) -> threading.Thread:
    def run() -> None:
        with database.write() as connection:
            claims.append(idempotency.claim(connection, replace(CLAIM, reference="second"), START))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_concurrent_claim_waits_and_gets_the_first(database: Database) -> None:
    claims: list[Claim] = []
    with database.write() as connection:
        idempotency.claim(connection, CLAIM, START)
        thread = _claim_beside(database, claims)
        thread.join(0.3)
        assert claims == []
    thread.join()
    assert claims == [CLAIM]


def test_a_concurrent_claim_gets_the_key_where_the_first_rolls_back(database: Database) -> None:
    claims: list[Claim] = []
    with database.write() as connection:
        idempotency.claim(connection, CLAIM, START)
        thread = _claim_beside(database, claims)
        thread.join(0.3)
        transaction = connection.get_transaction()
        assert transaction is not None
        transaction.rollback()
    thread.join()
    assert [claim.reference for claim in claims] == ["second"]
