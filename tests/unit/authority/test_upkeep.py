"""What a cluster holds, when it should renew, how long it survives without Trivet."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import count
from uuid import UUID

import pytest
from cryptography import x509
from tests.support.fleet import Fleet, new_request
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr
from tests.support.world import World

from trivet.authority.access import Role
from trivet.authority.install import OPERATOR
from trivet.authority.metrics import measures
from trivet.authority.renewals.budget import BudgetMonitor, outage_budget
from trivet.authority.renewals.early import ask_cluster, list_wishes, renewal_progress
from trivet.authority.renewals.identities import holdings, list_identities
from trivet.authority.renewals.suggest import Suggestion, suggest, suggest_by_id
from trivet.pki.errors import AccessDeniedError, InvalidError, NotFoundError
from trivet.pki.pem import from_der
from trivet.pki.renewal import certificate_id
from trivet.pki.revocation import EntryKind
from trivet.store.certificates import StoredCertificate

CLIENT, SERVING = "kubelet-client", "kubelet-serving"
HOUR = timedelta(hours=1)


@pytest.fixture
def fleet(world: World) -> Fleet:
    fleet = Fleet(world)
    for node in ("v", "w"):
        fleet.provision(node, CLIENT)
    return fleet


def rfc9773_name(stored: StoredCertificate) -> str:
    found = from_der(stored.der).extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert found.key_identifier is not None
    return certificate_id(found.key_identifier, int(stored.serial, 16))


def suggestion(fleet: Fleet, stored: StoredCertificate) -> Suggestion:
    """What the service suggests; whoever asks, in whichever way, is told the same."""
    authority = fleet.world.authority
    told = suggest(authority, OPERATOR, "blue", stored.serial)
    assert suggest_by_id(authority, rfc9773_name(stored)) == told
    return told


class TestSuggestions:
    """Renewal information in the shape of RFC 9773."""

    def test_the_window_lies_around_two_thirds_of_the_life_and_is_the_same_each_time(
        self, fleet: Fleet
    ) -> None:
        held = fleet.held["w", CLIENT]
        told = suggestion(fleet, held)
        life = held.not_after - held.not_before
        assert held.not_before + 0.62 * life <= told.window.not_before + timedelta(seconds=1)
        assert told.window.not_after <= held.not_before + 0.72 * life
        assert told.ask_after == HOUR
        fleet.world.clock.advance(hours=9)
        assert suggestion(fleet, held) == told

    def test_what_was_revoked_or_replaced_is_to_be_replaced_at_once(self, fleet: Fleet) -> None:
        world, former = fleet.world, fleet.held["w", CLIENT]
        world.clock.advance(hours=1)
        fleet.renew("w", CLIENT)
        world.revoke(entry(EntryKind.COMMON_NAME, "system:node:v", world.clock.now))
        for stored in (former, fleet.held["v", CLIENT]):
            told = suggestion(fleet, stored)
            assert told.window.not_after <= world.clock.now
            assert told.ask_after == timedelta(minutes=1)
        assert suggestion(fleet, fleet.held["w", CLIENT]).window.not_before > world.clock.now

    def test_an_unknown_name_of_a_certificate_is_not_found(self, fleet: Fleet) -> None:
        good = rfc9773_name(fleet.held["w", CLIENT])
        authority_part, _, serial_part = good.partition(".")
        for name in ("", "a", "a.b.c", f"{authority_part}.AQ", f"AAAA.{serial_part}", good + "=", "x" * 300):
            with pytest.raises(NotFoundError):
                suggest_by_id(fleet.world.authority, name)

    def test_a_holder_may_ask_about_its_own_and_not_about_another(self, fleet: Fleet) -> None:
        world = fleet.world
        held = fleet.held["w", CLIENT]
        suggest(world.authority, world.holder(held), "blue", held.serial)
        with pytest.raises(NotFoundError):
            suggest(world.authority, world.holder(held), "blue", fleet.held["v", CLIENT].serial)


class TestEarlyRenewal:
    """A whole cluster is asked to renew before it is switched off."""

    def test_windows_are_spread_over_the_time_for_what_was_issued_until_then(self, fleet: Fleet) -> None:
        world = fleet.world
        world.clock.advance(hours=1)
        wish = ask_cluster(world.authority, OPERATOR, "blue", 2 * HOUR).wish
        for held in fleet.held.values():
            window = suggestion(fleet, held).window
            assert wish.asked_at <= window.not_before + timedelta(seconds=1)
            assert window.not_after <= wish.ends_at
        fleet.provision("x", CLIENT)
        assert suggestion(fleet, fleet.held["x", CLIENT]).window.not_before > wish.ends_at

    def test_at_once_means_now(self, fleet: Fleet) -> None:
        fleet.world.clock.advance(hours=1)
        ask_cluster(fleet.world.authority, OPERATOR, "blue", timedelta(0))
        told = suggestion(fleet, fleet.held["w", CLIENT])
        assert told.window.not_before <= fleet.world.clock.now
        assert told.ask_after == timedelta(minutes=1)

    def test_it_never_makes_a_renewal_later(self, fleet: Fleet) -> None:
        fleet.world.clock.advance(hours=50)
        before = suggestion(fleet, fleet.held["w", CLIENT])
        ask_cluster(fleet.world.authority, OPERATOR, "blue", timedelta(days=4))
        assert suggestion(fleet, fleet.held["w", CLIENT]).window.not_before <= before.window.not_before

    def test_progress_counts_who_has_renewed_and_names_who_is_late(self, fleet: Fleet) -> None:
        world = fleet.world
        world.clock.advance(hours=1)
        asked = ask_cluster(world.authority, OPERATOR, "blue", HOUR)
        assert (asked.total, asked.fresh) == (2, 0)
        world.clock.advance(minutes=1)
        fleet.renew("w", CLIENT)
        now = renewal_progress(world.authority, OPERATOR, "blue")
        assert (now.total, now.fresh, [one.held.node for one in now.late]) == (2, 1, ["v"])
        world.clock.advance(hours=2)
        (late,) = renewal_progress(world.authority, OPERATOR, "blue", asked.wish.id).late
        assert late.since is not None
        assert asked.wish.asked_at <= late.since + timedelta(seconds=1) <= asked.wish.ends_at
        fleet.renew("v", CLIENT)
        assert renewal_progress(world.authority, OPERATOR, "blue").late == ()
        (record,) = fleet.audited("cluster.renew")
        assert record.details == {"until": asked.wish.ends_at.isoformat()}

    @pytest.mark.parametrize("over", [timedelta(seconds=-1), timedelta(days=4, seconds=1)])
    def test_a_time_that_is_none_is_refused(self, fleet: Fleet, over: timedelta) -> None:
        with pytest.raises(InvalidError) as refused:
            ask_cluster(fleet.world.authority, OPERATOR, "blue", over)
        assert [fault.pointer for fault in refused.value.faults] == ["/overSeconds"]

    def test_it_is_asked_once_under_a_key_and_listed_newest_first(self, fleet: Fleet) -> None:
        authority = fleet.world.authority
        first, second = (ask_cluster(authority, OPERATOR, "blue", HOUR, "k") for _ in range(2))
        assert first.wish.id == second.wish.id
        fleet.world.clock.advance(seconds=1)
        third = ask_cluster(authority, OPERATOR, "blue", HOUR)
        listed = list_wishes(authority, OPERATOR, "blue", None, 10)
        assert [wish.id for wish in listed] == [third.wish.id, first.wish.id]

    def test_only_administrators_ask_and_who_was_never_asked_is_told_how(self, fleet: Fleet) -> None:
        authority = fleet.world.authority
        with pytest.raises(NotFoundError, match="trivet cluster renew blue"):
            renewal_progress(authority, OPERATOR, "blue")
        with pytest.raises(NotFoundError):
            renewal_progress(authority, OPERATOR, "blue", UUID(int=1))
        for role in (Role.ISSUER, Role.APPROVER, Role.AUDITOR):
            with pytest.raises(AccessDeniedError):
                ask_cluster(authority, replace(OPERATOR, role=role), "blue", HOUR)


class TestIdentities:
    """What a cluster holds: each identity by its newest certificate."""

    def test_a_renewal_and_a_certificate_that_was_issued_anew_take_the_place_of_the_former(
        self, fleet: Fleet
    ) -> None:
        world = fleet.world
        fleet.renew("w", CLIENT)
        world.clock.advance(seconds=1)
        fleet.provision("v", CLIENT)
        _, held = list_identities(world.authority, OPERATOR, "blue")
        assert {one.serial for one in held.waited_for} == {one.serial for one in fleet.held.values()}

    def test_other_names_are_another_identity(self, fleet: Fleet) -> None:
        world = fleet.world
        for hosts in (("w",), ("w", "192.0.2.1"), ("w",)):
            world.clock.advance(seconds=1)
            world.issue(SERVING, "w", request=new_request(SERVING, "w", hosts))
        _, held = list_identities(world.authority, OPERATOR, "blue", "w")
        assert Counter(one.profile for one in held.waited_for) == {SERVING: 2, CLIENT: 1}

    def test_no_more_than_so_many_are_looked_at_and_it_is_said(self, fleet: Fleet) -> None:
        with fleet.world.authority.database.read() as connection:
            (cluster,) = {one.cluster_id for one in fleet.held.values()}
            assert cluster is not None
            assert holdings(connection, cluster, most=2).is_complete is False
            assert holdings(connection, cluster, most=3).is_complete is True

    def test_issuers_do_not_read_them(self, fleet: Fleet) -> None:
        issuer = replace(OPERATOR, role=Role.ISSUER)
        for read in (list_identities, outage_budget):
            with pytest.raises(AccessDeniedError):
                read(fleet.world.authority, issuer, "blue")


class TestBudget:
    """How long a cluster survives if contact with Trivet is lost now."""

    def test_it_is_the_least_time_over_what_each_node_holds(self, fleet: Fleet) -> None:
        world = fleet.world
        world.clock.advance(days=1)
        fleet.provision("w", SERVING)
        world.clock.advance(days=1)
        fleet.renew("v", CLIENT)
        found = outage_budget(world.authority, OPERATOR, "blue")
        assert [(one.node, one.first.profile, one.identities) for one in found.nodes] == [
            ("w", CLIENT, 2),
            ("v", CLIENT, 1),
        ]
        assert found.first == found.nodes[0].first
        assert found.first.not_after == fleet.held["w", CLIENT].not_after

    def test_what_is_held_no_longer_or_was_given_up_does_not_count(self, world: World) -> None:
        found = outage_budget(world.authority, OPERATOR, "blue")
        assert (found.first, found.nodes) == (None, ())
        world.issue("kube-apiserver-client", None, request=csr("jane", ("team",)))
        assert outage_budget(world.authority, OPERATOR, "blue").first is None

    def test_a_scrape_is_told_of_each_cluster_a_slice_at_a_time(self, fleet: Fleet) -> None:
        world = fleet.world
        world.make_cluster("green")
        measures.tell_clusters_apart(wanted=True)
        monitor = BudgetMonitor(world.authority)
        monitor.read()
        end = min(one.not_after for one in fleet.held.values())
        assert monitor.ends() == [({"cluster": "blue"}, end.timestamp())]
        (lifetime,) = {one.not_after - one.issued_at for one in fleet.held.values() if one.not_after == end}
        assert monitor.lifetimes() == [({"cluster": "blue"}, lifetime.total_seconds())]
        # Too slow to look at more than one cluster for one scrape: the rest comes with the next.
        ticks = (0.6 * number for number in count())
        slow = BudgetMonitor(world.authority, lambda: next(ticks))
        slow.read()

        slow.read()
        assert slow.ends() == monitor.ends()

    def test_it_is_silent_where_series_do_not_carry_the_names_of_clusters(self, fleet: Fleet) -> None:
        measures.tell_clusters_apart(wanted=False)
        try:
            monitor = BudgetMonitor(fleet.world.authority)
            monitor.read()
            assert monitor.ends() == monitor.lifetimes() == []
        finally:
            measures.tell_clusters_apart(wanted=True)
