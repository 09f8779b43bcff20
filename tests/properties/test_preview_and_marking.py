"""A preview tells beforehand what is then marked: for every kind of entry, scope, cut-off and lineage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update
from tests.support.clock import START, Clock
from tests.support.revocation_objects import entry, renew_revocation
from tests.support.signing_requests import csr, key_hash
from tests.support.world import World, make_authority, prepare_database

from trivet.authority.install import OPERATOR
from trivet.authority.issuance.application import Issuance
from trivet.authority.issue import IssuedCertificate, issue
from trivet.authority.preview import Preview, preview_revocation
from trivet.authority.revoke import create_revocation
from trivet.pki.manifest import RenewRevocation
from trivet.pki.revocation import Entry, EntryKind, Identity, matches
from trivet.pki.subjects import names_of
from trivet.store.certificates import StoredCertificate, stored_certificate, unexpired
from trivet.store.tables import certificates, revocation_entries, revocation_entry_keys
from trivet.store.tables import revocations as revocation_objects

K = EntryKind
CLUSTERS = ("blue", "green")
NOW = START + timedelta(hours=3)
PEOPLE = {"admin", "kube-apiserver-client"}
_numbers = count(1)

VALUES = {
    K.GROUP: ("system:nodes", "team", "kubeadm:cluster-admins", "nobody"),
    K.COMMON_NAME: ("system:node:n1", "jane", "system:kube-scheduler", "etcd-1"),
    K.DNS: (
        "n1.x.example",
        "any.x.example",
        ".x.example",
        "x.example",
        "kubernetes.default",
        "jane",
        ".example",
    ),
    K.IP: ("10.0.0.1", "10.0.0.0/8", "10.96.0.1", "2001:db8::/32", "0.0.0.0/0"),
    K.PUBLIC_KEY: tuple(key_hash(number) for number in range(3)),
}


@dataclass(frozen=True)
class Fleet:
    """A database with certificates of many kinds; `issued` are all of them."""

    world: World
    issued: tuple[StoredCertificate, ...]

    def live(self) -> list[StoredCertificate]:
        with self.world.authority.database.read() as connection:
            rows = connection.execute(select(certificates).where(unexpired(NOW))).all()
        return [stored_certificate(row) for row in rows if row.cluster_id is not None]

    def forget(self) -> None:
        """Undo what an example did."""
        with self.world.authority.database.write() as connection:
            connection.execute(update(certificates).values(revoked_at=None, revoked_by=None))
            for table in (revocation_entry_keys, revocation_entries, revocation_objects):
                connection.execute(delete(table))


def _fill(world: World, cluster: str) -> Iterator[IssuedCertificate]:
    short = timedelta(hours=1)
    first = world.issue("kubelet-client", "n1", cluster=cluster)
    yield first
    serving = Issuance(cluster, "kubelet-serving", csr(hosts=("n1",), key=2), "n1")
    yield issue(world.authority, world.holder(first.stored), serving)  # descends from the node's certificate
    yield world.issue("kubelet-client", "n2", cluster=cluster, lifetime=short)
    yield world.issue("etcd-peer", "etcd-1", cluster=cluster, hosts=("*.x.example", "2001:db8::1"), key=1)
    world.clock.advance(hours=1)
    second = world.renew(first.stored, cluster=cluster)
    yield second
    yield world.renew(first.stored, cluster=cluster, key=2)
    yield world.issue("apiserver", "cp-1", cluster=cluster)
    yield world.issue("scheduler", None, cluster=cluster, lifetime=timedelta(days=1))
    yield world.issue("admin", None, cluster=cluster)
    world.clock.advance(hours=1)
    yield world.renew(second.stored, cluster=cluster, key=0)
    yield world.issue("kubelet-serving", "n1", cluster=cluster, hosts=("n1.x.example", "10.0.0.1"), key=1)
    yield world.issue("kube-apiserver-client", None, cluster=cluster, hosts=("y.example", "10.0.1.1"))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    clock = Clock()
    url = f"sqlite:///{tmp_path_factory.mktemp('preview') / 'trivet.db'}"
    if request.param == "postgresql":
        request.getfixturevalue("_postgres_owner").execute("CREATE DATABASE trivet_previews")
        url = request.getfixturevalue("postgres_url").replace("/postgres?", "/trivet_previews?")
    prepare_database(url, clock)
    world = World(make_authority(url, clock), clock)
    issued = []
    for cluster in CLUSTERS:
        clock.now = START
        world.make_cluster(cluster)
        issued += [one.stored for one in _fill(world, cluster)]
    clock.now = NOW
    yield Fleet(world, tuple(issued))
    world.authority.database.dispose()


@dataclass(frozen=True)
class Draft:
    """An entry before it is known which certificates there are to name."""

    kind: EntryKind
    value: str
    place: int
    cut_off: int
    include_renewed: bool = True

    def entry(self, fleet: Fleet) -> Entry:
        named = fleet.issued[self.place % len(fleet.issued)]
        value = self.value or named.serial
        return entry(self.kind, value, self._not_before(named), include_renewed=self.include_renewed)

    def _not_before(self, named: StoredCertificate) -> datetime | None:
        around = named.issued_at + timedelta(microseconds=self.cut_off % 2)
        return (None, None, NOW, NOW + timedelta(days=2), around, around)[self.cut_off % 6]


places, cut_offs = st.integers(0, 40), st.integers(0, 11)
drafts = st.one_of(
    st.builds(Draft, st.just(K.SERIAL_NUMBER), st.just(""), places, cut_offs, st.booleans()),
    *(
        st.builds(Draft, st.just(kind), st.sampled_from(texts), places, cut_offs)
        for kind, texts in VALUES.items()
    ),
)


@pytest.mark.slow
@pytest.mark.timeout(200)
@settings(max_examples=60)
@given(
    wanted=st.lists(drafts, min_size=1, max_size=4),
    before=st.none() | drafts,
    cluster=st.sampled_from([None, *CLUSTERS]),
)
def test_a_preview_tells_what_is_then_marked(
    fleet: Fleet, wanted: list[Draft], before: Draft | None, cluster: str | None
) -> None:
    world = fleet.world
    if before is not None:  # what was revoked already is neither counted nor marked again
        world.revoke(before.entry(fleet), name="before")
    revocation = renew_revocation(*(draft.entry(fleet) for draft in wanted), name="wanted")
    preview = preview_revocation(world.authority, OPERATOR, cluster, revocation)
    revoked = create_revocation(world.authority, OPERATOR, cluster, revocation)
    own = {standing.id for standing in revoked.revocation.entries}
    try:
        marked = [row for row in fleet.live() if row.revoked_by in own]
        _check(fleet, preview, revocation, marked)
        assert list(revoked.warnings) == preview.outlook.warnings
    finally:
        fleet.forget()


def _check(
    fleet: Fleet, preview: Preview, revocation: RenewRevocation, marked: list[StoredCertificate]
) -> None:
    assert preview.count == len(marked)
    assert {row.id for row in preview.sample} <= {row.id for row in marked}
    assert len(preview.sample) == min(len(marked), 20)
    where = {
        row.cluster_id: name
        for row, name in zip(fleet.issued[:: len(fleet.issued) // 2], CLUSTERS, strict=True)
    }
    groups = Counter((where[row.cluster_id], row.profile, row.node) for row in marked)
    assert {(hit.cluster, hit.profile, hit.node): hit.count for hit in preview.hits} == groups
    profiles = Counter(row.profile for row in marked)
    assert {total.profile: total.count for total in preview.profiles} == profiles
    ends = {total.profile: total.first_end for total in preview.profiles}
    assert all(
        end == min(row.not_after for row in marked if row.profile == name) for name, end in ends.items()
    )
    # Whoever is revoked hears of it, once.
    told = Counter[str]()
    for finding in preview.outlook.findings:
        told[finding.profile] += finding.certificates
    assert +told == Counter({name: number for name, number in profiles.items() if name not in PEOPLE})
    alone = [row for row in marked if not any(_names(one, row) for one in revocation.entries)]
    assert preview.by_lineage == len(alone)


def _names(one: Entry, row: StoredCertificate) -> bool:
    """Whether the entry names the certificate itself, whatever it was renewed from."""
    names = names_of(x509.load_der_x509_certificate(row.der))
    identity = Identity(names, row.spki_sha256, serials=frozenset({row.serial}))
    return matches(replace(one, include_renewed=False), identity) and one.covers(row.issued_at)
