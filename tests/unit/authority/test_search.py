from __future__ import annotations

from datetime import timedelta

import pytest
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr
from tests.support.world import World

from trivet.authority.access import Requester, Role
from trivet.authority.install import OPERATOR
from trivet.authority.issuance.application import Issuance
from trivet.authority.issue import issue
from trivet.authority.proof.explain import explain_certificate, explain_decision
from trivet.authority.renewals.suggest import renewal_window
from trivet.authority.search import (
    Search,
    cluster_names,
    get_certificate,
    get_cluster,
    issuers_of,
    list_clusters,
    list_generations,
    names_and_issuers,
    search_certificates,
    status_of,
)
from trivet.pki.errors import AccessDeniedError, BadCSRError, InvalidError, NotFoundError
from trivet.pki.revocation import EntryKind
from trivet.store.certificates import StoredCertificate


@pytest.fixture
def hit(world: World) -> StoredCertificate:
    """Give the one certificate that every search below should find, among others."""
    world.issue("kubelet-client", "node-2")
    world.issue("etcd-peer", "node-2", hosts=("b.example", "10.2.0.1"))
    world.make_cluster("green")
    hosts = ("a.b.example", "10.1.2.3")
    world.issue("kubelet-serving", "node-1", hosts=hosts, cluster="green")
    world.clock.advance(hours=1)
    return world.issue("kubelet-serving", "node-1", hosts=hosts, lifetime=timedelta(hours=1)).stored


SEARCHES = [
    Search(common_name="system:node:node-1"),
    Search(group="system:nodes", dns_suffix="example"),
    Search(dns="A.b.example."),
    Search(dns_suffix="b.example"),
    Search(dns_suffix=".b.example"),
    Search(ip="10.1.2.3"),
    Search(ip="10.1.0.0/16"),
    Search(profile="kubelet-serving"),
    Search(authority="cluster", dns_suffix="example"),
    Search(status="valid", profile="kubelet-serving"),
]


@pytest.mark.parametrize("wanted", SEARCHES, ids=repr)
def test_a_search_finds_what_meets_all_of_it(world: World, hit: StoredCertificate, wanted: Search) -> None:
    assert search_certificates(world.authority, OPERATOR, "blue", wanted, None, 10) == [hit]


def test_a_search_by_serial_and_by_time_finds_it(world: World, hit: StoredCertificate) -> None:
    for wanted in (
        Search(serial="00" + hit.serial.upper()),
        Search(issued_after=hit.issued_at - timedelta(seconds=1)),
        Search(not_after_before=hit.not_after + timedelta(seconds=1)),
    ):
        assert search_certificates(world.authority, OPERATOR, "blue", wanted, None, 10) == [hit]


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [
        (Search(serial="xyz"), "/serial"),
        (Search(dns="*.b.example"), "/dns"),
        (Search(dns_suffix=""), "/dnsSuffix"),
        (Search(ip="10.1.2.3/8"), "/ip"),
        (Search(common_name="a\x00"), "/cn"),
        (Search(group=""), "/group"),
        (Search(status="lost"), "/status"),
        (Search(profile="nonsense"), "/profile"),
        (Search(authority="nonsense"), "/authority"),
    ],
    ids=repr,
)
def test_a_search_for_nonsense_is_refused(world: World, wanted: Search, pointer: str) -> None:
    with pytest.raises(InvalidError) as caught:
        search_certificates(world.authority, OPERATOR, "blue", wanted, None, 10)
    assert [fault.pointer for fault in caught.value.faults] == [pointer]


def test_statuses_follow_time_and_revocation(world: World) -> None:
    issued = world.issue()

    def found(status: str) -> bool:
        return bool(search_certificates(world.authority, OPERATOR, "blue", Search(status=status), None, 10))

    def statuses() -> list[str]:
        own = status_of(world.stored(issued), world.clock.now)
        assert found(own)
        return [status for status in ("valid", "revoked", "expired") if found(status)]

    assert statuses() == ["valid"]
    world.clock.now = issued.stored.not_after + timedelta(seconds=1, microseconds=-1)
    assert statuses() == ["valid"]
    world.clock.advance(seconds=0.000001)
    assert statuses() == ["expired"]
    world.revoke(entry(EntryKind.SERIAL_NUMBER, issued.stored.serial))
    assert statuses() == ["revoked"]


def test_a_certificate_is_read_by_any_spelling_of_its_serial(world: World, hit: StoredCertificate) -> None:
    spellings = (hit.serial, hit.serial.upper(), "00" + hit.serial, ":".join(hit.serial))
    for spelling in spellings:
        assert get_certificate(world.authority, OPERATOR, "blue", spelling) == hit
    for spelling in ("", "xyz", "ab", "\x00", "f" * 100):
        with pytest.raises(NotFoundError):
            get_certificate(world.authority, OPERATOR, "blue", spelling)


def test_a_certificate_of_another_cluster_is_not_found(world: World, hit: StoredCertificate) -> None:
    with pytest.raises(NotFoundError):
        get_certificate(world.authority, OPERATOR, "green", hit.serial)


def test_the_window_of_what_was_superseded_or_revoked_lies_in_the_past(world: World) -> None:
    current = world.issue()
    assert renewal_window(current.stored, []).not_before > world.clock.now
    world.clock.advance(hours=1)
    world.renew(current.stored)
    assert renewal_window(world.stored(current), []).not_after <= world.clock.now


def test_clusters_and_their_generations_are_listed(world: World) -> None:
    world.make_cluster("green")
    assert [one.name for one in list_clusters(world.authority, OPERATOR, None, 10)] == ["blue", "green"]
    assert [one.name for one in list_clusters(world.authority, OPERATOR, "blue", 10)] == ["green"]
    assert get_cluster(world.authority, OPERATOR, "green").name == "green"
    with pytest.raises(NotFoundError):
        get_cluster(world.authority, OPERATOR, "red")
    found = list_generations(world.authority, OPERATOR, "blue")
    assert sorted(one.name for one in found) == ["cluster", "etcd", "front-proxy"]
    (etcd,) = list_generations(world.authority, OPERATOR, "blue", "etcd")
    assert etcd in found
    with pytest.raises(NotFoundError):
        list_generations(world.authority, OPERATOR, "blue", "service")
    peer = world.issue("etcd-peer")
    assert peer.issuer == etcd.certificate
    issuers = issuers_of(world.authority, [peer.stored])
    assert issuers == {peer.stored.generation_id: etcd.certificate}
    names = {cluster.id: cluster.name for cluster in list_clusters(world.authority, OPERATOR, None, 10)}
    assert names_and_issuers(world.authority, [peer.stored]) == (names, issuers)
    assert cluster_names(world.authority) == names


class TestExplain:
    def test_a_certificate_has_its_decision(self, world: World) -> None:
        issued = world.issue().stored
        decision = explain_certificate(world.authority, OPERATOR, "blue", issued.serial)
        assert (decision.id, decision.serial) == (issued.decision_id, issued.serial)
        assert explain_decision(world.authority, OPERATOR, decision.id) == decision

    def test_a_refusal_is_explained_by_its_id(self, world: World) -> None:
        with pytest.raises(BadCSRError) as caught:
            issue(world.authority, OPERATOR, Issuance("blue", "admin", b"garbage"))
        decision = world.decision(caught.value.decision)
        assert explain_decision(world.authority, OPERATOR, decision.id) == decision

    def test_a_decision_is_explained_in_its_own_cluster_only(self, world: World) -> None:
        auditor = world.admin_of(world.make_cluster("green"), Role.AUDITOR)
        mine = world.issue(cluster="green").stored.decision_id
        explain_decision(world.authority, auditor, mine)
        theirs = world.issue(cluster="blue").stored.decision_id
        with pytest.raises(NotFoundError):
            explain_decision(world.authority, auditor, theirs)

    def test_issuers_are_not_told(self, world: World) -> None:
        decision = world.issue().stored.decision_id
        with pytest.raises(AccessDeniedError):
            explain_decision(world.authority, Requester("x", Role.ISSUER), decision)

    def test_what_is_unknown_or_no_longer_kept_is_not_found(self, world: World) -> None:
        issued = world.issue().stored
        with pytest.raises(NotFoundError):
            explain_decision(world.authority, OPERATOR, issued.id)
        with pytest.raises(NotFoundError):
            explain_certificate(world.authority, OPERATOR, "blue", "ab")


def test_requests_for_any_host_are_searched_by_it(world: World) -> None:
    body = csr("jane", (), ("*.wild.example",))
    issued = world.issue("kube-apiserver-client", None, request=body)
    wanted = Search(dns_suffix="wild.example")
    assert search_certificates(world.authority, OPERATOR, "blue", wanted, None, 10) == [issued.stored]
