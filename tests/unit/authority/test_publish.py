from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection, select, update
from tests.support.clock import START, Clock
from tests.support.revocation_objects import entry
from tests.support.world import World, make_authority, prepare_database

from trivet.authority.context import Authority, Policy, Publication
from trivet.authority.issue import IssuedCertificate
from trivet.authority.metrics import measures
from trivet.authority.status import publish
from trivet.authority.status.crl_memory import CrlMemory
from trivet.authority.status.issuers import PublishedIssuer
from trivet.authority.status.publish import Publisher
from trivet.authority.status.published import newest_crl
from trivet.pki.errors import NotFoundError, UnavailableError
from trivet.pki.locations import COMPLETE, Shard, shard_of
from trivet.pki.pem import from_der, to_pem
from trivet.pki.plan import WronglySignedError
from trivet.pki.profiles import AuthorityName
from trivet.pki.revocation import Entry, EntryKind
from trivet.store import authorities, clusters, crls
from trivet.store.crls import Crl
from trivet.store.tables import crl_lists
from trivet.store.tables import crls as crl_rows

LIFETIME = timedelta(days=3)


@pytest.fixture
def everywhere(database_url: str) -> Iterator[World]:
    """Give a world with the cluster `blue`, once on SQLite and once on PostgreSQL."""
    clock = Clock()
    prepare_database(database_url, clock)
    world = World(make_authority(database_url, clock), clock)
    world.make_cluster("blue")
    yield world
    world.authority.database.dispose()


def issuer_of(world: World, name: AuthorityName = AuthorityName.CLUSTER) -> PublishedIssuer:
    with world.authority.database.read() as connection:
        cluster = clusters.get(connection, "blue")
        return PublishedIssuer(cluster, authorities.active_generation(connection, cluster.id, name))


def crl_of(
    world: World, name: AuthorityName = AuthorityName.CLUSTER, shard: Shard = COMPLETE
) -> x509.CertificateRevocationList:
    """Give the newest CRL, its signature verified."""
    issuer = issuer_of(world, name)
    found = newest_crl(world.authority, issuer, shard)
    with world.authority.database.read() as connection:
        content = crls.content(connection, found.list_id, found.number)
    assert content is not None
    crl = x509.load_der_x509_crl(content.der)
    certificate = x509.load_der_x509_certificate(issuer.generation.certificate)
    assert crl.is_signature_valid(certificate.public_key())  # type: ignore[arg-type]
    assert crl.last_update_utc == found.this_update
    assert len(crl) == found.entries
    return crl


def number_of(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def serials_of(crl: x509.CertificateRevocationList) -> list[str]:
    return [format(revoked.serial_number, "x") for revoked in crl]


def by_serial(issued: IssuedCertificate, not_before: datetime | None = None) -> Entry:
    return entry(EntryKind.SERIAL_NUMBER, issued.stored.serial, not_before)


def test_a_new_cluster_has_empty_crls(everywhere: World) -> None:
    publisher = Publisher(everywhere.authority)
    with pytest.raises(UnavailableError, match="being made"):
        newest_crl(everywhere.authority, issuer_of(everywhere), COMPLETE)
    assert everywhere.authority.news.is_set()
    assert publisher.publish_all() == 0
    for name in (AuthorityName.CLUSTER, AuthorityName.ETCD, AuthorityName.FRONT_PROXY):
        crl = crl_of(everywhere, name)
        assert serials_of(crl) == []
        assert crl.next_update_utc == START.replace(microsecond=0) + LIFETIME


def test_a_crl_begins_before_its_time_for_clocks_that_are_behind(everywhere: World) -> None:
    Publisher(everywhere.authority).publish_all()
    assert crl_of(everywhere).last_update_utc == START.replace(microsecond=0) - timedelta(minutes=5)


def test_a_revocation_is_published_and_nothing_else(everywhere: World) -> None:
    publisher = Publisher(everywhere.authority)
    publisher.publish_all()
    before, etcd = crl_of(everywhere), crl_of(everywhere, AuthorityName.ETCD)
    stolen, kept = everywhere.issue(), everywhere.issue(node="node-2")
    everywhere.authority.news.clear()
    everywhere.clock.advance(seconds=30)
    everywhere.revoke(by_serial(stolen))
    assert everywhere.authority.news.is_set()
    assert publisher.publish_all() == 0
    after = crl_of(everywhere)
    assert serials_of(after) == [stolen.stored.serial]
    assert kept.stored.serial not in serials_of(after)
    (revoked,) = after
    assert revoked.revocation_date_utc == everywhere.clock().replace(microsecond=0)
    assert number_of(after) > number_of(before)
    assert number_of(crl_of(everywhere, AuthorityName.ETCD)) == number_of(etcd)


def test_what_marks_nothing_makes_no_crl(everywhere: World) -> None:
    publisher = Publisher(everywhere.authority)
    publisher.publish_all()
    everywhere.issue()
    before = number_of(crl_of(everywhere))
    revoked = everywhere.revoke(entry(EntryKind.GROUP, "nobody"))
    everywhere.delete(revoked)
    everywhere.revoke(entry(EntryKind.GROUP, "nobody"), cluster=None)
    publisher.publish_all()
    assert number_of(crl_of(everywhere)) == before
    with everywhere.authority.database.read() as connection:
        assert not crls.is_any_behind(connection)


def test_every_way_to_revoke_is_published_once(everywhere: World) -> None:
    publisher = Publisher(everywhere.authority)
    issued = [everywhere.issue(node=f"node-{number}", key=number) for number in range(4)]
    everywhere.revoke(entry(EntryKind.COMMON_NAME, "system:node:node-0"))
    publisher.publish_all()
    everywhere.revoke(entry(EntryKind.PUBLIC_KEY, issued[1].stored.spki_sha256), cluster=None)
    everywhere.revoke(by_serial(issued[2]), by_serial(issued[2]))
    publisher.publish_all()
    everywhere.revoke(entry(EntryKind.GROUP, "system:nodes"))
    publisher.publish_all()
    publisher.publish_all()
    assert sorted(serials_of(crl_of(everywhere))) == sorted(one.stored.serial for one in issued)


def test_deleting_an_object_leaves_its_certificates_on_the_crl(everywhere: World) -> None:
    publisher = Publisher(everywhere.authority)
    issued = everywhere.issue()
    everywhere.delete(everywhere.revoke(by_serial(issued)))
    publisher.publish_all()
    assert serials_of(crl_of(everywhere)) == [issued.stored.serial]


def test_a_not_before_that_has_passed_is_the_date_of_invalidity(everywhere: World) -> None:
    issued = everywhere.issue()
    breach = everywhere.clock.advance(hours=1)
    everywhere.clock.advance(hours=1)
    everywhere.revoke(by_serial(issued, breach))
    Publisher(everywhere.authority).publish_all()
    (revoked,) = crl_of(everywhere)
    date = revoked.extensions.get_extension_for_class(x509.InvalidityDate).value
    assert date.invalidity_date_utc == breach.replace(microsecond=0)


def test_a_crl_is_made_anew_well_before_it_is_too_old(everywhere: World) -> None:
    publisher = Publisher(everywhere.authority)
    publisher.publish_all()
    first = crl_of(everywhere)
    everywhere.clock.advance(hours=15)
    publisher.publish_all()
    assert number_of(crl_of(everywhere)) == number_of(first)
    everywhere.clock.advance(hours=4)
    publisher.publish_all()
    second = crl_of(everywhere)
    assert number_of(second) > number_of(first)
    assert second.next_update_utc == (everywhere.clock() + LIFETIME).replace(microsecond=0)


def test_what_expired_stands_on_one_crl_more_and_then_goes(everywhere: World) -> None:
    publisher = Publisher(everywhere.authority)
    short = everywhere.issue(lifetime=timedelta(hours=1))
    long = everywhere.issue(node="node-2")
    everywhere.revoke(entry(EntryKind.GROUP, "system:nodes"))
    publisher.publish_all()
    everywhere.clock.advance(days=1)
    publisher.publish_all()  # the first one whose thisUpdate is after its notAfter (RFC 5280 section 3.3)
    assert set(serials_of(crl_of(everywhere))) == {short.stored.serial, long.stored.serial}
    everywhere.clock.advance(days=1)
    publisher.publish_all()
    assert serials_of(crl_of(everywhere)) == [long.stored.serial]


def test_what_had_expired_when_it_was_marked_is_not_listed(everywhere: World) -> None:
    publisher = Publisher(everywhere.authority)
    issued = everywhere.issue(lifetime=timedelta(hours=1))
    everywhere.clock.advance(days=2)
    publisher.publish_all()
    everywhere.clock.advance(days=1)
    publisher.publish_all()
    everywhere.revoke(by_serial(issued))
    assert everywhere.is_revoked(issued)
    publisher.publish_all()
    assert serials_of(crl_of(everywhere)) == []


def test_numbers_grow_though_the_clock_goes_back(everywhere: World) -> None:
    publisher = Publisher(everywhere.authority)
    numbers = []
    for move in (timedelta(), timedelta(), timedelta(days=-1), timedelta(days=-1), timedelta(days=40)):
        everywhere.clock.now += move
        _make_due(everywhere)
        publisher.publish_all()
        numbers.append(number_of(crl_of(everywhere)))
    assert numbers == sorted(set(numbers))


def test_a_crl_from_the_future_is_made_anew_with_all_that_has_not_expired(
    everywhere: World, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = Publisher(everywhere.authority)
    short, long = everywhere.issue(lifetime=timedelta(hours=1)), everywhere.issue(node="node-2")
    everywhere.revoke(entry(EntryKind.GROUP, "system:nodes"))
    now, ahead = everywhere.clock(), []
    for days in (3, 6):  # a clock that is ahead; at the second CRL the certificates have expired by it
        everywhere.clock.now = now + timedelta(days=days)
        publisher.publish_all()
        ahead.append(number_of(crl_of(everywhere)))
    assert short.stored.serial not in serials_of(crl_of(everywhere))
    everywhere.clock.now = now
    publisher.publish_all()
    crl = crl_of(everywhere)
    assert set(serials_of(crl)) == {short.stored.serial, long.stored.serial}
    assert crl.last_update_utc <= now
    assert crl.next_update_utc == now.replace(microsecond=0) + LIFETIME
    assert [number_of(crl) > number for number in ahead] == [True, True]
    assert "a clock that was ahead" in caplog.text
    publisher.publish_all()
    assert number_of(crl_of(everywhere)) == number_of(crl)


def test_what_is_revoked_after_the_clock_was_ahead_is_on_a_crl_of_today(everywhere: World) -> None:
    publisher, now = Publisher(everywhere.authority), everywhere.clock()
    issued = everywhere.issue()
    everywhere.clock.advance(days=365)
    publisher.publish_all()
    everywhere.clock.now = now
    everywhere.revoke(by_serial(issued))
    publisher.publish_all()
    assert serials_of(crl_of(everywhere)) == [issued.stored.serial]
    assert crl_of(everywhere).last_update_utc <= now


def test_a_clock_that_is_set_back_a_little_makes_nothing_anew(everywhere: World) -> None:
    publisher = Publisher(everywhere.authority)
    publisher.publish_all()
    before = number_of(crl_of(everywhere))
    everywhere.clock.advance(minutes=-5)
    publisher.publish_all()
    assert number_of(crl_of(everywhere)) == before


def test_no_two_crls_of_a_list_are_of_one_second(everywhere: World) -> None:
    publisher, moments = Publisher(everywhere.authority), []
    for step in (0, 0.1, 0.1, -10, 60):
        everywhere.clock.advance(seconds=step)
        _make_due(everywhere)
        publisher.publish_all()
        found = newest_crl(everywhere.authority, issuer_of(everywhere), COMPLETE)
        moments.append((found.published_at.replace(microsecond=0), found.this_update))
    for moment in zip(*moments, strict=True):
        assert list(moment) == sorted(set(moment))


def test_a_restored_database_takes_no_number_a_second_time(everywhere: World) -> None:
    publisher = Publisher(everywhere.authority)
    publisher.publish_all()
    listed = newest_crl(everywhere.authority, issuer_of(everywhere), COMPLETE)
    everywhere.clock.advance(seconds=1)
    with everywhere.authority.database.read() as connection:
        kept = connection.execute(select(crl_rows).where(crl_rows.c.list_id == listed.list_id)).one()
        state = connection.execute(select(crl_lists).where(crl_lists.c.id == listed.list_id)).one()
    _make_due(everywhere)
    publisher.publish_all()
    after = number_of(crl_of(everywhere))
    with everywhere.authority.database.write() as connection:  # as a backup of a second ago has it
        connection.execute(crl_rows.delete().where(crl_rows.c.list_id == listed.list_id))
        connection.execute(crl_rows.insert().values(kept._asdict()))
        connection.execute(
            update(crl_lists).where(crl_lists.c.id == listed.list_id).values(number=state.number)
        )
    _make_due(everywhere)
    everywhere.clock.advance(seconds=1)
    Publisher(everywhere.authority).publish_all()
    assert number_of(crl_of(everywhere)) > after


def _make_due(world: World) -> None:
    with world.authority.database.write() as connection:
        connection.execute(update(crl_lists).values(renew_at=START - timedelta(days=365)))


def test_of_two_processes_one_publishes_and_nothing_is_lost(everywhere: World) -> None:
    publishers = [Publisher(everywhere.authority), Publisher(everywhere.authority)]
    publishers[0].publish_all()
    listed = newest_crl(everywhere.authority, issuer_of(everywhere), COMPLETE).list_id
    first, second = everywhere.issue(), everywhere.issue(node="node-2")
    everywhere.revoke(by_serial(first))
    made = _interrupted(publishers[0], listed, lambda: publishers[1].publish(listed))
    # On SQLite the one inside was stored first; on PostgreSQL it found that another was at it.
    assert made in ([False, True], [True, False])
    assert serials_of(crl_of(everywhere)) == [first.stored.serial]
    everywhere.revoke(by_serial(second))
    for publisher in publishers:
        publisher.publish_all()
    assert sorted(serials_of(crl_of(everywhere))) == sorted([first.stored.serial, second.stored.serial])


def _interrupted(publisher: Publisher, listed: UUID, between: Callable[[], bool]) -> list[bool]:
    """Publish, and do something in between making a CRL and storing it."""
    results: list[bool] = []
    store = publisher._store

    def and_before(*arguments: object) -> bool:
        results.append(between())
        return store(*arguments)  # type: ignore[arg-type]

    publisher._store = and_before  # type: ignore[method-assign, assignment]
    try:
        results.append(publisher.publish(listed))
    finally:
        publisher._store = store  # type: ignore[method-assign]
    return results


def test_a_process_that_ends_before_it_publishes_loses_nothing(everywhere: World) -> None:
    publisher = Publisher(everywhere.authority)
    publisher.publish_all()
    listed = newest_crl(everywhere.authority, issuer_of(everywhere), COMPLETE).list_id
    issued = everywhere.issue()
    everywhere.revoke(by_serial(issued))

    def dies() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _interrupted(publisher, listed, dies)
    assert serials_of(crl_of(everywhere)) == []
    Publisher(everywhere.authority).publish_all()
    assert serials_of(crl_of(everywhere)) == [issued.stored.serial]


def test_a_revocation_during_the_making_is_published_next(everywhere: World) -> None:
    publisher = Publisher(everywhere.authority)
    publisher.publish_all()
    listed = newest_crl(everywhere.authority, issuer_of(everywhere), COMPLETE).list_id
    first, second = everywhere.issue(), everywhere.issue(node="node-2")
    everywhere.revoke(by_serial(first))
    _interrupted(publisher, listed, lambda: bool(everywhere.revoke(by_serial(second))))
    assert serials_of(crl_of(everywhere)) == [first.stored.serial]
    publisher.publish_all()
    assert set(serials_of(crl_of(everywhere))) == {first.stored.serial, second.stored.serial}


@pytest.mark.parametrize("is_remembered", [True, False])
def test_what_somebody_wrote_into_a_stored_crl_is_not_signed(
    everywhere: World, *, is_remembered: bool, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = Publisher(everywhere.authority)
    issued = [everywhere.issue(node=f"node-{number}") for number in range(2)]
    everywhere.revoke(entry(EntryKind.GROUP, "system:nodes"))
    publisher.publish_all()
    crl = newest_crl(everywhere.authority, issuer_of(everywhere), COMPLETE)
    _forge(everywhere, crl, bytes.fromhex(issued[0].stored.serial.zfill(40)))
    _make_due(everywhere)
    (publisher if is_remembered else Publisher(everywhere.authority)).publish_all()
    # Made anew from the certificates, with what was taken out of the list.
    assert sorted(serials_of(crl_of(everywhere))) == sorted(one.stored.serial for one in issued)
    assert "stored otherwise than it was published" in caplog.text


def _forge(world: World, crl: Crl, serial: bytes) -> None:
    with world.authority.database.write() as connection:
        content = crls.content(connection, crl.list_id, crl.number)
        assert content is not None
        forged = content.der.replace(serial, bytes(19) + b"\x01")
        assert forged != content.der
        connection.execute(update(crl_rows).where(crl_rows.c.list_id == crl.list_id).values(der=forged))


def published(world: World, **chosen: object) -> World:
    policy = Policy(publication=Publication(**chosen))  # type: ignore[arg-type]  # each test gives its own
    return World(replace(world.authority, policy=policy), world.clock)


def test_a_certificate_is_in_the_shard_that_it_names(everywhere: World) -> None:
    sharded = published(everywhere, base_url="http://pki.example.org", shards=3)
    Publisher(sharded.authority).begin()
    issued = [sharded.issue(node=f"node-{number}") for number in range(8)]
    sharded.revoke(entry(EntryKind.GROUP, "system:nodes"))
    Publisher(sharded.authority).publish_all()
    for number in (1, 2, 3):
        crl = crl_of(sharded, shard=Shard(number, 3))
        mine = [one for one in issued if shard_of(int(one.stored.serial, 16), 3).number == number]
        assert sorted(serials_of(crl)) == sorted(one.stored.serial for one in mine)
        point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
        assert point.critical
        for one in mine:
            assert [name.value for name in point.value.full_name or ()] == _points(one)
    complete = crl_of(sharded)
    assert len(complete) == 8
    with pytest.raises(x509.ExtensionNotFound):
        complete.extensions.get_extension_for_class(x509.IssuingDistributionPoint)


def _points(issued: IssuedCertificate) -> list[str]:
    extensions = x509.load_der_x509_certificate(issued.stored.der).extensions
    points = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    return [name.value for point in points for name in point.full_name or ()]


def test_shards_that_certificates_name_live_on_when_others_are_wanted(everywhere: World) -> None:
    sharded = published(everywhere, base_url="http://pki.example.org", shards=2)
    Publisher(sharded.authority).begin()
    old = sharded.issue()
    moved = published(everywhere, base_url="http://pki.example.com", shards=1)
    Publisher(moved.authority).begin()
    moved.revoke(by_serial(old))
    Publisher(moved.authority).publish_all()
    shard = shard_of(int(old.stored.serial, 16), 2)
    crl = crl_of(moved, shard=shard)
    assert serials_of(crl) == [old.stored.serial]
    point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    # A client compares the name in its certificate with these (RFC 5280 section 6.3.3): either will do.
    assert _points(old)[0] in [name.value for name in point.full_name or ()]
    with pytest.raises(NotFoundError, match="never split in 5"):
        newest_crl(moved.authority, issuer_of(moved), Shard(1, 5))


def test_a_signer_that_goes_wrong_keeps_no_other_authority_from_publishing(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = Publisher(world.authority)
    etcd = issuer_of(world, AuthorityName.ETCD).generation
    generation = world.authority.keyring.open(etcd.id, etcd.certificate, etcd.private_key)
    monkeypatch.setattr(generation.signer, "_sign", lambda _: b"\x30\x00")
    publisher.publish_all()
    assert serials_of(crl_of(world)) == []
    with pytest.raises(UnavailableError):
        crl_of(world, AuthorityName.ETCD)
    assert "signatureValue" in caplog.text
    with pytest.raises(WronglySignedError):
        publisher.publish(_list_of(world.authority, etcd.id))


def _list_of(authority: Authority, generation_id: UUID) -> UUID:
    with authority.database.read() as connection:
        found = crls.find_list(connection, generation_id, COMPLETE)
    assert found is not None
    return found.id


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "shorter": lambda layout: layout[:-1],
    "empty": lambda layout: layout[:0],
    "of more octets": lambda layout: layout[:8] + bytes([255]) + layout[9:],
    "of more entries": lambda layout: layout[:-1] + bytes([layout[-1] + 1]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_layout_is_made_anew_and_keeps_no_other_list(
    everywhere: World, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    issued = everywhere.issue()
    everywhere.revoke(by_serial(issued))
    Publisher(everywhere.authority).publish_all()
    first = newest_crl(everywhere.authority, issuer_of(everywhere), COMPLETE)
    etcd = number_of(crl_of(everywhere, AuthorityName.ETCD))
    mine = crl_rows.c.list_id == first.list_id
    with everywhere.authority.database.write() as connection:
        layout = connection.scalar(select(crl_rows.c.layout).where(mine))
        assert layout is not None
        connection.execute(update(crl_rows).where(mine).values(layout=DAMAGES[damage](layout)))
    _make_due(everywhere)
    Publisher(everywhere.authority).publish_all()
    assert number_of(crl_of(everywhere)) > first.number
    assert serials_of(crl_of(everywhere)) == [issued.stored.serial]
    assert number_of(crl_of(everywhere, AuthorityName.ETCD)) > etcd
    assert "stored otherwise than it was published" in caplog.text


@pytest.mark.parametrize("error", [UnavailableError("it took too long"), RuntimeError("a defect")])
def test_a_list_that_fails_keeps_no_other_and_is_tried_again(
    world: World, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = Publisher(world.authority)
    failing = _list_of(world.authority, issuer_of(world, AuthorityName.ETCD).generation.id)
    read = publish._state

    def fail(connection: Connection, list_id: UUID) -> object:
        if list_id == failing:
            raise error
        return read(connection, list_id)

    counted = []
    monkeypatch.setattr(measures, "crl_failed", lambda: counted.append(1))
    monkeypatch.setattr(publish, "_state", fail)
    assert publisher.publish_all() == 0  # else the next look would follow at once
    for name in (AuthorityName.CLUSTER, AuthorityName.FRONT_PROXY):
        assert serials_of(crl_of(world, name)) == []
    with pytest.raises(UnavailableError):
        crl_of(world, AuthorityName.ETCD)
    assert (str(error) in caplog.text, counted) == (True, [1])
    monkeypatch.setattr(publish, "_state", read)
    publisher.publish_all()
    assert serials_of(crl_of(world, AuthorityName.ETCD)) == []


def test_without_a_database_no_list_after_the_first_is_tried(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, tried = Publisher(world.authority), []

    def away(*arguments: object) -> object:
        tried.append(arguments)
        message = "away"
        raise UnavailableError(message)

    monkeypatch.setattr(publish, "_state", away)
    monkeypatch.setattr(crls, "is_any_behind", away)
    with pytest.raises(UnavailableError):
        publisher.publish_all()
    assert len(tried) == 2


def test_memory_holds_no_more_than_it_may() -> None:
    memory = CrlMemory(most=300_000)
    made = [
        (
            Crl(UUID(int=number), 1, START, START, START, 0, ""),
            crls.CrlContent(bytes(100_000), 0, b""),
        )
        for number in range(5)
    ]
    for one in made:
        memory.keep(*one)
    assert memory.size == 300_000
    assert [memory.take(crl) is not None for crl, _ in made] == [False, False, True, True, True]
    assert memory.size == 0
    crl, content = made[0]
    memory.keep(crl, content)
    assert memory.take(replace(crl, number=2)) is None
    memory.keep(crl, replace(content, der=bytes(300_001)))
    memory.keep(crl, replace(content, der=b"small"))
    assert memory.take(crl) is None


@pytest.mark.parametrize("shards", [1, 2])
def test_openssl_refuses_what_is_on_the_crl_and_nothing_else(
    world: World, tmp_path: Path, require_tool: Callable[[str], str], shards: int
) -> None:
    sharded = published(world, base_url="http://pki.example.org", shards=shards)
    Publisher(sharded.authority).begin()
    stolen, kept = sharded.issue("etcd-peer"), sharded.issue("etcd-peer", node="node-2")
    sharded.revoke(by_serial(stolen))
    Publisher(sharded.authority).publish_all()
    openssl = require_tool("openssl")
    (tmp_path / "ca.crt").write_bytes(to_pem([from_der(stolen.issuer)]))
    moment = ["-attime", str(int(sharded.clock().timestamp()))]
    for issued, is_good in ((stolen, False), (kept, True)):
        shard = shard_of(int(issued.stored.serial, 16), shards)
        crl = crl_of(sharded, AuthorityName.ETCD, shard).public_bytes(Encoding.PEM)
        (tmp_path / "list.crl").write_bytes(crl)
        (tmp_path / "leaf.crt").write_bytes(to_pem([from_der(issued.stored.der)]))
        read = [openssl, "crl", "-in", "list.crl", "-noout", "-CAfile", "ca.crt"]
        verified = subprocess.run(read, cwd=tmp_path, check=True, capture_output=True, text=True)
        assert "verify OK" in verified.stderr
        # A shard is for certificates that name it, and the CA's own certificate names none.
        scope = "-crl_check_all" if shards == 1 else "-crl_check"
        check = [openssl, "verify", "-x509_strict", scope, "-extended_crl", *moment, "-CAfile", "ca.crt"]
        judged = subprocess.run(
            [*check, "-CRLfile", "list.crl", "leaf.crt"],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
        )
        assert ("leaf.crt: OK" in judged.stdout) is is_good, judged.stderr
        assert ("certificate revoked" in judged.stderr) is not is_good


def test_a_crl_that_was_made_from_an_older_state_is_not_published(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher, other = Publisher(world.authority), Publisher(world.authority)
    publisher.publish_all()
    listed = newest_crl(world.authority, issuer_of(world), COMPLETE).list_id
    first, second = world.issue(), world.issue(node="node-2")
    world.revoke(by_serial(first))
    make = publish._made

    def made_late(*arguments: object) -> object:
        monkeypatch.setattr(publish, "_made", make)
        world.revoke(by_serial(second))
        assert other.publish(listed)
        world.clock.advance(seconds=1)  # so that its number would be the larger one
        return make(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(publish, "_made", made_late)
    assert not publisher.publish(listed)
    assert set(serials_of(crl_of(world))) == {first.stored.serial, second.stored.serial}


def test_what_is_marked_while_marks_are_read_is_listed_once(
    everywhere: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = Publisher(everywhere.authority)
    publisher.publish_all()
    first, second = everywhere.issue(), everywhere.issue(node="node-2")
    everywhere.revoke(by_serial(first))
    read = publish._add_marks

    def revoked_meanwhile(*arguments: object) -> bool:
        monkeypatch.setattr(publish, "_add_marks", read)
        everywhere.revoke(by_serial(second))
        return read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(publish, "_add_marks", revoked_meanwhile)
    publisher.publish_all()
    publisher.publish_all()
    assert sorted(serials_of(crl_of(everywhere))) == sorted([first.stored.serial, second.stored.serial])
