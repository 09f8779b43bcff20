"""The gate of a repair: each rule by which an expired certificate may renew, or may not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from unittest.mock import patch

import pytest
from cryptography import x509
from tests.support.fleet import Fleet, new_request, states
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr, pooled_key
from tests.support.world import World

from trivet.authority.access import Role
from trivet.authority.install import OPERATOR
from trivet.authority.issuance.application import Issuance, Renewal, prepare
from trivet.authority.issue import IssuedCertificate, issue, issue_all
from trivet.authority.renew import renewal_by_carried_message, renewal_by_message
from trivet.authority.repair import close_repair
from trivet.authority.repairs import ground as repair_ground
from trivet.authority.repairs.survey import Progress
from trivet.pki.errors import (
    AccessDeniedError,
    AuthenticationError,
    ConflictError,
    ExpiredError,
    NotFoundError,
    RejectedIdentifierError,
    RevokedError,
    StageWaitsError,
)
from trivet.pki.possession import sign_renewal_message
from trivet.pki.revocation import EntryKind
from trivet.store.certificates import StoredCertificate


@pytest.fixture
def fleet(world: World) -> Fleet:
    fleet = Fleet(world)
    fleet.provision("w", "kubelet-client")
    return fleet


@pytest.fixture
def late(fleet: Fleet) -> StoredCertificate:
    """Give a kubelet's certificate that expired an hour ago."""
    held = fleet.held["w", "kubelet-client"]
    fleet.world.clock.now = held.not_after + timedelta(hours=1)
    return held


def test_without_a_window_an_expired_certificate_does_not_renew_and_is_told_the_way_out(
    fleet: Fleet, late: StoredCertificate
) -> None:
    with pytest.raises(ExpiredError, match=rf"{late.serial} expired at .*\(trivet repair blue\)") as refused:
        fleet.renew("w", "kubelet-client")
    assert fleet.world.decision(refused.value.decision).reason == "expired"


def test_within_a_window_it_renews_and_the_decision_says_so(fleet: Fleet, late: StoredCertificate) -> None:
    opened = fleet.open()
    issued = fleet.renew("w", "kubelet-client")
    assert (issued.stored.parent_id, issued.stored.node) == (late.id, "w")
    decision = fleet.world.decision(issued.stored.decision_id)
    assert f"renewed in the repair window {opened.window.id}" in (decision.detail or "")


def test_the_last_second_of_a_certificate_is_its_own_and_needs_no_window(fleet: Fleet) -> None:
    held = fleet.held["w", "kubelet-client"]
    fleet.world.clock.now = held.not_after + timedelta(microseconds=999_999)
    fleet.renew("w", "kubelet-client")
    fleet.held["w", "kubelet-client"] = held
    fleet.world.clock.now = held.not_after + timedelta(seconds=1)
    with pytest.raises(ExpiredError):
        fleet.renew("w", "kubelet-client")


def test_a_window_opens_nothing_before_it_is_there_nor_after_its_end(
    fleet: Fleet, late: StoredCertificate
) -> None:
    del late
    clock = fleet.world.clock
    opened = fleet.open(lifetime=timedelta(hours=1))
    clock.now = opened.window.ends_at
    with pytest.raises(ExpiredError):
        fleet.renew("w", "kubelet-client")
    clock.now = opened.window.ends_at - timedelta(microseconds=1)
    fleet.renew("w", "kubelet-client")


def test_a_window_that_was_closed_lets_nobody_renew(fleet: Fleet, late: StoredCertificate) -> None:
    del late
    opened = fleet.open()
    close_repair(fleet.world.authority, OPERATOR, "blue", opened.window.id)
    with pytest.raises(ExpiredError):
        fleet.renew("w", "kubelet-client")


def test_the_window_of_another_cluster_opens_nothing_here(fleet: Fleet, late: StoredCertificate) -> None:
    del late
    fleet.world.make_cluster("green")
    Fleet(fleet.world, cluster="green").open()
    with pytest.raises(ExpiredError):
        fleet.renew("w", "kubelet-client")


@pytest.mark.parametrize(("more", "renews"), [(0, True), (1, False)])
def test_what_expired_longer_ago_than_the_window_takes_does_not_renew(
    fleet: Fleet, late: StoredCertificate, more: int, *, renews: bool
) -> None:
    # The window is open for two hours; the certificate crosses the line within them.
    fleet.world.clock.now = late.not_after + timedelta(days=2, seconds=-60)
    fleet.open(expired_for=timedelta(days=2))
    fleet.world.clock.now = late.not_after + timedelta(days=2, seconds=more)
    if renews:
        fleet.renew("w", "kubelet-client")
        return
    with pytest.raises(ExpiredError, match=r"longer ago than the 2 days .* --expired-for"):
        fleet.renew("w", "kubelet-client")


def test_a_revoked_certificate_does_not_renew_in_a_window(fleet: Fleet) -> None:
    world, held = fleet.world, fleet.held["w", "kubelet-client"]
    world.revoke(entry(EntryKind.SERIAL_NUMBER, held.serial))
    world.clock.now = held.not_after + timedelta(hours=1)
    fleet.open()
    with pytest.raises(RevokedError, match="trivet repair token CLUSTER NODE"):
        fleet.renew("w", "kubelet-client")


@pytest.mark.parametrize("kind", [EntryKind.GROUP, EntryKind.COMMON_NAME, EntryKind.PUBLIC_KEY])
def test_what_was_named_while_it_was_expired_does_not_renew(
    fleet: Fleet, late: StoredCertificate, kind: EntryKind
) -> None:
    value = {EntryKind.GROUP: "system:nodes", EntryKind.COMMON_NAME: "system:node:w"}.get(
        kind, late.spki_sha256
    )
    fleet.world.revoke(entry(kind, value, fleet.world.clock.now))
    fleet.world.clock.advance(seconds=1)
    fleet.open()
    with pytest.raises(RevokedError):
        fleet.renew("w", "kubelet-client")


def test_other_names_are_refused_in_a_window_as_always(fleet: Fleet, late: StoredCertificate) -> None:
    fleet.open()
    for request in (csr("system:node:other"), csr(hosts=("other.example",))):
        with pytest.raises(RejectedIdentifierError):
            fleet.world.renew(late, request=request)


def test_the_same_key_renews_and_another_certificate_vouches_for_nothing(
    fleet: Fleet, late: StoredCertificate
) -> None:
    world = fleet.world
    other = fleet.provision("x", "kubelet-client")
    world.clock.now = other.not_after + timedelta(hours=1)
    fleet.open()
    with pytest.raises(ExpiredError):
        # The holder of one expired certificate asks for the renewal of another.
        issue(world.authority, world.holder(other), Renewal(late, "blue", new_request()))
    kept = world.renew(late, request=csr(key=7))
    assert kept.stored.parent_id == late.id


def test_a_live_certificate_does_not_renew_another_in_a_window(fleet: Fleet, late: StoredCertificate) -> None:
    world = fleet.world
    fleet.open()
    live = world.issue(node="y").stored
    with pytest.raises(AccessDeniedError):
        issue(world.authority, world.holder(live), Renewal(late, "blue", new_request()))


def test_an_expired_certificate_gives_nothing_but_its_own_renewal(
    fleet: Fleet, late: StoredCertificate
) -> None:
    world = fleet.world
    fleet.open()
    wish = Issuance("blue", "kubelet-serving", csr(hosts=("w",)), "w")
    with pytest.raises(ExpiredError):
        issue(world.authority, world.holder(late), wish)


def test_what_was_replaced_does_not_renew_in_a_window(fleet: Fleet) -> None:
    world, former = fleet.world, fleet.held["w", "kubelet-client"]
    fleet.renew("w", "kubelet-client")
    world.clock.now = former.not_after + timedelta(days=5)
    fleet.open()
    with pytest.raises(ExpiredError, match=r"was replaced at .* one-time token"):
        world.renew(former, request=new_request())
    fleet.renew("w", "kubelet-client")


def test_an_expired_certificate_renews_once(fleet: Fleet, late: StoredCertificate) -> None:
    fleet.open()
    fleet.renew("w", "kubelet-client")
    with pytest.raises(ExpiredError, match="was replaced"):
        fleet.world.renew(late, request=new_request())


def test_of_two_wishes_in_one_batch_the_first_has_it(fleet: Fleet, late: StoredCertificate) -> None:
    world = fleet.world
    fleet.open()
    holder = world.holder(late)
    wishes = [prepare(holder, Renewal(late, "blue", new_request())) for _ in range(2)]
    first, second = issue_all(world.authority, wishes)
    assert isinstance(first, IssuedCertificate)
    assert isinstance(second, ExpiredError)
    assert world.decision(second.decision).verdict == "refused"


def test_the_same_request_again_gives_the_same_certificate(fleet: Fleet, late: StoredCertificate) -> None:
    fleet.open()
    request = new_request()
    first, second = (
        fleet.world.renew(late, request=request, idempotency_key="lost-answer") for _ in range(2)
    )
    assert (second.stored.id, second.replayed) == (first.stored.id, True)
    with pytest.raises(ExpiredError, match="was replaced"):
        fleet.world.renew(late, request=new_request(), idempotency_key="another-wish")


def test_stages_wait_for_their_turn_and_are_told_when_to_ask_again(fleet: Fleet) -> None:
    peer = fleet.provision("cp", "etcd-peer")
    fleet.provision("cp", "apiserver")
    fleet.world.clock.now = peer.not_after + timedelta(days=1)
    opened = fleet.open()
    for profile, waits_for in (("apiserver", r"\(etcd\)"), ("kubelet-client", r"\(etcd, api-server\)")):
        node = "cp" if profile == "apiserver" else "w"
        with pytest.raises(StageWaitsError, match=waits_for) as waits:
            fleet.renew(node, profile)
        assert waits.value.retry_after == timedelta(seconds=5)
    assert fleet.try_all() == {
        ("w", "kubelet-client"): "stageWaits",
        ("cp", "etcd-peer"): "issued",
        ("cp", "apiserver"): "stageWaits",  # whose turn it is, is counted once a second
    }
    fleet.world.clock.advance(seconds=1)
    assert fleet.try_all()["cp", "apiserver"] == "issued"
    fleet.world.clock.advance(seconds=1)
    fleet.renew("w", "kubelet-client")
    assert states(fleet.progress(opened)) == {"etcd": "fresh", "api-server": "fresh", "rest": "fresh"}


def test_who_was_told_to_begin_is_not_stopped_again(fleet: Fleet) -> None:
    world = fleet.world
    peer = fleet.provision("cp", "etcd-peer")
    fleet.provision("v", "kubelet-client")
    world.clock.now = peer.not_after + timedelta(days=1)
    fleet.open()
    fleet.renew("cp", "etcd-peer")
    world.clock.advance(seconds=1)
    fleet.renew("w", "kubelet-client")
    # Nobody has looked at the window meanwhile; etcd's member loses its certificate again.
    world.revoke(entry(EntryKind.SERIAL_NUMBER, fleet.held["cp", "etcd-peer"].serial))
    world.clock.advance(seconds=30)
    fleet.renew("v", "kubelet-client")


def test_whose_turn_it_is_is_counted_once_a_second_however_many_ask(fleet: Fleet) -> None:
    fleet.world.clock.now = fleet.provision("cp", "etcd-peer").not_after + timedelta(days=1)
    fleet.open()
    with pytest.raises(StageWaitsError):
        fleet.renew("w", "kubelet-client")
    with patch("trivet.authority.repairs.ground.holdings", side_effect=AssertionError):
        for _ in range(5):
            fleet.world.clock.advance(seconds=0.19)
            with pytest.raises(StageWaitsError):
                fleet.renew("w", "kubelet-client")
        fleet.world.clock.advance(seconds=0.19)
        with pytest.raises(AssertionError):
            fleet.renew("w", "kubelet-client")


def test_an_ordinary_request_reads_nothing_of_repairs(fleet: Fleet) -> None:
    # The hot path: neither an issuance nor a renewal asks for windows, tokens, stages or holdings.
    world = fleet.world
    with (
        patch.multiple(repair_ground, repairs=None, repair_tokens=None, identities=None, holdings=None),
        patch("trivet.store.certificates.supersede_first", None),
    ):
        world.issue(node="n")
        fleet.renew("w", "kubelet-client")


class TestByMessage:
    """The same where a proxy ends TLS, or an administrator carries the message."""

    @pytest.fixture
    def late(self, world: World) -> StoredCertificate:
        held = world.issue(node="w", key=0).stored
        world.clock.now = held.not_after + timedelta(hours=1)
        return held

    def _message(self, world: World, held: StoredCertificate, *, signer: int = 0, new: int = 1) -> bytes:
        certificate = x509.load_der_x509_certificate(held.der)
        now = world.clock.now
        return sign_renewal_message(pooled_key(signer), certificate, csr(key=new), "blue", now).encode()

    def _renew(self, world: World, message: bytes) -> IssuedCertificate:
        return issue(world.authority, *renewal_by_message(world.authority, "blue", message))

    def _carry(self, world: World, opened: Progress, message: bytes) -> IssuedCertificate:
        wish = renewal_by_carried_message(world.authority, OPERATOR, "blue", opened.window.id, message)
        return issue(world.authority, *wish)

    def test_a_message_by_an_expired_certificate_renews_in_a_window_only(
        self, world: World, late: StoredCertificate
    ) -> None:
        with pytest.raises(ExpiredError, match="trivet repair blue"):
            self._renew(world, self._message(world, late))
        Fleet(world).open()
        assert self._renew(world, self._message(world, late)).stored.parent_id == late.id

    def test_a_message_by_another_key_is_refused_in_a_window(
        self, world: World, late: StoredCertificate
    ) -> None:
        Fleet(world).open()
        with pytest.raises(AuthenticationError, match="not signed by the key"):
            self._renew(world, self._message(world, late, signer=5))

    def test_signed_anew_for_the_same_request_it_gives_the_same_certificate(
        self, world: World, late: StoredCertificate
    ) -> None:
        Fleet(world).open()
        first = self._renew(world, self._message(world, late))
        world.clock.advance(minutes=9)
        second = self._renew(world, self._message(world, late))
        assert (second.stored.id, second.replayed) == (first.stored.id, True)
        with pytest.raises(ExpiredError, match="was replaced"):
            self._renew(world, self._message(world, late, new=2))

    def test_a_carried_message_may_be_a_week_old_and_no_older(
        self, world: World, late: StoredCertificate
    ) -> None:
        message = self._message(world, late)
        world.clock.advance(days=7)
        opened = Fleet(world).open()
        with pytest.raises(AuthenticationError, match="make it anew"):
            self._renew(world, message)
        made = self._carry(world, opened, message)
        assert self._carry(world, opened, message).stored.id == made.stored.id
        world.clock.advance(seconds=1)
        with pytest.raises(AuthenticationError, match="make it anew"):
            self._carry(world, opened, message)

    def test_who_carried_it_is_in_the_audit_trail(self, world: World, late: StoredCertificate) -> None:
        opened = Fleet(world).open()
        self._carry(world, opened, self._message(world, late))
        (record,) = Fleet(world).audited("repair.carry")
        assert (record.requester, record.details) == (
            OPERATOR.name,
            {"certificate": late.serial, "node": "w"},
        )

    def test_nothing_is_carried_into_a_window_that_is_over_or_unknown_nor_by_who_may_not_repair(
        self, world: World, late: StoredCertificate
    ) -> None:
        message = self._message(world, late)
        opened = Fleet(world).open()
        issuer = replace(OPERATOR, role=Role.ISSUER)
        with pytest.raises(AccessDeniedError):
            renewal_by_carried_message(world.authority, issuer, "blue", opened.window.id, message)
        with pytest.raises(NotFoundError):
            renewal_by_carried_message(world.authority, OPERATOR, "blue", late.id, message)
        world.clock.now = opened.window.ends_at
        with pytest.raises(ConflictError, match="open another"):
            self._carry(world, opened, message)
