"""What API servers are told of client certificates, and how a process keeps up with what others revoke."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select
from tests.support.clock import Clock
from tests.support.revocation_objects import entry
from tests.support.world import World, make_authority, prepare_database

from trivet.authority.access import Requester, Role
from trivet.authority.context import ReviewPolicy, WhenStale
from trivet.authority.install import OPERATOR
from trivet.authority.issue import IssuedCertificate
from trivet.authority.review import NO_OPINION, Outcome, Verdict, admit_reviewer, review
from trivet.authority.revocations import view as views
from trivet.authority.revocations.view import RevokedView, catch_up, look, open_view, reopen
from trivet.pki.errors import AccessDeniedError, NotFoundError
from trivet.pki.revocation import EntryKind
from trivet.store import clusters
from trivet.store.tables import certificates

POLICY = ReviewPolicy()


class Ticks:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def both(database_url: str) -> Iterator[tuple[World, World]]:
    """Give two processes over one database, as far as they know."""
    clock = Clock()
    prepare_database(database_url, clock)
    worlds = (
        World(make_authority(database_url, clock), clock),
        World(make_authority(database_url, clock), clock),
    )
    worlds[0].make_cluster("blue")
    worlds[0].make_cluster("red")
    yield worlds
    for world in worlds:
        world.authority.database.dispose()


def opened(world: World, ticks: Ticks, cluster: str = "blue") -> RevokedView:
    with world.authority.database.read() as connection:
        found = clusters.get(connection, cluster)
    return open_view(world.authority, found, ticks)


def digest(issued: IssuedCertificate) -> bytes:
    return hashlib.sha256(issued.stored.der).digest()


def kept_up(world: World, ticks: Ticks, *views: RevokedView) -> None:
    behind = look(world.authority, views, ticks)
    for view in behind.views:
        if not catch_up(world.authority, view, behind):
            reopen(world.authority, view, ticks)


def test_what_another_process_revoked_is_known_after_the_next_look(both: tuple[World, World]) -> None:
    here, there = both
    ticks = Ticks()
    first, second, third = (here.issue(node=f"node-{number}", key=number) for number in range(3))
    there.revoke(entry(EntryKind.SERIAL_NUMBER, first.stored.serial))
    view = opened(here, ticks)
    assert digest(first) in view.fingerprints
    assert digest(second) not in view.fingerprints
    there.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-1"))
    there.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-2"), cluster=None)
    kept_up(here, ticks, view)
    assert digest(second) in view.fingerprints
    assert digest(third) in view.fingerprints
    assert len(view.fingerprints) == 3


def test_a_view_is_as_of_the_look_before_which_all_was_known(world: World) -> None:
    ticks = Ticks()
    view = opened(world, ticks)
    ticks.now = 101
    assert not look(world.authority, [view], ticks).views
    assert view.as_of == 101
    world.revoke(entry(EntryKind.GROUP, "team"))
    ticks.now = 102
    behind = look(world.authority, [view], ticks)
    assert behind.views == [view]
    assert view.as_of == 101, "what was revoked since is not known"
    world.revoke(entry(EntryKind.GROUP, "other"))
    ticks.now = 103
    assert catch_up(world.authority, view, behind)
    assert view.as_of == 102, "it covers what that look saw"
    assert look(world.authority, [view], ticks).views == [view]


def test_a_revocation_in_one_cluster_does_not_concern_another(both: tuple[World, World]) -> None:
    here, there = both
    ticks = Ticks()
    blue, red = here.issue(), here.issue(cluster="red", key=1)
    views = opened(here, ticks), opened(here, ticks, "red")
    there.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-1"))
    kept_up(here, ticks, *views)
    assert digest(blue) in views[0].fingerprints
    assert not len(views[1].fingerprints)
    there.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-1"), cluster=None)
    kept_up(here, ticks, *views)
    assert digest(red) in views[1].fingerprints
    assert digest(red) not in views[0].fingerprints


def test_what_was_renewed_from_a_stolen_certificate_is_known_as_well(world: World) -> None:
    ticks = Ticks()
    stolen = world.issue()
    renewed = world.renew(stolen.stored)
    view = opened(world, ticks)
    world.revoke(entry(EntryKind.SERIAL_NUMBER, stolen.stored.serial))
    kept_up(world, ticks, view)
    assert digest(renewed) in view.fingerprints


def test_a_certificate_stays_revoked_when_the_object_is_deleted(world: World) -> None:
    ticks = Ticks()
    issued = world.issue()
    revoked = world.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-1"))
    view = opened(world, ticks)
    world.delete(revoked)
    kept_up(world, ticks, view)
    assert digest(issued) in view.fingerprints
    assert digest(issued) in opened(world, ticks).fingerprints


def test_what_expired_is_forgotten_so_that_memory_is_bounded(world: World) -> None:
    ticks = Ticks()
    world.issue()
    world.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-1"))
    view = opened(world, ticks)
    assert len(view.fingerprints) == 1
    world.clock.advance(days=4, hours=12)
    look(world.authority, [view], ticks)
    assert len(view.fingerprints) == 1, "the API server's clock may be behind"
    world.clock.advance(days=2)
    look(world.authority, [view], ticks)
    assert not len(view.fingerprints)
    assert not len(opened(world, ticks).fingerprints)


def test_what_a_clock_that_was_ahead_forgot_is_read_again(world: World) -> None:
    ticks = Ticks()
    issued = world.issue()
    world.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-1"))
    view = opened(world, ticks)
    world.clock.advance(days=7)
    assert not look(world.authority, [view], ticks).views
    assert digest(issued) not in view.fingerprints
    world.clock.advance(days=-7)
    ticks.now += 1
    assert look(world.authority, [view], ticks).views == [view]
    assert view.as_of < ticks.now, "it does not pass for right meanwhile"
    kept_up(world, ticks, view)
    assert digest(issued) in view.fingerprints
    assert not look(world.authority, [view], ticks).views, "once"


@pytest.mark.parametrize("is_open", [False, True])
def test_what_was_not_read_while_the_clock_was_ahead_is_read_later(world: World, *, is_open: bool) -> None:
    ticks = Ticks()
    issued = world.issue()
    view = opened(world, ticks)
    world.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-1"))
    world.clock.advance(days=7)
    if is_open:
        kept_up(world, ticks, view)
    else:
        view = opened(world, ticks)
    assert digest(issued) not in view.fingerprints
    world.clock.advance(days=-7)
    kept_up(world, ticks, view)
    assert digest(issued) in view.fingerprints


def test_nothing_is_read_again_when_the_clock_is_set_back_by_some_seconds(world: World) -> None:
    ticks = Ticks()
    view = opened(world, ticks)
    world.clock.advance(seconds=-50)
    assert not look(world.authority, [view], ticks).views


def test_what_is_much_is_not_caught_up_with_but_read_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = Ticks()
    issued = [world.issue(node=f"node-{number}", key=number) for number in range(3)]
    view = opened(world, ticks)
    monkeypatch.setattr(views, "LITTLE", 1)
    world.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-0"))
    behind = look(world.authority, [view], ticks)
    assert catch_up(world.authority, view, behind)
    world.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-1"))
    world.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-2"), cluster=None)
    ticks.now += 1
    behind = look(world.authority, [view], ticks)
    assert not catch_up(world.authority, view, behind)
    assert view.as_of < ticks.now
    assert look(world.authority, [view], ticks).views == [view]
    reopen(world.authority, view, ticks)
    assert all(digest(one) in view.fingerprints for one in issued)
    assert not look(world.authority, [view], ticks).views


def test_after_a_backup_was_put_back_all_is_read_anew(world: World) -> None:
    ticks = Ticks()
    issued = world.issue()
    view = opened(world, ticks)
    view.own_version = 5  # as the database was before
    world.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-1"))
    kept_up(world, ticks, view)
    assert digest(issued) in view.fingerprints, "though that version was covered before"
    assert view.own_version == 1


# What is said


@pytest.fixture
def view(world: World) -> RevokedView:
    world.issue()
    world.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-1"))
    return opened(world, Ticks())


def revoked_digest(world: World, view: RevokedView) -> bytes:
    with world.authority.database.read() as connection:
        der = connection.scalars(
            select(certificates.c.der).where(certificates.c.cluster_id == view.cluster.id)
        ).one()
    return hashlib.sha256(der).digest()


def test_a_revoked_certificate_is_denied_and_others_are_for_others_to_decide(
    world: World, view: RevokedView
) -> None:
    bad, unknown = revoked_digest(world, view), bytes(32)
    denied = review(view, [bad], 0.1, POLICY)
    assert denied.outcome is Outcome.DENIED
    assert denied.denied
    assert bad.hex() in denied.reason
    assert review(view, [unknown, bad], 0.1, POLICY).denied
    assert review(view, [unknown], 0.1, POLICY) == NO_OPINION
    assert review(view, [], 0.1, POLICY) == NO_OPINION


def test_while_the_database_is_away_the_last_known_view_answers_until_its_age_limit(
    world: World, view: RevokedView
) -> None:
    assert review(view, [bytes(32)], 300.0, POLICY) == NO_OPINION
    told = review(view, [bytes(32)], 300.1, POLICY)
    assert told.denied
    assert told.outcome is Outcome.STALE
    assert "300 s old" in told.reason
    assert "authorize_stale_seconds" in told.reason
    assert review(view, [revoked_digest(world, view)], 1e9, POLICY).outcome is Outcome.DENIED


def test_who_prefers_that_others_decide_then_gets_no_opinion_and_the_reason(view: RevokedView) -> None:
    told = review(view, [bytes(32)], 301, replace(POLICY, when_stale=WhenStale.NO_OPINION))
    assert told == Verdict(Outcome.STALE, error=told.error)
    assert "cannot be read" in told.error


def test_whoever_comes_without_a_client_certificate_is_never_denied(view: RevokedView) -> None:
    assert review(view, [], 1e9, POLICY) == NO_OPINION


def test_a_limit_of_none_still_lets_a_fresh_view_answer(view: RevokedView) -> None:
    strict = replace(POLICY, stale=timedelta())
    assert review(view, [bytes(32)], 1.0, strict) == NO_OPINION
    assert review(view, [bytes(32)], 1.1, strict).denied


# Who may ask


def test_an_api_server_may_ask_by_its_client_certificate_in_its_cluster_only(world: World) -> None:
    world.make_cluster("red")
    held = world.issue("apiserver-kubelet-client").stored
    assert admit_reviewer(world.authority, world.holder(held), "blue").name == "blue"
    for elsewhere in ("red", "nowhere"):
        with pytest.raises(AccessDeniedError):
            admit_reviewer(world.authority, world.holder(held), elsewhere)


def test_an_api_server_whose_own_certificate_is_revoked_or_expired_still_hears_what_is_revoked(
    world: World,
) -> None:
    held = world.issue("apiserver-kubelet-client").stored
    world.revoke(entry(EntryKind.GROUP, "kubeadm:cluster-admins"))
    world.clock.advance(days=30)
    assert admit_reviewer(world.authority, world.holder(held), "blue").name == "blue"


@pytest.mark.parametrize(
    "profile", ["kubelet-client", "admin", "controller-manager", "etcd-healthcheck-client"]
)
def test_no_other_certificate_may_ask(world: World, profile: str) -> None:
    held = world.issue(profile, "node-1" if profile == "kubelet-client" else None).stored
    with pytest.raises(AccessDeniedError, match="apiserver-kubelet-client"):
        admit_reviewer(world.authority, world.holder(held), "blue")


@pytest.mark.parametrize("role", list(Role))
def test_of_tokens_those_of_auditors_and_administrators_may_ask(world: World, role: Role) -> None:
    requester = replace(OPERATOR, role=role)
    if role in {Role.ADMIN, Role.AUDITOR}:
        assert admit_reviewer(world.authority, requester, "blue").name == "blue"
        with pytest.raises(NotFoundError):
            admit_reviewer(world.authority, requester, "nowhere")
    else:
        with pytest.raises(AccessDeniedError):
            admit_reviewer(world.authority, requester, "blue")


def test_a_token_of_another_cluster_may_not_ask(world: World) -> None:
    red = world.make_cluster("red")
    with pytest.raises(AccessDeniedError):
        admit_reviewer(world.authority, Requester("token:red", Role.AUDITOR, red.id), "blue")
