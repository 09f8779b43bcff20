"""What each kind of entry does to issuance and renewal: the section on revocation in docs/concepts.md, as a table."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import pytest
from tests.support.clock import START
from tests.support.revocation_objects import entry
from tests.support.signing_requests import csr, key_hash
from tests.support.world import World

from trivet.authority.install import issue_service_certificate
from trivet.authority.issue import IssuedCertificate
from trivet.pki.errors import RevokedError
from trivet.pki.revocation import Entry, EntryKind

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
TICK = timedelta(microseconds=1)
K = EntryKind


class Named(NamedTuple):
    """The kind and value of an entry."""

    kind: EntryKind
    value: str

    def entry(self, not_before: datetime | None = None) -> Entry:
        return entry(self.kind, self.value, not_before)


HITS = [
    Named(K.GROUP, "system:nodes"),
    Named(K.COMMON_NAME, "system:node:node-1"),
    Named(K.DNS, "A.B.example."),
    Named(K.DNS, ".b.example"),
    Named(K.DNS, ".EXAMPLE"),
    Named(K.IP, "10.1.2.3"),
    Named(K.IP, "::ffff:10.1.2.3"),
    Named(K.IP, "10.1.0.0/16"),
    Named(K.IP, "2001:0db8::0:7"),
    Named(K.IP, "2001:db8::/32"),
    Named(K.PUBLIC_KEY, key_hash(0)),
]
MISSES = [
    Named(K.GROUP, "system:node"),
    Named(K.GROUP, "system:Nodes"),
    Named(K.COMMON_NAME, "system:node:node-10"),
    Named(K.DNS, "b.example"),
    Named(K.DNS, ".a.b.example"),
    Named(K.DNS, "c.b.example"),
    Named(K.DNS, ".xample"),
    Named(K.IP, "10.1.2.4"),
    Named(K.IP, "10.1.2.4/30"),
    Named(K.IP, "2001:db8::8"),
    Named(K.PUBLIC_KEY, key_hash(1)),
    Named(K.SERIAL_NUMBER, "1"),
]
each_hit = pytest.mark.parametrize("named", HITS, ids=lambda named: f"{named.kind}-{named.value[:20]}")


def _issue(world: World, cluster: str = "blue") -> IssuedCertificate:
    hosts = ("a.b.example", "10.1.2.3", "2001:db8::7")
    return world.issue("kubelet-serving", "node-1", hosts=hosts, cluster=cluster)


@each_hit
def test_without_not_before_all_that_exists_and_all_to_come_is_revoked(world: World, named: Named) -> None:
    old = _issue(world)
    assert world.revoke(named.entry()).marked == 1
    assert world.is_revoked(old)
    world.clock.advance(days=1)
    with pytest.raises(RevokedError):
        world.renew(old.stored)
    with pytest.raises(RevokedError, match="no notBefore"):
        _issue(world)


@each_hit
def test_a_past_not_before_lets_new_ones_pass_and_old_ones_not_renew(world: World, named: Named) -> None:
    old = _issue(world)
    cut_off = world.clock.advance(hours=1)
    world.clock.advance(hours=1)
    assert world.revoke(named.entry(cut_off)).marked == 1
    with pytest.raises(RevokedError):
        world.renew(old.stored)
    new = _issue(world)
    assert not world.is_revoked(new)
    world.renew(new.stored, key=2)


@each_hit
def test_a_future_not_before_bans_until_that_time(world: World, named: Named) -> None:
    old = _issue(world)
    cut_off = world.clock.now + HOUR
    world.revoke(named.entry(cut_off))
    assert world.is_revoked(old)
    for moment in (world.clock.now, cut_off - TICK):
        world.clock.now = moment
        with pytest.raises(RevokedError, match="issued before"):
            _issue(world)
    world.clock.now = cut_off
    new = _issue(world)
    world.renew(new.stored, key=2)
    with pytest.raises(RevokedError):
        world.renew(old.stored)


@each_hit
@pytest.mark.parametrize(("after", "hit"), [(-TICK, True), (timedelta(0), False), (SECOND, False)], ids=str)
def test_the_cut_off_is_compared_with_the_true_time_of_issue(
    world: World, named: Named, after: timedelta, *, hit: bool
) -> None:
    # The X.509 notBefore lies five minutes before each of them.
    certificate = _issue(world)
    cut_off = certificate.stored.issued_at - after
    assert certificate.stored.not_before < cut_off - HOUR / 15
    world.clock.advance(minutes=1)
    assert world.revoke(named.entry(cut_off)).marked == int(hit)
    assert world.is_revoked(certificate) is hit
    if hit:
        with pytest.raises(RevokedError):
            world.renew(certificate.stored)
    else:
        world.renew(certificate.stored, key=2)


@pytest.mark.parametrize("named", MISSES, ids=lambda named: f"{named.kind}-{named.value[:20]}")
def test_what_an_entry_does_not_name_is_left_alone(world: World, named: Named) -> None:
    old = _issue(world)
    assert world.revoke(named.entry()).marked == 0
    _issue(world)
    world.renew(old.stored, key=2)


@each_hit
def test_an_entry_of_one_cluster_says_nothing_of_another(world: World, named: Named) -> None:
    world.make_cluster("green")
    theirs = _issue(world, "green")
    world.revoke(named.entry())
    assert not world.is_revoked(theirs)
    world.renew(theirs.stored, cluster="green", key=2)
    _issue(world, "green")


@each_hit
def test_an_entry_of_all_clusters_holds_in_each(world: World, named: Named) -> None:
    world.make_cluster("green")
    old = [_issue(world, cluster) for cluster in ("blue", "green")]
    assert world.revoke(named.entry(), cluster=None).marked == 2
    assert all(world.is_revoked(certificate) for certificate in old)
    world.make_cluster("red")
    for cluster in ("blue", "green", "red"):
        with pytest.raises(RevokedError, match="all clusters"):
            _issue(world, cluster)


@each_hit
def test_deleting_lets_new_ones_be_issued_and_what_was_marked_stay_revoked(
    world: World, named: Named
) -> None:
    old = _issue(world)
    revoked = world.revoke(named.entry())
    world.delete(revoked)
    world.renew(_issue(world).stored, key=2)
    assert world.is_revoked(old)
    with pytest.raises(RevokedError):
        world.renew(old.stored)


@pytest.mark.parametrize(
    ("value", "hit"),
    [
        ("x.b.example", True),
        ("y.b.example", True),
        ("b.example", False),
        ("x.y.b.example", False),
        (".b.example", True),
        (".example", True),
        (".x.b.example", False),
    ],
)
def test_a_wildcard_is_named_by_every_name_that_it_could_be_used_for(
    world: World, value: str, *, hit: bool
) -> None:
    def wildcard() -> IssuedCertificate:
        return world.issue("etcd-peer", "node-1", hosts=("*.b.example",))

    old = wildcard()
    assert world.revoke(entry(K.DNS, value)).marked == int(hit)
    if hit:
        with pytest.raises(RevokedError):
            wildcard()
        with pytest.raises(RevokedError):
            world.renew(old.stored)
    else:
        wildcard()
        world.renew(old.stored, key=2)


def test_a_cn_that_is_a_dns_name_is_compared_as_one(world: World) -> None:
    old = world.issue("etcd-peer", "node-1.b.example", hosts=("10.1.2.3",))
    world.revoke(entry(K.DNS, ".b.example"))
    assert world.is_revoked(old)
    with pytest.raises(RevokedError):
        world.issue("etcd-peer", "node-2.b.example", hosts=("10.1.2.4",))


def test_a_renewal_to_a_banned_key_is_refused_and_to_another_passes(world: World) -> None:
    current = world.issue(key=0)
    world.revoke(entry(K.PUBLIC_KEY, key_hash(1)))
    with pytest.raises(RevokedError):
        world.renew(current.stored, key=1)
    world.renew(current.stored, key=2)


class Lineage(NamedTuple):
    """Three certificates, each renewed from the one before; the first has expired at last."""

    first: IssuedCertificate
    second: IssuedCertificate
    third: IssuedCertificate


def _lineage(world: World) -> Lineage:
    first = _issue(world)
    world.clock.advance(days=3)
    second = world.renew(first.stored, key=1)
    world.clock.advance(days=3)
    third = world.renew(second.stored, key=2)
    assert world.clock.now > first.stored.not_after
    return Lineage(first, second, third)


def test_a_serial_covers_its_lineage_the_expired_ones_too(world: World) -> None:
    lineage = _lineage(world)
    other = _issue(world)
    assert world.revoke(entry(K.SERIAL_NUMBER, lineage.first.stored.serial)).marked == 3
    assert all(world.is_revoked(certificate) for certificate in lineage)
    assert not world.is_revoked(other)
    with pytest.raises(RevokedError):
        world.renew(lineage.third.stored, key=3)


def test_a_serial_covers_nothing_that_came_before_it(world: World) -> None:
    lineage = _lineage(world)
    world.revoke(entry(K.SERIAL_NUMBER, lineage.second.stored.serial))
    assert [world.is_revoked(certificate) for certificate in lineage] == [False, True, True]


def test_without_include_renewed_the_lineage_is_spared(world: World) -> None:
    lineage = _lineage(world)
    world.revoke(entry(K.SERIAL_NUMBER, lineage.second.stored.serial, include_renewed=False))
    assert [world.is_revoked(certificate) for certificate in lineage] == [False, True, False]
    with pytest.raises(RevokedError):
        world.renew(lineage.second.stored, key=3)
    world.renew(lineage.third.stored, key=3)


def test_a_serial_with_a_cut_off_spares_what_was_renewed_after_it(world: World) -> None:
    lineage = _lineage(world)
    cut_off = lineage.third.stored.issued_at
    world.revoke(entry(K.SERIAL_NUMBER, lineage.first.stored.serial, cut_off))
    assert [world.is_revoked(certificate) for certificate in lineage] == [True, True, False]
    world.renew(lineage.third.stored, key=3)


def test_a_new_certificate_does_not_descend_from_a_revoked_serial(world: World) -> None:
    old = _issue(world)
    world.revoke(entry(K.SERIAL_NUMBER, old.stored.serial))
    world.renew(_issue(world).stored, key=2)


def test_what_a_holder_asked_for_descends_from_their_certificate(world: World) -> None:
    # Whoever stole a kubelet's key may ask for a new certificate with it, as well as renew.
    stolen = world.issue("kubelet-client", "node-1")
    thief = world.holder(stolen.stored)
    client = world.issue("kubelet-client", "node-1", key=5, requester=thief)
    serving = world.issue("kubelet-serving", "node-1", key=5, requester=thief)
    assert world.stored(stolen).superseded_at is None
    world.revoke(entry(K.SERIAL_NUMBER, stolen.stored.serial))
    assert [world.is_revoked(certificate) for certificate in (stolen, client, serving)] == [True] * 3
    with pytest.raises(RevokedError):
        world.renew(client.stored, key=6)


def test_an_expired_certificate_is_not_marked_by_its_names(world: World) -> None:
    old = _issue(world)
    world.clock.now = old.stored.not_after + SECOND
    assert world.revoke(entry(K.GROUP, "system:nodes")).marked == 0


def test_a_certificate_in_its_last_second_is_marked(world: World) -> None:
    old = _issue(world)
    world.clock.now = old.stored.not_after + SECOND - TICK
    assert world.revoke(entry(K.GROUP, "system:nodes")).marked == 1


def test_several_entries_and_objects_ban_together_until_the_last_is_gone(world: World) -> None:
    objects = [
        world.revoke(entry(K.GROUP, "system:nodes"), entry(K.DNS, ".b.example")),
        world.revoke(entry(K.IP, "10.0.0.0/8"), cluster=None),
    ]
    world.delete(objects[0])
    with pytest.raises(RevokedError, match=r"10\.0\.0\.0/8"):
        _issue(world)
    world.delete(objects[1], cluster=None)
    assert _issue(world).stored.issued_at == START


def test_trivets_own_certificate_is_nobodys_to_ban(world: World) -> None:
    world.revoke(entry(K.DNS, "localhost"), entry(K.COMMON_NAME, "trivet"), cluster=None)
    own = issue_service_certificate(world.authority, csr(hosts=("localhost",)))
    assert not world.is_revoked(own)
