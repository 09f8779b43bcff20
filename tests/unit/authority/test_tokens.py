from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import text
from tests.support.world import World

from trivet.authority.access import Requester, Role
from trivet.authority.authenticate import authenticate_token
from trivet.authority.install import OPERATOR
from trivet.authority.record import list_changes
from trivet.authority.tokens import create_token, delete_token, get_token, list_tokens
from trivet.pki.errors import AccessDeniedError, AuthenticationError, InvalidError, NotFoundError
from trivet.store import clusters

ROLES = (Role.ADMIN, Role.ISSUER, Role.APPROVER, Role.AUDITOR)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("cluster", [None, "blue"])
def test_a_token_authenticates_its_holder(world: World, role: Role, cluster: str | None) -> None:
    token, secret = create_token(world.authority, OPERATOR, role=role, description="why", cluster=cluster)
    requester = authenticate_token(world.authority, secret, "request-1")
    with world.authority.database.read() as connection:
        scope = clusters.get(connection, cluster).id if cluster else None
    assert requester == Requester(f"token:{token.id}", role, scope, request_id="request-1", token_id=token.id)
    assert get_token(world.authority, OPERATOR, token.id) == token
    assert (token.created_by, token.created_at, token.expires_at) == ("operator", world.clock.now, None)


def test_a_signers_token_is_for_one_cluster(world: World) -> None:
    with pytest.raises(InvalidError, match="for one cluster") as caught:
        create_token(world.authority, OPERATOR, role=Role.SIGNER)
    assert [fault.pointer for fault in caught.value.faults] == ["/cluster"]
    token, _ = create_token(world.authority, OPERATOR, role=Role.SIGNER, cluster="blue")
    assert token.cluster_id is not None


def test_secrets_are_random_and_stored_as_a_hash_only(world: World) -> None:
    secrets = [create_token(world.authority, OPERATOR, role=Role.ADMIN)[1] for _ in range(3)]
    assert len(set(secrets)) == 3
    assert all(re.fullmatch(r"trivet_[A-Za-z0-9_-]{43}", secret) for secret in secrets)
    with world.authority.database.read() as connection:
        stored = connection.execute(text("SELECT secret_hash FROM tokens")).scalars().all()
        audited = connection.execute(text("SELECT * FROM audit_records")).all()
        told = repr((stored, audited))
    assert not any(secret.removeprefix("trivet_") in told for secret in secrets)


def test_a_token_of_another_installation_is_unknown(world: World) -> None:
    # The hash is keyed, so a copied row is worth nothing under another key-encryption key.
    _, secret = create_token(world.authority, OPERATOR, role=Role.ADMIN)
    with world.authority.database.write() as connection:
        connection.execute(text("UPDATE tokens SET secret_hash = 'x'"))
    with pytest.raises(AuthenticationError, match="unknown"):
        authenticate_token(world.authority, secret)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "trivet_",
        "trivet_" + "a" * 42,
        "trivet_" + "a" * 44,
        "a" * 50,
        "trivet_" + "é" * 43,
        "trivet_" + "a" * 43 + "\n",
    ],
)
def test_a_malformed_token_is_refused_without_being_repeated(world: World, secret: str) -> None:
    with pytest.raises(AuthenticationError, match="malformed") as caught:
        authenticate_token(world.authority, secret)
    assert len(secret) < 20 or secret not in caught.value.detail


def test_an_unknown_token_is_refused(world: World) -> None:
    with pytest.raises(AuthenticationError, match="unknown"):
        authenticate_token(world.authority, "trivet_" + "a" * 43)


def test_a_token_expires(world: World) -> None:
    token, secret = create_token(world.authority, OPERATOR, role=Role.ISSUER, lifetime=timedelta(hours=1))
    assert token.expires_at == world.clock.now + timedelta(hours=1)
    world.clock.now = token.expires_at - timedelta(microseconds=1)
    authenticate_token(world.authority, secret)
    world.clock.now = token.expires_at
    with pytest.raises(AuthenticationError, match="expired at 2026-11-24T13:00:00Z"):
        authenticate_token(world.authority, secret)


def test_a_deleted_token_is_worthless(world: World) -> None:
    token, secret = create_token(world.authority, OPERATOR, role=Role.ADMIN)
    delete_token(world.authority, OPERATOR, token.id)
    with pytest.raises(AuthenticationError):
        authenticate_token(world.authority, secret)
    with pytest.raises(NotFoundError):
        delete_token(world.authority, OPERATOR, token.id)
    with pytest.raises(NotFoundError):
        get_token(world.authority, OPERATOR, token.id)


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(seconds=-1)])
def test_a_token_lives_for_some_time(world: World, lifetime: timedelta) -> None:
    with pytest.raises(InvalidError):
        create_token(world.authority, OPERATOR, role=Role.ISSUER, lifetime=lifetime)


@pytest.mark.parametrize("description", ["a\nb", "a\x00", "\ud800", "x" * 1025])
def test_a_description_is_one_plain_line(world: World, description: str) -> None:
    with pytest.raises(InvalidError):
        create_token(world.authority, OPERATOR, role=Role.ISSUER, description=description)


def test_a_token_is_not_for_holders(world: World) -> None:
    with pytest.raises(InvalidError):
        create_token(world.authority, OPERATOR, role=Role.HOLDER)


def test_a_token_for_an_unknown_cluster_is_not_made(world: World) -> None:
    with pytest.raises(NotFoundError):
        create_token(world.authority, OPERATOR, role=Role.ISSUER, cluster="green")


def test_an_administrator_of_a_cluster_makes_sees_and_deletes_its_tokens_only(world: World) -> None:
    admin = world.admin_of(world.make_cluster("green"))
    everywhere, _ = create_token(world.authority, OPERATOR, role=Role.ISSUER)
    own, _ = create_token(world.authority, admin, role=Role.ADMIN, cluster="green")
    for cluster in (None, "blue"):
        with pytest.raises(AccessDeniedError):
            create_token(world.authority, admin, role=Role.ISSUER, cluster=cluster)
    assert list_tokens(world.authority, admin, None, 10) == [own]
    assert {one.id for one in list_tokens(world.authority, OPERATOR, None, 10)} == {own.id, everywhere.id}
    for use_case in (get_token, delete_token):
        with pytest.raises(NotFoundError):
            use_case(world.authority, admin, everywhere.id)
    delete_token(world.authority, admin, own.id)


@pytest.mark.parametrize("role", [Role.ISSUER, Role.APPROVER, Role.AUDITOR, Role.HOLDER])
def test_only_administrators_make_tokens(world: World, role: Role) -> None:
    with pytest.raises(AccessDeniedError):
        create_token(world.authority, Requester("x", role), role=Role.ISSUER)


def test_making_and_deleting_a_token_leaves_records(world: World) -> None:
    world.clock.advance(seconds=1)
    token, _ = create_token(world.authority, OPERATOR, role=Role.ISSUER, cluster="blue")
    world.clock.advance(seconds=1)
    delete_token(world.authority, OPERATOR, token.id)
    deleted, created, *_ = list_changes(world.authority, OPERATOR, None, 10)
    assert (created.action, deleted.action) == ("token.create", "token.delete")
    assert created.object == deleted.object == str(token.id)
    assert created.cluster_id == deleted.cluster_id == token.cluster_id
    assert created.details == {"role": "issuer"}


def test_a_token_makes_no_token_that_outlives_it(world: World) -> None:
    _, secret = create_token(world.authority, OPERATOR, role=Role.ADMIN, lifetime=timedelta(minutes=5))
    short = authenticate_token(world.authority, secret)
    for wanted in (None, timedelta(days=1)):
        child, _ = create_token(world.authority, short, role=Role.ADMIN, lifetime=wanted)
        assert child.expires_at == short.expires_at
