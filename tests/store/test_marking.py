from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlalchemy import Connection
from tests.support import rows
from tests.support.clock import START
from tests.support.revocation_objects import entry

from trivet.pki.revocation import Entry, EntryKind
from trivet.store import certificates, hits, marking
from trivet.store.certificates import StoredCertificate
from trivet.store.clusters import ALL_CLUSTERS, Cluster
from trivet.store.hits import Aim, Hit, Total

NOW = START + timedelta(hours=1)
NODES = ("system:nodes",)


@dataclass
class Fleet:
    """Certificates by name: two generations of a lineage, and others that differ in one thing each."""

    connection: Connection
    cluster: Cluster
    by_name: dict[str, StoredCertificate] = field(default_factory=dict)

    def mark(self, wanted: Entry, *, everywhere: bool = False) -> set[str]:
        """Mark by an entry; give the names of the certificates that are revoked then."""
        scope = ALL_CLUSTERS if everywhere else self.cluster.id
        stored = rows.add_revocation(self.connection, scope, wanted, name=f"o{rows.new_id().int % 10_000}")
        count = marking.mark_revoked(self.connection, stored.entries[0], NOW)
        found = certificates.find_all(self.connection, [row.id for row in self.by_name.values()])
        marked = {
            name for name, row in self.by_name.items() if found[row.id].revoked_by == stored.entries[0].id
        }
        assert len(marked) == count
        assert {found[self.by_name[name].id].revoked_at for name in marked} <= {NOW}
        return marked

    def preview(self, *wanted: Entry, everywhere: bool = False) -> set[str]:
        scope = ALL_CLUSTERS if everywhere else self.cluster.id
        aim = Aim(wanted, scope, NOW)
        sample = hits.newest(self.connection, aim, 100)
        assert sum(total.count for total in hits.totals(self.connection, aim).values()) == len(sample)
        assert sum(hit.count for hit in hits.by_node(self.connection, aim, 100)) == len(sample)
        ids = {row.id for row in sample}
        return {name for name, row in self.by_name.items() if row.id in ids}


@pytest.fixture
def fleet(connection: Connection) -> Fleet:
    rows.add_all_clusters(connection)
    fleet = Fleet(connection, rows.add_cluster(connection, "blue"))
    green = rows.add_cluster(connection, "green")
    service = rows.add_generation(connection, None, key=3)
    blue_ca = rows.add_generation(connection, fleet.cluster, key=1)
    green_ca = rows.add_generation(connection, green, key=2)

    def add(name: str, cluster: Cluster | None = fleet.cluster, **fields: object) -> None:
        generation = service if cluster is None else green_ca if cluster is green else blue_ca
        fleet.by_name[name] = rows.add_certificate(connection, generation, cluster, **fields)  # type: ignore[arg-type]

    parent: Callable[[str], StoredCertificate] = fleet.by_name.__getitem__
    long_ago = START - timedelta(days=30)
    add("grandparent", serial="aa", issued_at=START - timedelta(days=4, seconds=1), spki_sha256="0a" * 32)
    add("parent", parent=parent("grandparent"), serial="bb", named=rows.names("jane", NODES))
    add("child", parent=parent("parent"), issued_at=START + timedelta(minutes=1))
    add("node", named=rows.names("system:node:n1", NODES, ("n1.blue.example", "10.1.2.3")))
    add("wildcard", named=rows.names("any", (), ("*.blue.example", "2001:db8::7")))
    add("named-by-cn", named=rows.names("n2.blue.example"))
    add("suffix-itself", named=rows.names("x", (), ("blue.example", "10.2.0.1")))
    add("key", spki_sha256="0d" * 32)
    add("expired", issued_at=long_ago, named=rows.names("system:node:n1", NODES), spki_sha256="0d" * 32)
    add("green", green, serial="aa", named=rows.names("system:node:n1", NODES), spki_sha256="0d" * 32)
    add("service", None, serial="aa", named=rows.names("system:node:n1", NODES), spki_sha256="0d" * 32)
    return fleet


CASES: list[tuple[Entry, set[str]]] = [
    (entry(EntryKind.GROUP, "system:nodes"), {"parent", "node"}),
    (entry(EntryKind.GROUP, "system:node"), set()),
    (entry(EntryKind.GROUP, "System:Nodes"), set()),
    (entry(EntryKind.COMMON_NAME, "system:node:n1"), {"node"}),
    (entry(EntryKind.DNS, "N1.blue.example."), {"node", "wildcard"}),
    (entry(EntryKind.DNS, "n2.blue.example"), {"named-by-cn", "wildcard"}),
    (entry(EntryKind.DNS, "blue.example"), {"suffix-itself"}),
    (entry(EntryKind.DNS, "a.n1.blue.example"), set()),
    (entry(EntryKind.DNS, ".blue.example"), {"node", "wildcard", "named-by-cn"}),
    (entry(EntryKind.DNS, ".n1.blue.example"), set()),
    (entry(EntryKind.IP, "10.1.2.3"), {"node"}),
    (entry(EntryKind.IP, "::ffff:10.1.2.3"), {"node"}),
    (entry(EntryKind.IP, "10.0.0.0/8"), {"node", "suffix-itself"}),
    (entry(EntryKind.IP, "10.1.2.4/30"), set()),
    (entry(EntryKind.IP, "0.0.0.0/0"), {"node", "suffix-itself"}),
    (entry(EntryKind.IP, "::/0"), {"wildcard"}),
    (entry(EntryKind.IP, "2001:db8::/64"), {"wildcard"}),
    (entry(EntryKind.PUBLIC_KEY, "0D" * 32), {"key"}),
    (entry(EntryKind.SERIAL_NUMBER, "00:BB"), {"parent", "child"}),
    (entry(EntryKind.SERIAL_NUMBER, "bb", include_renewed=False), {"parent"}),
    (entry(EntryKind.SERIAL_NUMBER, "cc"), set()),
    # The cut-off is compared with the true time of issue, to the microsecond.
    (entry(EntryKind.GROUP, "system:nodes", START), set()),
    (entry(EntryKind.GROUP, "system:nodes", START + timedelta(microseconds=1)), {"parent", "node"}),
    (entry(EntryKind.GROUP, "system:nodes", NOW + timedelta(days=9)), {"parent", "node"}),
    (entry(EntryKind.SERIAL_NUMBER, "bb", START + timedelta(seconds=1)), {"parent"}),
]


@pytest.mark.parametrize(
    ("wanted", "hit"),
    CASES,
    ids=[f"{number}-{case.kind}-{case.value[:20]}" for number, (case, _) in enumerate(CASES)],
)
def test_an_entry_marks_the_live_certificates_that_it_names(
    fleet: Fleet, wanted: Entry, hit: set[str]
) -> None:
    assert fleet.preview(wanted) == hit
    assert fleet.mark(wanted) == hit
    assert fleet.preview(wanted) == set()


def test_a_lineage_is_marked_to_its_end_the_expired_ones_too(fleet: Fleet) -> None:
    # The grandparent expired a second ago. It must not vouch for a repair later.
    lineage = entry(EntryKind.SERIAL_NUMBER, "aa")
    assert fleet.preview(lineage) == {"parent", "child"}
    assert fleet.mark(lineage) == {"grandparent", "parent", "child"}


def test_without_its_lineage_a_serial_is_marked_alone(fleet: Fleet) -> None:
    assert fleet.mark(entry(EntryKind.SERIAL_NUMBER, "aa", include_renewed=False)) == {"grandparent"}


def test_an_expired_certificate_is_not_marked_by_its_names(fleet: Fleet) -> None:
    assert "expired" not in fleet.mark(entry(EntryKind.GROUP, "system:nodes"))


def test_a_certificate_is_live_to_the_end_of_its_last_second(fleet: Fleet) -> None:
    last = fleet.by_name["key"].not_after + timedelta(microseconds=999_999)
    wanted = entry(EntryKind.PUBLIC_KEY, "0d" * 32)
    standing = rows.add_revocation(fleet.connection, fleet.cluster.id, wanted).entries[0]
    assert hits.totals(fleet.connection, Aim([wanted], fleet.cluster.id, last))["admin"].count == 1
    assert marking.mark_revoked(fleet.connection, standing, last + timedelta(microseconds=1)) == 0
    assert marking.mark_revoked(fleet.connection, standing, last) == 1


@pytest.mark.parametrize(
    ("wanted", "hit"),
    [
        (entry(EntryKind.GROUP, "system:nodes"), {"parent", "node", "green"}),
        (entry(EntryKind.PUBLIC_KEY, "0d" * 32), {"key", "green"}),
        (entry(EntryKind.SERIAL_NUMBER, "aa"), {"grandparent", "parent", "child", "green"}),
    ],
    ids=["group", "key", "serial"],
)
def test_an_entry_for_all_clusters_spares_trivets_own_authority(
    fleet: Fleet, wanted: Entry, hit: set[str]
) -> None:
    assert fleet.preview(wanted, everywhere=True) == hit - {"grandparent"}
    assert fleet.mark(wanted, everywhere=True) == hit


def test_the_first_mark_stays(fleet: Fleet) -> None:
    assert fleet.mark(entry(EntryKind.COMMON_NAME, "system:node:n1")) == {"node"}
    assert fleet.mark(entry(EntryKind.GROUP, "system:nodes")) == {"parent"}


def test_a_preview_counts_what_several_entries_hit_once(fleet: Fleet) -> None:
    several = (entry(EntryKind.GROUP, "system:nodes"), entry(EntryKind.DNS, ".blue.example"))
    assert fleet.preview(*several) == {"parent", "node", "wildcard", "named-by-cn"}
    assert fleet.preview() == set()


def test_a_preview_counts_by_profile_and_node_and_shows_the_newest(connection: Connection) -> None:
    blue = rows.add_cluster(connection)
    generation = rows.add_generation(connection, blue)
    added = [
        rows.add_certificate(
            connection,
            generation,
            blue,
            rows.names("x", NODES),
            profile="kubelet-client",
            node=f"n{number % 2}",
        )
        for number in range(25)
    ]
    aim = Aim([entry(EntryKind.GROUP, *NODES)], blue.id, NOW)
    end = added[0].not_after
    assert hits.totals(connection, aim) == {"kubelet-client": Total("kubelet-client", 25, 2, end)}
    assert hits.by_node(connection, aim, 10) == [
        Hit("blue", "kubelet-client", "n0", 13, end),
        Hit("blue", "kubelet-client", "n1", 12, end),
    ]
    assert [hit.node for hit in hits.by_node(connection, aim, 1)] == ["n0"]
    assert hits.by_node(connection, aim, 10, "admin") == []
    assert hits.newest(connection, aim, 10, "admin") == []
    assert hits.newest(connection, aim, 20, "kubelet-client") == added[:4:-1]


def test_what_a_spared_entry_names_is_left_out(fleet: Fleet) -> None:
    everybody, spared = entry(EntryKind.GROUP, "system:nodes"), entry(EntryKind.DNS, ".blue.example")
    aim = Aim([everybody], fleet.cluster.id, NOW, [spared])
    assert [row.id for row in hits.newest(fleet.connection, aim, 9)] == [fleet.by_name["parent"].id]
    assert hits.totals(fleet.connection, aim)["admin"].count == 1


@pytest.mark.parametrize("kind", [EntryKind.DNS, EntryKind.SERIAL_NUMBER, EntryKind.IP])
def test_a_preview_takes_as_many_entries_as_an_object_may_have(fleet: Fleet, kind: EntryKind) -> None:
    values = {
        EntryKind.DNS: "h{0}.x.blue.example",
        EntryKind.SERIAL_NUMBER: "1{0:04x}",
        EntryKind.IP: "192.0.{1}.{2}",
    }
    texts = [values[kind].format(n, n // 256, n % 256) for n in range(999)]
    hitting = entry(EntryKind.COMMON_NAME, "system:node:n1")
    assert fleet.preview(*(entry(kind, value) for value in texts), hitting) == {"node"}
