"""Repair windows: opened once, bounded, closed by themselves; who may, and what is left in the audit trail."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from tests.support.fleet import Fleet, kinds, plights, states
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr
from tests.support.world import World

from trivet.authority.access import Role
from trivet.authority.install import OPERATOR
from trivet.authority.renewals.identities import abandon, take_back
from trivet.authority.repair import (
    close_repair,
    list_repairs,
    open_repair,
    rehearse_repair,
    repair_progress,
    skip_stage,
)
from trivet.authority.repairs.watch import look_after_all
from trivet.pki.errors import (
    AccessDeniedError,
    ConflictError,
    IdempotencyError,
    InvalidError,
    NotFoundError,
)
from trivet.pki.repair import Stage
from trivet.pki.revocation import EntryKind
from trivet.store import repairs

CLIENT = "kubelet-client"


@pytest.fixture
def fleet(world: World) -> Fleet:
    """Give a member of etcd, an API server and a worker that expired a day ago."""
    fleet = Fleet(world)
    for node, profile in (("cp", "etcd-peer"), ("cp", "apiserver"), ("w", CLIENT)):
        fleet.provision(node, profile)
    world.clock.advance(days=5)
    return fleet


def changes(fleet: Fleet) -> list[tuple[str, str, dict[str, object]]]:
    # Of one moment in the order of a repair: the clock stands still, and ids of one millisecond have no order.
    actions = ("repair.open", "repair.stage", "repair.close", "node.abandon", "node.take-back")
    found = [one for action in actions for one in fleet.audited(action)]
    found.sort(key=lambda one: one.recorded_at)
    return [(one.requester, one.action, one.details) for one in found]


def test_a_window_has_the_spans_that_were_asked_for_and_says_what_is_pending(fleet: Fleet) -> None:
    spans = {
        "lifetime": timedelta(hours=8),
        "expired_for": timedelta(days=30),
        "patience": timedelta(minutes=1),
    }
    window = fleet.open(**spans).window
    assert (window.ends_at - window.opened_at, window.longest_expired, window.patience) == tuple(
        spans.values()
    )
    assert (window.pending, window.opened_by) == (3, "operator")
    until = window.ends_at.isoformat()
    opened = {"until": until, "expiredForSeconds": 30 * 86_400, "pending": 3}
    assert changes(fleet) == [("operator", "repair.open", opened)]


@pytest.mark.parametrize(
    ("spans", "pointer"),
    [
        ({"lifetime": timedelta(seconds=59)}, "/forSeconds"),
        ({"lifetime": timedelta(days=7, seconds=1)}, "/forSeconds"),
        ({"expired_for": timedelta(0)}, "/expiredForSeconds"),
        ({"expired_for": timedelta(days=3651)}, "/expiredForSeconds"),
        ({"patience": timedelta(seconds=9)}, "/patienceSeconds"),
        ({"patience": timedelta(hours=2, seconds=1)}, "/patienceSeconds"),
    ],
)
def test_a_span_that_is_too_short_or_too_long_is_refused(
    fleet: Fleet, spans: dict[str, timedelta], pointer: str
) -> None:
    with pytest.raises(InvalidError) as refused:
        fleet.open(**spans)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]
    assert changes(fleet) == []


def test_a_cluster_has_one_open_window_and_the_refusal_of_a_second_says_how_to_go_on(fleet: Fleet) -> None:
    opened = fleet.open()
    with pytest.raises(ConflictError, match=r"trivet repair status blue.* trivet repair close blue"):
        fleet.open()
    # One whose time is over does not stand in the way, though nobody has noted its end.
    fleet.world.clock.now = opened.window.ends_at
    second = fleet.open()
    assert second.window.id != opened.window.id
    assert fleet.progress(opened).window.closed_at == opened.window.ends_at


def test_an_idempotency_key_opens_one_window(fleet: Fleet) -> None:
    first, second = (fleet.open(idempotency_key="k") for _ in range(2))
    assert first.window.id == second.window.id
    with pytest.raises(IdempotencyError):
        fleet.open(idempotency_key="k", lifetime=timedelta(hours=1))


@pytest.mark.parametrize("role", [Role.ISSUER, Role.APPROVER, Role.AUDITOR, Role.HOLDER, Role.REPAIR])
def test_only_an_administrator_opens_closes_skips_and_gives_up(fleet: Fleet, role: Role) -> None:
    authority, requester = fleet.world.authority, replace(OPERATOR, role=role)
    opened = fleet.open().window.id
    for attempt in (
        lambda: open_repair(authority, requester, "blue"),
        lambda: close_repair(authority, requester, "blue", opened),
        lambda: skip_stage(authority, requester, "blue", opened, Stage.ETCD),
        lambda: abandon(authority, requester, "blue", "w"),
        lambda: take_back(authority, requester, "blue", "w"),
    ):
        with pytest.raises(AccessDeniedError):
            attempt()


@pytest.mark.parametrize("role", [Role.APPROVER, Role.AUDITOR])
def test_who_reads_may_follow_and_rehearse(fleet: Fleet, role: Role) -> None:
    authority, requester = fleet.world.authority, replace(OPERATOR, role=role)
    opened = fleet.open()
    assert repair_progress(authority, requester, "blue", opened.window.id).total == 3
    assert rehearse_repair(authority, requester, "blue").total == 3
    assert len(list_repairs(authority, requester, "blue", None, 10)[1]) == 1


def test_an_administrator_of_another_cluster_opens_and_reads_nothing_here(fleet: Fleet) -> None:
    other = fleet.world.admin_of(fleet.world.make_cluster("green"))
    with pytest.raises(AccessDeniedError):
        open_repair(fleet.world.authority, other, "blue")
    with pytest.raises(AccessDeniedError):
        rehearse_repair(fleet.world.authority, other, "blue")


def test_a_window_of_another_cluster_is_not_found_here(fleet: Fleet) -> None:
    fleet.world.make_cluster("green")
    opened = fleet.open().window.id
    for unknown in (opened, UUID(int=1)):
        with pytest.raises(NotFoundError):
            close_repair(fleet.world.authority, OPERATOR, "green", unknown)
        with pytest.raises(NotFoundError):
            repair_progress(fleet.world.authority, OPERATOR, "green", unknown)


def test_a_rehearsal_opens_and_notes_nothing(fleet: Fleet) -> None:
    rehearsed = rehearse_repair(fleet.world.authority, OPERATOR, "blue")
    assert (rehearsed.state, rehearsed.total, rehearsed.fresh) == ("rehearsal", 3, 0)
    assert states(rehearsed) == {"etcd": "current", "api-server": "waiting", "rest": "waiting"}
    assert kinds(rehearsed) == []  # nobody can have been heard of yet
    assert set(plights(rehearsed).values()) == {"waiting"}
    assert set(fleet.try_all().values()) == {"expired"}
    assert changes(fleet) == []


class TestClosing:
    """It closes by itself: when all is fresh, when its time is over; or an administrator does it."""

    def test_when_all_is_fresh(self, fleet: Fleet) -> None:
        opened = fleet.open()
        for _ in range(3):
            fleet.try_all()
            fleet.world.clock.advance(seconds=1)
        # Nobody asks how it stands; the service looks by itself.
        assert look_after_all(fleet.world.authority) == 1
        assert look_after_all(fleet.world.authority) == 0
        assert fleet.progress(opened).state == "completed"
        assert [change[:2] for change in changes(fleet)] == [
            ("operator", "repair.open"),
            *[("trivet", "repair.stage")] * 3,
            ("trivet", "repair.close"),
        ]
        assert changes(fleet)[-1][2] == {"outcome": "completed"}

    def test_when_its_time_is_over(self, fleet: Fleet) -> None:
        opened = fleet.open(lifetime=timedelta(minutes=1))
        fleet.world.clock.advance(hours=9)
        look_after_all(fleet.world.authority)
        done = fleet.progress(opened)
        assert (done.state, done.window.closed_at) == ("ended", opened.window.ends_at)
        # No stage was passed after the end, however late somebody looked.
        assert fleet.audited("repair.stage") == []

    def test_not_at_once_where_all_was_fresh_when_it_was_opened_for_the_sake_of_a_token(
        self, world: World
    ) -> None:
        fleet = Fleet(world)
        fleet.provision("w", CLIENT)
        opened = fleet.open()
        look_after_all(world.authority)
        assert fleet.progress(opened).state == "open"
        world.clock.advance(hours=2)
        assert fleet.progress(opened).state == "ended"

    def test_by_an_administrator_once(self, fleet: Fleet) -> None:
        opened = fleet.open()
        fleet.close(opened)
        assert fleet.progress(opened).state == "closed"
        with pytest.raises(ConflictError, match="over already"):
            fleet.close(opened)
        assert [change[2] for change in changes(fleet)][1:] == [{"outcome": "closed"}]

    def test_what_is_over_is_listed_with_its_outcome_newest_first(self, fleet: Fleet) -> None:
        for _ in range(3):
            fleet.close(fleet.open())
            fleet.world.clock.advance(seconds=1)
        now, found = list_repairs(fleet.world.authority, OPERATOR, "blue", None, 2)
        assert (now, [one.outcome for one in found]) == (fleet.world.clock.now, ["closed"] * 2)
        assert found[0].opened_at > found[1].opened_at
        _, rest = list_repairs(fleet.world.authority, OPERATOR, "blue", found[-1].id, 2)
        assert len(rest) == 1


class TestStages:
    """What passes a stage, and what does not."""

    def test_a_stage_that_is_skipped_lets_the_next_begin_at_once(self, fleet: Fleet) -> None:
        opened = fleet.open()
        skipped = skip_stage(fleet.world.authority, OPERATOR, "blue", opened.window.id, Stage.ETCD)
        assert states(skipped) == {"etcd": "skipped", "api-server": "current", "rest": "waiting"}
        fleet.renew("cp", "apiserver")
        assert fleet.audited("repair.stage")[0].details["ended"] == "skipped"

    def test_a_stage_is_skipped_once_and_the_last_not_at_all(self, fleet: Fleet) -> None:
        authority, opened = fleet.world.authority, fleet.open().window.id
        skip_stage(authority, OPERATOR, "blue", opened, Stage.ETCD, "k")
        skip_stage(authority, OPERATOR, "blue", opened, Stage.ETCD, "k")
        with pytest.raises(ConflictError, match="over already"):
            skip_stage(authority, OPERATOR, "blue", opened, Stage.ETCD)
        with pytest.raises(InvalidError, match="no stage waits for rest"):
            skip_stage(authority, OPERATOR, "blue", opened, Stage.REST)
        close_repair(authority, OPERATOR, "blue", opened)
        with pytest.raises(ConflictError, match="over already"):
            skip_stage(authority, OPERATOR, "blue", opened, Stage.API_SERVER)

    def test_what_was_given_up_is_not_waited_for(self, fleet: Fleet) -> None:
        opened = fleet.open()
        assert abandon(fleet.world.authority, OPERATOR, "blue", "cp") == 2
        now = fleet.progress(opened)
        assert (now.total, now.abandoned) == (1, 2)
        assert states(now)["rest"] == "current"
        fleet.renew("w", CLIENT)
        assert fleet.progress(opened).state == "completed"

    def test_what_was_given_up_is_waited_for_again_once_it_is_taken_back_or_renews(
        self, fleet: Fleet
    ) -> None:
        authority, opened = fleet.world.authority, fleet.open()
        abandon(authority, OPERATOR, "blue", "cp")
        fleet.world.clock.advance(seconds=1)
        assert take_back(authority, OPERATOR, "blue", "cp") == 2
        assert fleet.progress(opened).total == 3
        fleet.world.clock.advance(seconds=1)
        abandon(authority, OPERATOR, "blue", "cp")
        fleet.renew("cp", "etcd-peer")
        now = fleet.progress(opened)
        assert (now.total, now.fresh, now.abandoned) == (2, 1, 1)
        with pytest.raises(NotFoundError):
            take_back(authority, OPERATOR, "blue", "w")
        with pytest.raises(NotFoundError):
            abandon(authority, OPERATOR, "blue", "nobody")
        actions = [one[1] for one in changes(fleet) if one[1].startswith("node.")]
        assert actions == ["node.abandon", "node.take-back", "node.abandon"]

    def test_one_that_renews_again_and_again_does_not_keep_a_stage_from_being_passed(
        self, fleet: Fleet
    ) -> None:
        fleet.provision("dead", "etcd-peer")
        fleet.world.clock.advance(days=5)
        opened = fleet.open()
        del fleet.held["dead", "etcd-peer"]
        for _ in range(6):
            fleet.renew("cp", "etcd-peer")
            fleet.world.clock.advance(minutes=1)
        assert states(fleet.progress(opened))["etcd"] == "passed"


class TestBars:
    """What bars the way, in plain words, with what clears it."""

    def test_who_was_not_heard_of_and_who_was_refused(self, fleet: Fleet) -> None:
        opened = fleet.open()
        fleet.world.clock.advance(seconds=1)
        assert plights(opened)["cp", "etcd-peer"] == "not-heard-of"
        (bar,) = opened.bars
        assert "not heard of since the window was opened: cp (etcd-peer)" in bar.detail
        assert bar.command == "trivet repair abandon blue cp"
        with pytest.raises(Exception, match="names"):
            fleet.world.renew(fleet.held["cp", "etcd-peer"], request=csr(hosts=("other.example",), key=5))
        (bar,) = fleet.progress(opened).bars
        assert bar.kind == "refused"
        assert "cp (etcd-peer) asked and was refused: " in bar.detail

    def test_what_waits_for_its_turn_bars_nothing(self, fleet: Fleet) -> None:
        opened = fleet.open()
        fleet.world.clock.advance(seconds=1)
        fleet.renew("cp", "etcd-peer")
        fleet.world.clock.advance(seconds=1)
        del fleet.held["cp", "apiserver"]
        fleet.try_all()
        now = fleet.progress(opened)
        assert plights(now) == {("cp", "apiserver"): "not-heard-of", ("w", CLIENT): "waiting"}
        assert [(bar.kind.value, bar.identities) for bar in now.bars] == [("not-heard-of", 1)]

    def test_what_expired_too_long_ago_and_the_span_that_would_take_it(self, fleet: Fleet) -> None:
        fleet.world.clock.advance(days=20)
        opened = fleet.open(expired_for=timedelta(days=10))
        (bar,) = opened.bars
        assert (bar.kind, bar.identities) == ("expired-too-long-ago", 3)
        assert bar.command == "trivet repair blue --expired-for 23d"
        assert "longer ago than the 10 days" in bar.detail
        fleet.close(opened)
        fleet.open(expired_for=timedelta(days=23))
        fleet.renew("cp", "etcd-peer")

    def test_what_was_revoked_without_a_node_needs_an_issuer(self, world: World) -> None:
        fleet = Fleet(world)
        held = world.issue("scheduler", None).stored
        banned = world.revoke(entry(EntryKind.SERIAL_NUMBER, held.serial))
        (bar,) = fleet.open().bars
        assert f"revoked by the entry SerialNumber {held.serial!r} of the RenewRevocation" in bar.detail
        assert bar.command == "trivet sign CSR --profile scheduler --cluster blue"
        world.delete(banned)

    def test_a_ban_of_all_clusters_is_deleted_there(self, fleet: Fleet) -> None:
        banned = fleet.world.revoke(entry(EntryKind.COMMON_NAME, "system:node:w"), cluster=None)
        bar = next(bar for bar in fleet.open().bars if bar.kind == "banned")
        assert bar.command == (
            f"trivet revocations delete {banned.revocation.name} --namespace kube-system --all-clusters"
        )

    def test_a_ban_for_a_time_says_until_when(self, fleet: Fleet) -> None:
        until = fleet.world.clock.now + timedelta(hours=1)
        fleet.world.revoke(entry(EntryKind.COMMON_NAME, "system:node:w", until))
        bar = next(bar for bar in fleet.open().bars if bar.kind == "banned")
        assert f"bars new certificates until {until:%Y-%m-%dT%H:%M:%SZ}" in bar.detail

    def test_a_holder_of_what_was_replaced_is_a_warning(self, fleet: Fleet) -> None:
        former = fleet.held["cp", "etcd-peer"]
        opened = fleet.open()
        fleet.world.clock.advance(seconds=1)
        fleet.renew("cp", "etcd-peer")
        with pytest.raises(Exception, match="was replaced"):
            fleet.world.renew(former, request=csr(key=6))
        (warning,) = fleet.progress(opened).warnings
        assert (
            f"the certificate {former.serial}, which is not the newest of its identity, was refused"
            in warning
        )

    def test_certificates_without_a_node_are_a_warning(self, world: World) -> None:
        world.issue("apiserver-kubelet-client", None)
        (warning,) = Fleet(world).open().warnings
        assert "no node is noted with certificates of the profiles apiserver-kubelet-client" in warning

    @pytest.mark.parametrize(("days", "warns"), [(20, False), (60, True)])
    def test_what_may_have_been_forgotten_is_a_warning_where_it_is_likely(
        self, fleet: Fleet, days: int, *, warns: bool
    ) -> None:
        policy = replace(fleet.world.authority.policy, retention=timedelta(days=90))
        fleet.world.authority = replace(fleet.world.authority, policy=policy)
        fleet.world.clock.advance(days=days)
        assert any("kept for 90 days" in warning for warning in fleet.open().warnings) == warns

    def test_a_cluster_that_holds_nothing_is_told_that_it_may_be_forgotten(self, world: World) -> None:
        policy = replace(world.authority.policy, retention=timedelta(days=90))
        world.authority = replace(world.authority, policy=policy)
        opened = Fleet(world).open()
        assert (opened.total, len(opened.warnings)) == (0, 1)


def test_a_user_is_not_waited_for(world: World) -> None:
    fleet = Fleet(world)
    world.issue("kube-apiserver-client", None)
    fleet.provision("w", CLIENT)
    world.clock.advance(days=5)
    opened = fleet.open()
    assert (opened.total, opened.window.pending) == (1, 1)
    with world.authority.database.read() as connection:
        assert len(repairs.all_unclosed(connection)) == 1
