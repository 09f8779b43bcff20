from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from tests.support import rows
from tests.support.clock import START
from tests.support.refused import refused_write

from trivet.pki.errors import ConflictError
from trivet.pki.profiles import AuthorityName
from trivet.pki.search import NameKind, below_suffix, exactly, reversed_labels, within_network
from trivet.store import certificates
from trivet.store.certificates import CertificateFilter, StoredCertificate
from trivet.store.clusters import Cluster
from trivet.store.engine import Database

ANY = CertificateFilter()


class Fleet:
    """A cluster with an authority."""

    def __init__(self, connection: Connection, name: str = "blue", key: int = 100) -> None:
        self.connection = connection
        self.cluster = rows.add_cluster(connection, name)
        self.generation = rows.add_generation(connection, self.cluster, key=key)

    def add(self, **fields: object) -> StoredCertificate:
        return rows.add_certificate(self.connection, self.generation, self.cluster, **fields)  # type: ignore[arg-type]


@pytest.fixture
def fleet(connection: Connection) -> Fleet:
    return Fleet(connection)


def _page(
    connection: Connection, cluster: Cluster, wanted: CertificateFilter = ANY, limit: int = 10
) -> list[StoredCertificate]:
    return certificates.page(connection, cluster.id, wanted, START, None, limit)


def test_a_certificate_is_read_as_it_was_stored(connection: Connection, fleet: Fleet) -> None:
    parent = fleet.add()
    added = fleet.add(serial="ab12", node="node-1", parent=parent)
    assert certificates.find_by_serial(connection, fleet.cluster.id, "ab12") == added
    assert certificates.find_one(connection, added.id) == added
    assert certificates.find_all(connection, [added.id, parent.id]) == {added.id: added, parent.id: parent}


def test_a_certificate_of_no_cluster_is_found_only_without_one(connection: Connection, fleet: Fleet) -> None:
    service = rows.add_generation(connection, None, AuthorityName.SERVICE, key=1)
    added = rows.add_certificate(connection, service, None, serial="ab")
    assert certificates.find_by_serial(connection, None, "ab") == added
    assert certificates.find_by_serial(connection, fleet.cluster.id, "ab") is None


def test_what_is_not_stored_is_not_found(connection: Connection, fleet: Fleet) -> None:
    assert certificates.find_by_serial(connection, fleet.cluster.id, "ff") is None
    assert certificates.find_one(connection, rows.new_id()) is None
    assert certificates.find_all(connection, [rows.new_id()]) == {}
    assert certificates.find_all(connection, []) == {}
    assert certificates.with_serial(connection, "ff") == []


def test_an_empty_batch_stores_nothing(connection: Connection, fleet: Fleet) -> None:
    certificates.add_all(connection, [])
    assert _page(connection, fleet.cluster) == []


def test_a_serial_is_unique_for_its_issuer(shared_database: Database) -> None:
    with refused_write(shared_database, ConflictError) as connection:
        fleet = Fleet(connection)
        fleet.add(serial="ab")
        fleet.add(serial="ab")


def test_the_unique_serial_is_a_constraint_of_the_database(connection: Connection, fleet: Fleet) -> None:
    fleet.add(serial="ab")
    other = fleet.add(serial="cd")
    with pytest.raises(IntegrityError) as caught, connection.begin_nested():
        connection.execute(text("UPDATE serials SET serial = 'ab' WHERE serial = 'cd'"))
    # SQLite names the columns of a constraint, PostgreSQL the constraint.
    message = str(caught.value.orig)
    assert "pk_serials" in message or "serials.serial" in message
    assert certificates.find_one(connection, other.id) == other


def test_two_issuers_may_use_one_serial(connection: Connection, fleet: Fleet) -> None:
    green = Fleet(connection, "green", key=101)
    mine, theirs = fleet.add(serial="ab"), green.add(serial="ab")
    assert certificates.find_by_serial(connection, fleet.cluster.id, "ab") == mine
    assert certificates.find_by_serial(connection, green.cluster.id, "ab") == theirs
    assert set(certificates.with_serial(connection, "ab")) == {mine, theirs}


def test_a_broken_reference_is_a_defect_and_no_conflict(shared_database: Database) -> None:
    with refused_write(shared_database, IntegrityError) as connection:
        fleet = Fleet(connection)
        nobody = replace(fleet.generation, id=rows.new_id())
        rows.add_certificate(connection, nobody, fleet.cluster)


def test_superseding_keeps_the_first_time(connection: Connection, fleet: Fleet) -> None:
    first, second = fleet.add(), fleet.add()
    certificates.supersede(connection, [], START)
    certificates.supersede(connection, [first.id], START)
    certificates.supersede(connection, [first.id, second.id], START + timedelta(hours=1))
    found = certificates.find_all(connection, [first.id, second.id])
    assert found[first.id].superseded_at == START
    assert found[second.id].superseded_at == START + timedelta(hours=1)


def test_pages_are_newest_first_and_of_one_cluster(connection: Connection, fleet: Fleet) -> None:
    added = [fleet.add() for _ in range(5)][::-1]
    Fleet(connection, "green", key=101).add()
    assert _page(connection, fleet.cluster) == added
    assert _page(connection, fleet.cluster, limit=2) == added[:2]
    assert certificates.page(connection, fleet.cluster.id, ANY, START, added[1].id, 10) == added[2:]


@pytest.mark.parametrize(
    "wanted",
    [
        CertificateFilter(serial="ab"),
        CertificateFilter(profile="etcd-peer"),
        CertificateFilter(authority="cluster", profile="etcd-peer"),
        CertificateFilter(not_after_before=START + timedelta(days=1)),
        CertificateFilter(issued_after=START),
        CertificateFilter(ranges=(exactly(NameKind.COMMON_NAME, "john"),)),
        CertificateFilter(ranges=(exactly(NameKind.GROUP, "team"),)),
        CertificateFilter(ranges=(exactly(NameKind.DNS, reversed_labels("a.b.example")),)),
        CertificateFilter(ranges=(below_suffix("b.example"),)),
        CertificateFilter(ranges=(within_network(ipaddress.ip_network("10.1.0.0/16")),)),
        CertificateFilter(ranges=(within_network(ipaddress.ip_network("2001:db8::/64")),)),
        CertificateFilter(ranges=(exactly(NameKind.GROUP, "team"), below_suffix("example"))),
    ],
    ids=repr,
)
def test_each_filter_finds_the_certificate_that_meets_it(
    connection: Connection, fleet: Fleet, wanted: CertificateFilter
) -> None:
    # Each of these comes close to one filter and meets none.
    fleet.add(serial="abc", named=rows.names("johnny", ("team2",), ("b.example", "ab.example", "10.2.0.1")))
    fleet.add(named=rows.names("JOHN", ("Team",), ("a.bb.example", "2001:db8:0:1::", "10.0.255.255")))
    hit = fleet.add(
        serial="ab",
        profile="etcd-peer",
        issued_at=START + timedelta(seconds=1),
        not_after=(START + timedelta(hours=1)).replace(microsecond=0),
        named=rows.names("john", ("team",), ("a.b.example", "10.1.2.3", "2001:db8::1")),
    )
    assert _page(connection, fleet.cluster, wanted) == [hit]


def test_every_range_must_be_met(connection: Connection, fleet: Fleet) -> None:
    fleet.add(named=rows.names("a", ("team",)))
    fleet.add(named=rows.names("b", (), ("x.example",)))
    wanted = CertificateFilter(ranges=(exactly(NameKind.GROUP, "team"), below_suffix("example")))
    assert _page(connection, fleet.cluster, wanted) == []


@pytest.mark.parametrize(
    ("past_not_after", "status"),
    [(timedelta(0), "valid"), (timedelta(microseconds=999_999), "valid"), (timedelta(seconds=1), "expired")],
)
def test_the_whole_second_of_not_after_is_valid(
    connection: Connection, fleet: Fleet, past_not_after: timedelta, status: str
) -> None:
    # RFC 5280 section 4.1.2.5: notAfter is in whole seconds, and belongs to the validity.
    added = fleet.add()
    now = added.not_after + past_not_after
    statuses = {
        name: certificates.page(connection, fleet.cluster.id, CertificateFilter(status=name), now, None, 10)
        for name in ("valid", "expired", "revoked")
    }
    assert [name for name, found in statuses.items() if found] == [status]
