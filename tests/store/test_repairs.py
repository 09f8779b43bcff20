"""Windows, stages, tokens, early renewals and current identities, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Connection, exc
from tests.support import rows
from tests.support.clock import START

from trivet.pki.repair import Stage, StageEnd, StageEvent
from trivet.store import certificates, identities, renewals, repair_tokens, repairs
from trivet.store.certificates import StoredCertificate
from trivet.store.clusters import Cluster
from trivet.store.repair_tokens import RepairToken
from trivet.store.repairs import RepairWindow

HOUR = timedelta(hours=1)


@pytest.fixture
def cluster(connection: Connection) -> Cluster:
    rows.add_all_clusters(connection)
    return rows.add_cluster(connection, "blue")


def window_of(cluster: Cluster, **changed: object) -> RepairWindow:
    made = RepairWindow(rows.new_id(), cluster.id, START, "somebody", START + HOUR, 86_400, 300, 3)
    return replace(made, **changed)  # type: ignore[arg-type]


@pytest.fixture
def window(connection: Connection, cluster: Cluster) -> RepairWindow:
    made = window_of(cluster)
    repairs.add(connection, made)
    return made


@pytest.fixture
def token(connection: Connection, window: RepairWindow) -> RepairToken:
    made = RepairToken(rows.new_id(), "w", START, "somebody", window)
    repair_tokens.add(connection, made, "hash-of-w")
    return made


class TestWindows:
    """A cluster has one that is not closed."""

    def test_what_is_stored_is_read_again_in_its_own_cluster_only(
        self, connection: Connection, cluster: Cluster, window: RepairWindow
    ) -> None:
        other = rows.add_cluster(connection, "green")
        assert repairs.find(connection, cluster.id, window.id) == window
        assert repairs.find(connection, other.id, window.id) is None
        assert repairs.unclosed(connection, {cluster.id, other.id}) == {cluster.id: window}
        assert repairs.all_unclosed(connection) == [window]

    def test_a_second_that_is_not_closed_is_refused_by_the_database(
        self, connection: Connection, cluster: Cluster, window: RepairWindow
    ) -> None:
        with pytest.raises(exc.IntegrityError), connection.begin_nested():
            repairs.add(connection, window_of(cluster))
        assert repairs.close(connection, window.id, "closed", START, "x")
        repairs.add(connection, window_of(cluster))

    def test_it_is_closed_once(self, connection: Connection, cluster: Cluster, window: RepairWindow) -> None:
        assert repairs.close(connection, window.id, "completed", START + HOUR, "first")
        assert not repairs.close(connection, window.id, "closed", START, "second")
        found = repairs.find(connection, cluster.id, window.id)
        assert found == replace(window, outcome="completed", closed_at=START + HOUR, closed_by="first")
        assert repairs.unclosed(connection, {cluster.id}) == {}

    def test_an_outcome_that_is_none_is_refused_by_the_database(
        self, connection: Connection, window: RepairWindow
    ) -> None:
        with pytest.raises(exc.IntegrityError), connection.begin_nested():
            repairs.close(connection, window.id, "lost", START, "x")

    def test_it_is_open_from_its_beginning_to_before_its_end(self, cluster: Cluster) -> None:
        window = window_of(cluster)
        moment = timedelta(microseconds=1)
        moments = {START - moment: False, START: True, START + HOUR - moment: True, START + HOUR: False}
        assert {at: window.is_open(at) for at in moments} == moments
        assert not replace(window, closed_at=START).is_open(START)

    def test_pages_go_from_the_newest_to_the_oldest(self, connection: Connection, cluster: Cluster) -> None:
        made = [window_of(cluster, outcome="closed", closed_at=START) for _ in range(5)]
        for each in made:
            repairs.add(connection, each)
        first = repairs.page(connection, cluster.id, None, 3)
        rest = repairs.page(connection, cluster.id, first[-1].id, 3)
        assert [*first, *rest] == made[::-1]


class TestStages:
    """The end of a stage is noted once."""

    def test_the_first_end_stays(self, connection: Connection, window: RepairWindow) -> None:
        first, second = StageEvent(StageEnd.FRESH, START), StageEvent(StageEnd.PASSED, START + HOUR)
        assert repairs.end_stage(connection, window.id, Stage.ETCD, first)
        assert not repairs.end_stage(connection, window.id, Stage.ETCD, second)
        assert repairs.end_stage(connection, window.id, Stage.API_SERVER, second)
        nothing = rows.new_id()
        assert repairs.stages(connection, [window.id, nothing]) == {
            window.id: {Stage.ETCD: first, Stage.API_SERVER: second},
            nothing: {},
        }


class TestTokens:
    """Found by the hash of their secret; used once for each certificate."""

    def test_a_token_is_found_with_its_window_as_it_stands(
        self, connection: Connection, window: RepairWindow, token: RepairToken
    ) -> None:
        assert repair_tokens.find(connection, "hash-of-w") == token
        assert repair_tokens.find(connection, "another") is None
        assert repair_tokens.with_ids(connection, {token.id, UUID(int=1)}) == {token.id: token}
        repairs.close(connection, window.id, "closed", START, "x")
        found = repair_tokens.find(connection, "hash-of-w")
        assert found is not None
        assert not found.window.is_open(START)

    def test_it_is_used_once_for_each(self, connection: Connection, token: RepairToken) -> None:
        held, other = rows.new_id(), rows.new_id()
        assert repair_tokens.use(connection, token.id, held, rows.new_id(), START)
        assert not repair_tokens.use(connection, token.id, held, rows.new_id(), START)
        assert repair_tokens.use(connection, token.id, other, rows.new_id(), START)
        assert repair_tokens.uses(connection, {token.id}) == {token.id: frozenset({held, other})}

    def test_no_two_have_one_secret(
        self, connection: Connection, window: RepairWindow, token: RepairToken
    ) -> None:
        del token
        second = RepairToken(rows.new_id(), "v", START, "x", window)
        with pytest.raises(exc.IntegrityError), connection.begin_nested():
            repair_tokens.add(connection, second, "hash-of-w")


class TestRefusals:
    """What holders were told last."""

    def test_the_newest_of_each_certificate_since_a_moment(
        self, connection: Connection, cluster: Cluster
    ) -> None:
        def decide(serial: str | None, reason: str, **more: object) -> UUID:
            told = {"verdict": "refused", "reason": reason, "detail": f"because {reason}"} | more
            return rows.add_decision(connection, cluster, parent_serial=serial, **told).id

        decide("aa", "before")
        first = decide("bb", "expired")
        decide("aa", "stageWaits")
        decide("bb", "revoked")
        decide("cc", "", verdict="issued")
        decide(None, "expired")
        found = repairs.refusals_since(connection, cluster.id, first)
        assert {serial: one.reason for serial, one in found.items()} == {"aa": "stageWaits", "bb": "revoked"}
        assert found["bb"].detail == "because revoked"


class TestRenewals:
    """Clusters that were asked to renew early."""

    def test_wishes_are_listed_newest_first_in_their_own_cluster(
        self, connection: Connection, cluster: Cluster
    ) -> None:
        other = rows.add_cluster(connection, "green")
        made = [
            renewals.StoredEarlyRenewal(rows.new_id(), cluster.id, START, START + HOUR, "x") for _ in range(7)
        ]
        for each in made:
            renewals.add(connection, each)
        assert renewals.latest(connection, cluster.id) == made[:1:-1]
        assert renewals.page(connection, cluster.id, made[2].id, 9) == [made[1], made[0]]
        assert renewals.find(connection, cluster.id, made[0].id) == made[0]
        assert renewals.find(connection, other.id, made[0].id) is None


class TestCurrentCertificates:
    """Those that nothing has replaced."""

    @pytest.fixture
    def held(self, connection: Connection, cluster: Cluster) -> list[StoredCertificate]:
        generation = rows.add_generation(connection, cluster, key=1)
        return [rows.add_certificate(connection, generation, cluster, node=f"n{n % 2}") for n in range(5)]

    def _ids(self, connection: Connection, cluster: Cluster, **more: object) -> list[UUID]:
        return [one.id for one in identities.each(connection, cluster.id, 100, **more)]  # type: ignore[arg-type]

    def test_newest_first_and_without_what_was_replaced(
        self, connection: Connection, cluster: Cluster, held: list[StoredCertificate]
    ) -> None:
        assert self._ids(connection, cluster) == [one.id for one in reversed(held)]
        assert certificates.supersede_first(connection, held[1].id, START)
        assert not certificates.supersede_first(connection, held[1].id, START + HOUR)
        assert held[1].id not in self._ids(connection, cluster)
        assert self._ids(connection, cluster, nodes={"n1"}) == [held[3].id]
        (stored,) = certificates.find_all(connection, [held[1].id]).values()
        assert stored.superseded_at == START

    def test_read_by_the_page_and_never_more_than_asked_for(
        self,
        connection: Connection,
        cluster: Cluster,
        held: list[StoredCertificate],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(identities, "_PAGE", 2)
        found = [one.id for one in identities.each(connection, cluster.id, 3)]
        assert found == [one.id for one in held[:1:-1]]
        assert len(list(identities.each(connection, cluster.id, 100))) == 5

    def test_what_was_given_up_is_noted_once_and_taken_back(
        self, connection: Connection, cluster: Cluster, held: list[StoredCertificate]
    ) -> None:
        current = list(identities.each(connection, cluster.id, 2))
        for _ in range(2):
            identities.abandon(connection, cluster.id, current, START, "x")
        ids = frozenset(one.id for one in current)
        assert identities.abandoned(connection, cluster.id) == ids == {held[-1].id, held[-2].id}
        identities.take_back(connection, cluster.id, {held[-1].id})
        assert identities.abandoned(connection, cluster.id) == {held[-2].id}

    def test_they_are_found_by_id_with_der_and_key(
        self, connection: Connection, held: list[StoredCertificate]
    ) -> None:
        ids = [one.id for one in held]
        assert identities.ders(connection, ids) == {one.id: one.der for one in held}
        assert {one.id for one in identities.with_ids(connection, ids)} == set(ids)
        assert identities.with_ids(connection, []) == []
        assert identities.knows_key(connection, held[0].spki_sha256)
        assert not identities.knows_key(connection, "ff" * 32)
