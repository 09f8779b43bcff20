"""A cluster that was switched off for a month comes back, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select
from tests.support.clock import Clock
from tests.support.fleet import API_SERVER, ETCD, REST, WORKER, WORKERS, Fleet, kinds, plights, states
from tests.support.revocation_objects import entry
from tests.support.world import World, make_authority, prepare_database

from trivet.pki.errors import ExpiredError, RevokedError
from trivet.pki.revocation import EntryKind
from trivet.store.tables import audit_records


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    clock = Clock()
    prepare_database(database_url, clock)
    world = World(make_authority(database_url, clock), clock)
    world.make_cluster("blue")
    yield world
    world.authority.database.dispose()


@pytest.fixture
def fleet(world: World) -> Fleet:
    return Fleet.provisioned(world)


def audited(world: World) -> list[str]:
    with world.authority.database.read() as connection:
        rows = connection.execute(select(audit_records.c.action).order_by(audit_records.c.id))
        return [row.action for row in rows]


def stage_told(told: dict[tuple[str, str], str], profiles: tuple[str, ...]) -> set[str]:
    return {answer for (_, profile), answer in told.items() if profile in profiles}


def test_a_cluster_that_was_off_for_a_month_comes_back_stage_by_stage(fleet: Fleet) -> None:
    clock = fleet.world.clock
    clock.advance(days=34)
    assert set(fleet.try_all().values()) == {"expired"}
    with pytest.raises(ExpiredError, match="trivet repair blue"):
        fleet.renew("cp-1", "etcd-peer")
    opened = fleet.open()
    assert (opened.total, opened.fresh, opened.state) == (18, 0, "open")
    clock.advance(seconds=10)
    told = fleet.try_all()
    # The agents try in the wrong order; the gate lets them through in the right one.
    assert stage_told(told, ETCD) == {"issued"}
    assert stage_told(told, (*REST, *API_SERVER)) == {"stageWaits"}
    clock.advance(seconds=15)
    now = fleet.progress(opened)
    assert states(now) == {"etcd": "fresh", "api-server": "current", "rest": "waiting"}
    assert (now.fresh, now.state) == (len(ETCD), "open")
    told = fleet.try_all()
    assert stage_told(told, API_SERVER) == {"issued"}
    assert {told["cp-1", profile] for profile in REST} == {"stageWaits"}
    clock.advance(seconds=15)
    told = fleet.try_all()
    assert stage_told(told, REST) == {"issued"}
    done = fleet.progress(opened)
    assert (done.state, done.fresh, done.total, done.pending) == ("completed", 18, 18, ())
    assert states(done) == {"etcd": "fresh", "api-server": "fresh", "rest": "fresh"}
    assert sorted(audited(fleet.world)[-5:]) == ["repair.close", "repair.open", *["repair.stage"] * 3]
    # It closed by itself: whoever expires now waits for another.
    clock.advance(days=5)
    assert set(fleet.try_all().values()) == {"expired"}


def test_after_revocation_by_serial_a_one_time_token_brings_a_node_back(fleet: Fleet) -> None:
    world = fleet.world
    lost = [fleet.held["worker-1", profile] for profile in WORKER]
    world.revoke(*(entry(EntryKind.SERIAL_NUMBER, one.serial) for one in lost))
    world.clock.advance(hours=1)
    opened = fleet.open()
    assert plights(opened) == {("worker-1", profile): "revoked" for profile in WORKER}
    (bar,) = opened.bars
    assert bar.command == "trivet repair token blue worker-1"
    with pytest.raises(RevokedError, match="one-time token"):
        fleet.renew("worker-1", "kubelet-client")
    world.clock.advance(seconds=1)
    secret = fleet.token(opened, "worker-1")
    assert secret.startswith("trivet-repair_")
    world.clock.advance(seconds=1)
    for profile in WORKER:
        issued = fleet.by_token(secret, "worker-1", profile)
        assert issued.stored.node == "worker-1"
        assert issued.stored.parent_id is None  # else the entry would name it as a descendant
        decision = world.decision(issued.stored.decision_id)
        assert str(opened.window.id) in (decision.detail or "")
    assert fleet.progress(opened).state == "completed"
    # And it renews as before.
    world.clock.advance(days=2)
    fleet.renew("worker-1", "kubelet-client")


def test_after_a_group_was_replaced_the_nodes_need_tokens_and_the_rest_renews(fleet: Fleet) -> None:
    world = fleet.world
    world.clock.advance(hours=1)
    world.revoke(entry(EntryKind.GROUP, "system:nodes", world.clock.now))
    world.clock.advance(days=34)
    opened = fleet.open()
    assert {plight for (_, profile), plight in plights(opened).items() if profile in WORKER} == {"revoked"}
    for _ in range(3):
        world.clock.advance(seconds=15)
        told = fleet.try_all()
    assert {profile for (_, profile), answer in told.items() if answer == "revoked"} == set(WORKER)
    for node in ("cp-1", *WORKERS):
        secret = fleet.token(opened, node)
        world.clock.advance(seconds=1)
        for profile in WORKER:
            fleet.by_token(secret, node, profile)
    assert fleet.progress(opened).state == "completed"


def test_a_group_without_not_before_bars_the_way_and_the_list_says_why(fleet: Fleet) -> None:
    world = fleet.world
    banned = world.revoke(entry(EntryKind.GROUP, "system:nodes"))
    world.clock.advance(days=34)
    opened = fleet.open()
    assert {plight for (_, profile), plight in plights(opened).items() if profile in WORKER} == {"banned"}
    bar = next(bar for bar in opened.bars if bar.kind == "banned")
    assert bar.identities == 8
    assert "no notBefore" in bar.detail
    assert "system:nodes" in bar.detail
    name = banned.revocation.name
    assert bar.command == f"trivet revocations delete {name} --namespace kube-system --cluster blue"
    secret = fleet.token(opened, "worker-1")
    world.clock.advance(seconds=1)
    with pytest.raises(RevokedError, match="has no notBefore"):
        fleet.by_token(secret, "worker-1", "kubelet-client")
    # Refused is not used: once the entry is gone the same token does.
    world.delete(banned)
    fleet.by_token(secret, "worker-1", "kubelet-client")
    assert "banned" not in kinds(fleet.progress(opened))


def test_one_dead_etcd_member_does_not_lock_out_the_cluster(fleet: Fleet) -> None:
    fleet.provision("dead", "etcd-peer")
    fleet.world.clock.advance(days=34)
    opened = fleet.open()
    del fleet.held["dead", "etcd-peer"]
    fleet.world.clock.advance(seconds=10)
    assert stage_told(fleet.try_all(), ETCD) == {"issued"}
    fleet.world.clock.advance(minutes=4, seconds=59)
    assert states(fleet.progress(opened))["api-server"] == "waiting"
    assert stage_told(fleet.try_all(), API_SERVER) == {"stageWaits"}
    fleet.world.clock.advance(seconds=1)
    assert stage_told(fleet.try_all(), API_SERVER) == {"issued"}
    now = fleet.progress(opened)
    assert states(now) == {"etcd": "passed", "api-server": "fresh", "rest": "current"}
    assert plights(now)["dead", "etcd-peer"] == "not-heard-of"
    fleet.world.clock.advance(seconds=1)
    assert stage_told(fleet.try_all(), REST) == {"issued"}
    # The dead member is still waited for, until the window ends.
    fleet.world.clock.advance(hours=2)
    done = fleet.progress(opened)
    assert (done.state, done.total - done.fresh) == ("ended", 1)
