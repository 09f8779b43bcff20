from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from sqlalchemy import text, update
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr, key_hash, pooled_key
from tests.support.world import World

from trivet.authority.access import Requester, Role
from trivet.authority.install import OPERATOR
from trivet.authority.issuance.application import Renewal, prepare
from trivet.authority.issue import IssuedCertificate, issue, issue_all
from trivet.authority.renew import renewal_by_certificate, renewal_by_message
from trivet.pki.errors import (
    AccessDeniedError,
    AuthenticationError,
    ExpiredError,
    Refusal,
    RejectedIdentifierError,
    RevokedError,
)
from trivet.pki.kubernetes import PROFILES
from trivet.pki.possession import sign_renewal_message
from trivet.pki.revocation import EntryKind
from trivet.pki.subjects import names_of
from trivet.store.certificates import StoredCertificate
from trivet.store.tables import certificates


def _renew_by_message(world: World, cluster: str, message: bytes) -> IssuedCertificate:
    return issue(world.authority, *renewal_by_message(world.authority, cluster, message))


@pytest.mark.parametrize("profile", PROFILES)
def test_a_renewal_keeps_names_and_profile_and_changes_key_and_serial(world: World, profile: str) -> None:
    current = world.issue(profile, "node-1").stored
    world.clock.advance(days=2)
    new = world.renew(current, key=1).stored
    before, after = (x509.load_der_x509_certificate(one.der) for one in (current, new))
    assert names_of(after) == names_of(before)
    assert (new.profile, new.node, new.authority) == (current.profile, current.node, current.authority)
    assert new.spki_sha256 == key_hash(1)
    assert new.serial != current.serial
    assert new.not_after - current.not_after == timedelta(days=2)


def test_a_renewal_records_its_parent_and_supersedes_it(world: World) -> None:
    current = world.issue()
    world.clock.advance(days=1)
    new = world.renew(current.stored)
    assert new.stored.parent_id == current.stored.id
    assert world.stored(current).superseded_at == world.clock.now
    assert world.stored(new).superseded_at is None
    decision = world.decision(new.stored.decision_id)
    assert (decision.action, decision.parent_serial) == ("renew", current.stored.serial)
    assert decision.identity is not None
    assert decision.identity["ancestors"] == [current.stored.serial]


def test_what_was_superseded_may_renew_again(world: World) -> None:
    # The agent may have lost the answer.
    current = world.issue()
    first, second = world.renew(current.stored), world.renew(current.stored, key=2)
    assert first.stored.parent_id == second.stored.parent_id == current.stored.id


def test_the_key_may_stay(world: World) -> None:
    current = world.issue(key=3)
    assert world.renew(current.stored, key=3).stored.spki_sha256 == current.stored.spki_sha256


@pytest.mark.parametrize(
    "request_body",
    [
        csr("system:node:node-2", key=1),
        csr("", ("system:masters",), key=1),
        csr("", (), ("other.example",), key=1),
        csr("", (), ("a.example", "b.example"), key=1),
        csr("", (), ("10.0.0.9",), key=1),
    ],
    ids=["CN", "O", "dNSName", "one more dNSName", "iPAddress"],
)
def test_a_renewal_to_other_names_is_refused(world: World, request_body: bytes) -> None:
    current = world.issue("kubelet-serving", "node-1", hosts=("a.example", "10.0.0.1"))
    with pytest.raises(RejectedIdentifierError):
        world.renew(current.stored, request=request_body)


def test_a_renewal_may_repeat_the_names(world: World) -> None:
    current = world.issue("kubelet-serving", "node-1", hosts=("a.example", "10.0.0.1"))
    same = csr("system:node:node-1", ("system:nodes",), ("10.0.0.1", "a.example"), key=1)
    assert names_of(x509.load_der_x509_certificate(world.renew(current.stored, request=same).stored.der)) == (
        names_of(x509.load_der_x509_certificate(current.stored.der))
    )


def test_a_renewal_keeps_its_names_when_the_clusters_own_names_change(world: World) -> None:
    current = world.issue("apiserver", "node-1")
    with world.authority.database.write() as connection:
        connection.execute(text("UPDATE clusters SET endpoint = 'other.example'"))
    new = world.renew(current.stored)
    assert names_of(x509.load_der_x509_certificate(new.stored.der)).dns_names[-1] == "api.blue.example"


def test_an_expired_certificate_does_not_renew(world: World) -> None:
    current = world.issue()
    world.clock.now = current.stored.not_after + timedelta(seconds=1, microseconds=-1)
    world.renew(current.stored)
    world.clock.now = current.stored.not_after + timedelta(seconds=1)
    with pytest.raises(ExpiredError) as caught:
        world.renew(current.stored)
    assert world.decision(caught.value.decision).reason == "expired"


def test_a_certificate_from_the_future_does_not_renew(world: World) -> None:
    current = world.issue()
    world.clock.now = current.stored.not_before - timedelta(seconds=1)
    with pytest.raises(ExpiredError):
        world.renew(current.stored)


def test_a_revoked_certificate_does_not_renew_and_says_when_it_was_revoked(world: World) -> None:
    current = world.issue()
    world.revoke(entry(EntryKind.SERIAL_NUMBER, current.stored.serial))
    world.clock.advance(hours=1)
    with pytest.raises(RevokedError, match="revoked at 2026-11-24T12:00:00Z") as caught:
        world.renew(current.stored)
    assert world.decision(caught.value.decision).reason == "revoked"


def test_being_revoked_weighs_more_than_being_expired(world: World) -> None:
    current = world.issue()
    world.revoke(entry(EntryKind.SERIAL_NUMBER, current.stored.serial))
    world.clock.advance(days=30)
    with pytest.raises(RevokedError):
        world.renew(current.stored)


def test_a_holder_from_another_cluster_is_refused(world: World) -> None:
    world.make_cluster("green")
    current = world.issue(cluster="blue")
    with pytest.raises(AccessDeniedError):
        world.renew(current.stored, cluster="green")


def test_a_certificate_is_renewed_with_its_own_key_only(world: World) -> None:
    mine, theirs = world.issue(node="node-1"), world.issue(node="node-2")
    wish = Renewal(theirs.stored, "blue", csr(key=5))
    with pytest.raises(AccessDeniedError, match="own key"):
        issue(world.authority, world.holder(mine.stored), wish)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.HOLDER])
def test_no_token_renews_however_mighty(world: World, role: Role) -> None:
    current = world.issue()
    with pytest.raises(AccessDeniedError):
        issue(world.authority, Requester("token:1", role), Renewal(current.stored, "blue", csr(key=1)))


def test_a_holder_without_a_certificate_renews_nothing(world: World) -> None:
    current = world.issue()
    nobody = Requester("certificate:?", Role.HOLDER, current.stored.cluster_id)
    with pytest.raises(AccessDeniedError):
        issue(world.authority, nobody, Renewal(current.stored, "blue", csr(key=1)))


class TestSinceAuthentication:
    """Whoever was authenticated before a revocation is judged by what is stored after it."""

    def test_a_grandchild_of_a_serial_that_was_revoked_since_is_refused(self, world: World) -> None:
        first = world.issue()
        third = world.renew(world.renew(first.stored).stored, key=2)
        holder = world.holder(third.stored)
        world.revoke(entry(EntryKind.SERIAL_NUMBER, first.stored.serial))
        with pytest.raises(RevokedError):
            world.renew(third.stored, requester=holder, key=3)

    def test_what_was_revoked_and_whose_entry_was_deleted_since_is_refused(self, world: World) -> None:
        current = world.issue()
        holder = world.holder(current.stored)
        world.delete(world.revoke(entry(EntryKind.GROUP, "system:nodes")))
        with pytest.raises(RevokedError):
            world.renew(current.stored, requester=holder)
        with pytest.raises(RevokedError):
            world.issue("kubelet-serving", "node-1", requester=holder)

    def test_each_of_a_batch_is_judged_by_its_own_certificate(self, world: World) -> None:
        revoked, good = world.issue(node="node-1"), world.issue(node="node-2")
        wishes = [
            prepare(world.holder(one.stored), Renewal(one.stored, "blue", csr(key=1)))
            for one in (revoked, good)
        ]
        world.delete(world.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-1")))
        refused, issued = issue_all(world.authority, wishes)
        assert isinstance(refused, RevokedError)
        assert isinstance(issued, IssuedCertificate)

    def test_what_was_signed_counts_as_it_was_when_its_signature_was_verified(self, world: World) -> None:
        current, other = world.issue(node="node-1"), world.issue(node="node-2")
        holder = world.holder(current.stored)
        with world.authority.database.write() as connection:
            row = update(certificates).where(certificates.c.id == current.stored.id)
            connection.execute(row.values(der=other.stored.der, profile="kubelet-serving", node="node-2"))
        new = world.renew(current.stored, requester=holder).stored
        assert (new.common_name, new.profile, new.node) == ("system:node:node-1", "kubelet-client", "node-1")

    def test_what_is_no_longer_kept_vouches_for_nothing(self, world: World) -> None:
        current = world.issue()
        holder = world.holder(current.stored)
        with world.authority.database.write() as connection:
            connection.execute(text("DELETE FROM certificates"))
        with pytest.raises(AuthenticationError):
            world.renew(current.stored, requester=holder)


class TestByMessage:
    """A message signed by the old key, where a proxy ends TLS."""

    def _message(
        self,
        world: World,
        current: StoredCertificate,
        *,
        key: int = 0,
        new: int = 1,
        lifetime: timedelta | None = None,
    ) -> bytes:
        signer = pooled_key(key)
        certificate = x509.load_der_x509_certificate(current.der)
        return sign_renewal_message(
            signer, certificate, csr(key=new), "blue", world.clock.now, lifetime
        ).encode()

    def test_the_key_that_signed_renews_its_certificate(self, world: World) -> None:
        current = world.issue(key=0).stored
        new = _renew_by_message(world, "blue", self._message(world, current)).stored
        assert (new.parent_id, new.spki_sha256) == (current.id, key_hash(1))
        assert new.requester == f"certificate:{current.serial} (system:node:node-1)"

    def test_a_message_that_is_sent_again_gives_the_same_certificate(self, world: World) -> None:
        message = self._message(world, world.issue(key=0).stored)
        first, second = (_renew_by_message(world, "blue", message) for _ in range(2))
        assert (second.stored, second.replayed) == (first.stored, True)

    def test_another_spelling_of_the_signature_makes_it_no_other_message(self, world: World) -> None:
        message = self._message(world, world.issue(key=0).stored)
        first, second = (_renew_by_message(world, "blue", m) for m in (message, message + b"=="))
        assert (second.stored, second.replayed) == (first.stored, True)

    def test_the_lifetime_that_is_wanted_is_signed_with_the_message(self, world: World) -> None:
        message = self._message(world, world.issue(key=0).stored, lifetime=timedelta(hours=1))
        made = _renew_by_message(world, "blue", message).stored
        assert made.not_after - made.issued_at <= timedelta(hours=1)

    def test_a_stale_message_leaves_its_decision_record(self, world: World) -> None:
        message = self._message(world, world.issue(key=0).stored)
        world.clock.advance(minutes=6)
        with pytest.raises(AuthenticationError) as refused:
            _renew_by_message(world, "blue", message)
        assert refused.value.decision is not None

    def test_a_message_by_another_key_or_for_another_cluster_or_time_is_refused(self, world: World) -> None:
        world.make_cluster("green")
        current = world.issue(key=0).stored
        good = self._message(world, current)
        with pytest.raises(AuthenticationError):
            _renew_by_message(world, "blue", self._message(world, current, key=5))
        with pytest.raises(AuthenticationError):
            _renew_by_message(world, "green", good)
        world.clock.advance(minutes=6)
        with pytest.raises(AuthenticationError):
            _renew_by_message(world, "blue", good)

    def test_a_message_of_a_revoked_certificate_is_refused(self, world: World) -> None:
        current = world.issue(key=0).stored
        message = self._message(world, current)
        world.revoke(entry(EntryKind.SERIAL_NUMBER, current.serial))
        with pytest.raises(RevokedError):
            _renew_by_message(world, "blue", message)

    def test_a_replay_after_the_revocation_of_what_it_made_is_refused(self, world: World) -> None:
        message = self._message(world, world.issue(key=0).stored)
        made = _renew_by_message(world, "blue", message).stored
        world.revoke(entry(EntryKind.SERIAL_NUMBER, made.serial))
        with pytest.raises(RevokedError):
            _renew_by_message(world, "blue", message)


def test_a_renewal_by_certificate_needs_one(world: World) -> None:
    with pytest.raises(AccessDeniedError):
        renewal_by_certificate(OPERATOR, "blue", csr(key=1))
    current = world.issue().stored
    holder = world.holder(current)
    new = issue(world.authority, holder, renewal_by_certificate(holder, "blue", csr(key=1)))
    assert new.stored.parent_id == current.id


def test_every_refusal_of_a_renewal_leaves_its_decision(world: World) -> None:
    current = world.issue()
    with pytest.raises(Refusal) as caught:
        issue(world.authority, world.holder(current.stored), Renewal(current.stored, "blue", b"garbage"))
    decision = world.decision(caught.value.decision)
    assert (decision.action, decision.profile, decision.verdict) == ("renew", "kubelet-client", "refused")
    assert decision.parent_serial == current.stored.serial
    with pytest.raises(Refusal) as caught:
        issue(world.authority, OPERATOR, Renewal(current.stored, "blue", csr()))
    assert world.decision(caught.value.decision).reason == "unauthorized"
