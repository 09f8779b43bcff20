from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr
from tests.support.world import World

from trivet.authority.access import Requester, Role
from trivet.authority.install import OPERATOR
from trivet.authority.issuance.application import Issuance, prepare
from trivet.authority.issue import IssuedCertificate, issue_all
from trivet.pki.errors import IdempotencyError, RejectedIdentifierError, RevokedError
from trivet.pki.revocation import EntryKind


def test_the_same_wish_under_the_same_key_gives_the_same_certificate(world: World) -> None:
    first = world.issue(idempotency_key="key")
    world.clock.advance(hours=1)
    second = world.issue(idempotency_key="key")
    assert (first.replayed, second.replayed) == (False, True)
    assert (second.stored, second.issuer) == (first.stored, first.issuer)
    with world.authority.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM certificates")).scalar_one() == 1
        assert connection.execute(text("SELECT count(*) FROM decisions")).scalar_one() == 1


@pytest.mark.parametrize(
    "other",
    [
        {"node": "node-2"},
        {"profile": "kubelet-serving", "node": "node-1"},
        {"key": 1},
        {"lifetime": timedelta(hours=1)},
        {"cluster": "green"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_wish_under_the_same_key_is_refused(world: World, other: dict[str, object]) -> None:
    world.make_cluster("green")
    world.issue(idempotency_key="key")
    with pytest.raises(IdempotencyError) as caught:
        world.issue(**other, idempotency_key="key")  # type: ignore[arg-type]
    assert world.decision(caught.value.decision).reason == "idempotencyKeyReused"


def test_a_key_belongs_to_its_requester(world: World) -> None:
    first = world.issue(idempotency_key="key")
    other = Requester("token:1", Role.ISSUER)
    second = world.issue(idempotency_key="key", requester=other)
    assert second.stored.serial != first.stored.serial


def test_the_key_of_a_refused_wish_is_free_again(world: World) -> None:
    with pytest.raises(RejectedIdentifierError):
        world.issue(request=csr("other"), idempotency_key="key")
    revoked = world.revoke(entry(EntryKind.GROUP, "system:nodes"))
    with pytest.raises(RevokedError):
        world.issue(idempotency_key="key")
    world.delete(revoked)
    assert not world.issue(node="node-2", idempotency_key="key").replayed


def test_what_a_key_made_is_not_given_again_once_it_is_revoked(world: World) -> None:
    first = world.issue(idempotency_key="key")
    world.revoke(entry(EntryKind.SERIAL_NUMBER, first.stored.serial))
    with pytest.raises(RevokedError, match="revoked since"):
        world.issue(idempotency_key="key")


def test_what_a_key_made_is_not_given_again_once_its_names_are_banned(world: World) -> None:
    world.issue(idempotency_key="key")
    world.revoke(entry(EntryKind.GROUP, "system:nodes"))
    with pytest.raises(RevokedError, match="system:nodes"):
        world.issue(idempotency_key="key")


def test_what_a_key_made_and_is_no_longer_kept_is_not_made_again(world: World) -> None:
    world.issue(idempotency_key="key")
    with world.authority.database.write() as connection:
        connection.execute(text("DELETE FROM certificates"))
    with pytest.raises(IdempotencyError, match="no longer kept"):
        world.issue(idempotency_key="key")


def test_a_renewal_is_made_once_for_a_key(world: World) -> None:
    current = world.issue()
    first = world.renew(current.stored, idempotency_key="key")
    assert world.renew(current.stored, idempotency_key="key").stored == first.stored
    with pytest.raises(IdempotencyError):
        world.renew(current.stored, key=2, idempotency_key="key")


def test_a_key_counts_within_one_batch(world: World) -> None:
    def wish(node: str, key: str) -> Issuance:
        return Issuance("blue", "kubelet-client", csr(), node, None, key)

    wishes = [wish("node-1", "a"), wish("node-1", "a"), wish("node-2", "a"), wish("node-2", "b")]
    outcomes = issue_all(world.authority, [prepare(OPERATOR, one) for one in wishes])
    first, again, other, last = outcomes
    assert isinstance(first, IssuedCertificate)
    assert isinstance(again, IssuedCertificate)
    assert isinstance(last, IssuedCertificate)
    assert (first.stored, first.replayed) == (again.stored, not again.replayed)
    assert isinstance(other, IdempotencyError)
    assert last.stored.node == "node-2"
    with world.authority.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM certificates")).scalar_one() == 2
