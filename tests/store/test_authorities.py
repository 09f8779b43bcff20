from __future__ import annotations

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from tests.support import rows
from tests.support.refused import refused_write
from tests.support.signing_requests import pooled_key

from trivet.pki.errors import ConflictError, NotFoundError
from trivet.pki.profiles import AuthorityName
from trivet.store import authorities
from trivet.store.authorities import Authority, GenerationState
from trivet.store.engine import Database


def test_the_active_generation_signs_whatever_others_there_are(connection: Connection) -> None:
    blue = rows.add_cluster(connection)
    active = rows.add_generation(connection, blue, key=1)
    for key, state in enumerate(
        (GenerationState.STAGED, GenerationState.RETIRING, GenerationState.RETIRED), start=2
    ):
        rows.add_generation(connection, blue, key=key, state=state, authority_id=active.authority_id)
    assert authorities.active_generation(connection, blue.id, AuthorityName.CLUSTER) == active


def test_each_cluster_has_authorities_of_its_own(connection: Connection) -> None:
    blue, green = rows.add_cluster(connection, "blue"), rows.add_cluster(connection, "green")
    first = rows.add_generation(connection, blue, AuthorityName.ETCD, key=1)
    second = rows.add_generation(connection, green, AuthorityName.ETCD, key=2)
    assert authorities.active_generation(connection, blue.id, AuthorityName.ETCD) == first
    assert authorities.active_generation(connection, green.id, AuthorityName.ETCD) == second


def test_the_service_authority_belongs_to_no_cluster(connection: Connection) -> None:
    blue = rows.add_cluster(connection)
    rows.add_generation(connection, blue, AuthorityName.CLUSTER, key=1)
    service = rows.add_generation(connection, None, AuthorityName.SERVICE, key=2)
    assert authorities.active_generation(connection, None, AuthorityName.SERVICE) == service
    assert authorities.all_generations(connection, None) == [service]


def test_an_authority_without_an_active_generation_signs_nothing(connection: Connection) -> None:
    blue = rows.add_cluster(connection)
    rows.add_generation(connection, blue, state=GenerationState.STAGED)
    with pytest.raises(NotFoundError):
        authorities.active_generation(connection, blue.id, AuthorityName.CLUSTER)
    with pytest.raises(NotFoundError):
        authorities.active_generation(connection, blue.id, AuthorityName.ETCD)


def test_all_generations_are_listed_oldest_first(connection: Connection) -> None:
    blue = rows.add_cluster(connection)
    first = rows.add_generation(connection, blue, key=1, state=GenerationState.RETIRED)
    second = rows.add_generation(connection, blue, key=2, authority_id=first.authority_id)
    third = rows.add_generation(connection, blue, AuthorityName.ETCD, key=3)
    assert authorities.all_generations(connection, blue.id) == [first, second, third]


def test_a_generation_is_found_by_its_id_and_hides_its_key(connection: Connection) -> None:
    added = rows.add_generation(connection, rows.add_cluster(connection))
    found = authorities.generation(connection, added.id)
    assert found == added
    assert "encrypted" not in repr(found)


def test_a_second_active_generation_is_refused(shared_database: Database) -> None:
    with refused_write(shared_database, ConflictError) as connection:
        first = rows.add_generation(connection, rows.add_cluster(connection), key=1)
        rows.add_generation(connection, None, key=2, authority_id=first.authority_id)


def test_a_second_authority_of_the_same_name_in_a_cluster_is_refused(shared_database: Database) -> None:
    with refused_write(shared_database, ConflictError) as connection:
        blue = rows.add_cluster(connection)
        rows.add_generation(connection, blue, key=1)
        rows.add_generation(connection, blue, key=2)


def test_a_second_service_authority_is_refused(shared_database: Database) -> None:
    # NULLs are distinct in a plain unique constraint, so this one needs an index of its own.
    with refused_write(shared_database, ConflictError) as connection:
        authorities.add(connection, Authority(rows.new_id(), None, AuthorityName.SERVICE))
        authorities.add(connection, Authority(rows.new_id(), None, AuthorityName.SERVICE))


def test_one_key_cannot_serve_two_authorities(shared_database: Database) -> None:
    with refused_write(shared_database, ConflictError) as connection:
        rows.add_generation(connection, rows.add_cluster(connection, "blue"), key=1)
        rows.add_generation(connection, rows.add_cluster(connection, "green"), key=1)


def test_holds_key_knows_the_keys_of_all_generations(connection: Connection) -> None:
    rows.add_generation(connection, rows.add_cluster(connection), key=1, state=GenerationState.RETIRED)
    assert authorities.holds_key(connection, pooled_key(1).public_key())
    assert not authorities.holds_key(connection, pooled_key(2).public_key())


def test_a_state_that_does_not_exist_is_refused_by_the_database(shared_database: Database) -> None:
    with refused_write(shared_database, IntegrityError, match="ck_generations_state") as connection:
        rows.add_generation(connection, rows.add_cluster(connection))
        connection.execute(text("UPDATE generations SET state = 'lost'"))
