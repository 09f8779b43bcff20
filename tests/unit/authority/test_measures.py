from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from tests.support.clock import Clock
from tests.support.world import CLUSTER_NAMES, World, make_authority, prepare_database

from trivet.authority.metrics import measures, meters
from trivet.authority.metrics.exposition import exposition, shared
from trivet.authority.metrics.footprint import note_footprint
from trivet.authority.metrics.monitor import Monitor, Standing, StandingCollector
from trivet.bootstrap.metrics import forget_worker
from trivet.pki.errors import BadCSRError, NotFoundError, RevokedError
from trivet.pki.pem import from_der
from trivet.store import authorities, monitoring
from trivet.store.authorities import GenerationState
from trivet.store.clusters import Cluster
from trivet.store.tables import generations

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BLUE = Cluster(None, "blue", CLUSTER_NAMES, NOW)  # type: ignore[arg-type]
NOTHING = StandingCollector({"version": "1"}, NOW, Standing(), is_up=False)
# What a worker does: it counts, holds a gauge, says that it is done, and waits to be ended.
WORKER = """
import sys
from trivet.authority.metrics import measures, footprint
for _ in range(int(sys.argv[1])):
    measures.turned_away()
    measures.batch(3)
measures.waiting(int(sys.argv[1]))
footprint.note_footprint()
print("counted", flush=True)
sys.stdin.read()
"""


def value(name: str, **labels: str) -> float:
    """The value of a series of this process, 0 where there is none."""
    return meters.REGISTRY.get_sample_value(name, labels) or 0.0


def decisions() -> dict[tuple[tuple[str, str], ...], float]:
    (family,) = meters.DECISIONS.collect()
    return {tuple(sorted(sample.labels.items())): sample.value for sample in family.samples}


def read(folder: Path) -> dict[str, Metric]:
    text = exposition(NOTHING, is_openmetrics=False, folder=str(folder)).decode()
    return {family.name: family for family in parse_text(text)}


def sample(families: dict[str, Metric], name: str) -> float:
    (found,) = [item for family in families.values() for item in family.samples if item.name == name]
    return float(found.value)


def standing(world: World) -> Standing:
    monitor = Monitor(world.authority)
    monitor.read()
    return monitor.standing


class Workers:
    """Processes that count into one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[str]] = []

    def start(self, count: int) -> subprocess.Popen[str]:
        started = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(count)],
            env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(self.folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.running.append(started)
        assert started.stdout is not None
        assert started.stdout.readline() == "counted\n"
        return started

    def end(self) -> None:
        for worker in self.running:
            worker.kill()
            worker.communicate()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    started = Workers(tmp_path)
    yield started
    started.end()


@pytest.fixture
def apart() -> Iterator[None]:
    yield
    measures.tell_clusters_apart(wanted=True)


def test_a_decision_counts_by_cluster_authority_profile_action_and_result() -> None:
    labels = {"cluster": "blue", "authority": "etcd", "profile": "etcd-peer", "action": "renew"}
    before = value("trivet_decisions_total", **labels, result="revoked")
    measures.decided(BLUE, "etcd-peer", "renew", RevokedError("no"))
    assert value("trivet_decisions_total", **labels, result="revoked") == before + 1


def test_what_clients_make_up_adds_one_series_at_most() -> None:
    measures.decided(None, "unheard-of", "unheard-of", RevokedError("no"))
    before = decisions()
    for number in range(1000):
        measures.decided(None, f'profile-{number}\n"', f"action-{number}", RevokedError(f"no {number}"))
    after = decisions()
    assert after.keys() == before.keys()
    (grown,) = [dict(key) for key, count in after.items() if count != before[key]]
    assert set(grown.values()) == {"unknown", "revoked"}


def test_odd_profiles_and_methods_take_no_memory_either() -> None:
    measures._decision.cache_clear()
    for number in range(50):
        measures.decided(None, f"profile-{number}", f"action-{number}", RevokedError("no"))
        measures.request_began()
        measures.request_ended(f"BREW-{number}", "/livez", 405, 0.001)
    assert measures._decision.cache_info().currsize == 1
    assert value("trivet_http_requests_total", method="other", route="/livez", status="405") == 50


def test_trivets_own_certificate_has_no_cluster() -> None:
    labels = {"authority": "service", "profile": "trivet-server", "action": "issue", "result": "issued"}
    before = value("trivet_decisions_total", cluster="", **labels)
    measures.decided(None, "trivet-server", "issue", None)
    assert value("trivet_decisions_total", cluster="", **labels) == before + 1


@pytest.mark.usefixtures("apart")
def test_clusters_need_not_be_told_apart() -> None:
    measures.tell_clusters_apart(wanted=False)
    before = decisions().keys()
    for number in range(100):
        cluster = Cluster(None, f"many-{number}", CLUSTER_NAMES, NOW)  # type: ignore[arg-type]
        measures.decided(cluster, "kubelet-client", "issue", None)
    added = decisions().keys() - before
    assert len(added) <= 1
    assert not [key for key in added if "many" in str(key)]


def test_every_kind_of_refusal_is_a_result_of_its_own() -> None:
    for refusal in (RevokedError("no"), BadCSRError("no"), NotFoundError("no")):
        measures.decided(BLUE, "scheduler", "issue", refusal)
        labels = {"cluster": "blue", "authority": "cluster", "profile": "scheduler", "action": "issue"}
        assert value("trivet_decisions_total", **labels, result=refusal.slug) >= 1


def test_a_batch_its_phases_and_the_queue_are_measured() -> None:
    names = {
        "size": "trivet_batch_size_sum",
        "away": "trivet_queue_turned_away_total",
        "again": "trivet_idempotent_replays_total",
    }
    before = {key: value(name) for key, name in names.items()}
    signing = value("trivet_batch_phase_seconds_sum", phase="sign")
    measures.batch(17)
    measures.phase("sign", 0.25)
    measures.waiting(5)
    measures.turned_away()
    measures.replayed()
    grown = {key: value(name) - before[key] for key, name in names.items()}
    assert grown == {"size": 17, "away": 1, "again": 1}
    assert value("trivet_batch_phase_seconds_sum", phase="sign") - signing == pytest.approx(0.25)
    assert value("trivet_queue_waiting") == 5


def test_faults_are_there_at_0_before_the_first_one() -> None:
    exposed = exposition(NOTHING, is_openmetrics=False, folder=None).decode()
    for fault in ("missing", "malformed", "unknown", "expired", "certificate", "message"):
        assert f'trivet_authentication_failures_total{{fault="{fault}"}}' in exposed
    for fault in ("unavailable", "busy", "conflict"):
        assert f'trivet_database_errors_total{{fault="{fault}"}}' in exposed


def test_faults_revocations_and_chores_are_counted() -> None:
    before = value("trivet_revocation_entries_added_total"), value("trivet_certificates_revoked_total")
    measures.authentication_failed("expired")
    measures.database_failed("busy")
    measures.revocation_changed("create", None, added=3, marked=40)
    measures.revocation_changed("delete", BLUE, added=0, marked=0)
    measures.chore_ended("sweeping", failed=True, due=NOW)
    measures.https_certificate(NOW + timedelta(days=4), timedelta(days=5))
    assert value("trivet_authentication_failures_total", fault="expired") >= 1
    assert value("trivet_database_errors_total", fault="busy") >= 1
    assert value("trivet_revocation_changes_total", change="create", scope="all") >= 1
    assert value("trivet_revocation_changes_total", change="delete", scope="cluster") >= 1
    assert value("trivet_revocation_entries_added_total") == before[0] + 3
    assert value("trivet_certificates_revoked_total") == before[1] + 40
    assert value("trivet_chore_runs_total", chore="sweeping", result="failed") == 1
    assert value("trivet_chore_due_timestamp_seconds", chore="sweeping") == NOW.timestamp()
    ends = value("trivet_https_not_after_timestamp_seconds", authority="service")
    assert ends == (NOW + timedelta(days=4)).timestamp()
    assert value("trivet_https_lifetime_seconds", authority="service") == 5 * 24 * 3600


def test_a_process_notes_what_it_takes_of_its_machine() -> None:
    note_footprint()
    used = value("process_cpu_seconds_total")
    sum(number * number for number in range(2_000_000))
    note_footprint()
    assert value("process_cpu_seconds_total") > used
    assert 10_000_000 < value("process_resident_memory_bytes") < 10_000_000_000
    assert 3 <= value("process_open_fds") < 10_000
    now = datetime.now(UTC).timestamp()
    assert now - 24 * 3600 < value("process_start_time_seconds") <= now + 2


def test_both_formats_can_be_parsed_and_names_follow_the_conventions() -> None:
    measures.decided(BLUE, "etcd-peer", "issue", None)
    measures.request_changed(BLUE, "kubelet-client", "pending")
    text = exposition(NOTHING, is_openmetrics=False, folder=None).decode()
    openmetrics = exposition(NOTHING, is_openmetrics=True, folder=None).decode()
    assert openmetrics.endswith("# EOF\n")
    assert {family.name for family in parse_openmetrics(openmetrics)} == {
        family.name for family in parse_text(text)
    }
    for family in parse_text(text):
        assert re.fullmatch(r"(trivet|process)_[a-z_]+", family.name)
        assert family.documentation.endswith((".", "1."))
        assert not re.search(r"_(ms|milliseconds|minutes|kb|created)\b", family.name)
        totals = [item.name.endswith("_total") for item in family.samples]
        # What has labels has no sample before something was counted.
        assert not totals or (family.type == "counter") == any(totals)
        assert not {"serial", "node", "pid", "requester"} & {key for s in family.samples for key in s.labels}


def test_promtool_has_nothing_to_say_against_the_metrics(require_tool: Callable[[str], str]) -> None:
    measures.decided(BLUE, "etcd-peer", "issue", None)
    full = StandingCollector(
        {"version": "1"},
        NOW,
        Standing({("blue", "etcd", "active"): (NOW, timedelta(days=9))}, 1),
        is_up=True,
        ahead=0.5,
    )
    text = exposition(full, is_openmetrics=False, folder=None)
    checked = subprocess.run(
        [require_tool("promtool"), "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_workers_are_added_up(workers: Workers) -> None:
    workers.start(5)
    workers.start(7)
    found = read(workers.folder)
    assert sample(found, "trivet_queue_turned_away_total") == 12
    assert sample(found, "trivet_batch_size_count") == 12
    assert sample(found, "trivet_batch_size_sum") == 36
    assert sample(found, "trivet_queue_waiting") == 12
    assert sample(found, "trivet_workers") == 2
    assert sample(found, "process_resident_memory_bytes") > 40_000_000
    assert "pid" not in exposition(NOTHING, is_openmetrics=True, folder=str(workers.folder)).decode()


def test_a_killed_worker_leaves_its_counts_and_takes_its_gauges_along(workers: Workers) -> None:
    killed = workers.start(5)
    workers.start(7)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert forget_worker(workers.folder, killed.pid)
    workers.start(1)
    found = read(workers.folder)
    assert sample(found, "trivet_queue_turned_away_total") == 13
    assert sample(found, "trivet_batch_size_sum") == 39
    assert sample(found, "trivet_queue_waiting") == 8
    assert sample(found, "trivet_workers") == 2


def test_workers_that_end_again_and_again_leave_no_more_files_than_one(workers: Workers) -> None:
    left = set()
    for _ in range(3):
        ended = workers.start(2)
        ended.kill()
        ended.wait()
        assert forget_worker(workers.folder, ended.pid)
        left.add(tuple(sorted(path.name for path in workers.folder.glob("*.db"))))
    assert left == {("counter_0.db", "histogram_0.db")}
    assert sample(read(workers.folder), "trivet_queue_turned_away_total") == 6
    assert sample(read(workers.folder), "trivet_batch_size_count") == 6


def test_nothing_is_moved_while_somebody_reads(workers: Workers) -> None:
    ended = workers.start(2)
    ended.kill()
    ended.wait()
    with shared(str(workers.folder)):
        assert not forget_worker(workers.folder, ended.pid)
    assert (workers.folder / f"counter_{ended.pid}.db").exists()
    assert forget_worker(workers.folder, ended.pid)


def test_a_file_that_its_worker_could_not_begin_hinders_nobody(workers: Workers) -> None:
    workers.start(4)
    (workers.folder / "counter_4000000.db").touch()
    assert sample(read(workers.folder), "trivet_queue_turned_away_total") == 4
    assert forget_worker(workers.folder, 4000000)
    assert not (workers.folder / "counter_4000000.db").exists()


def test_the_ends_of_trusted_authorities_are_read_on_both_databases(database_url: str) -> None:
    clock = Clock()
    prepare_database(database_url, clock)
    world = World(make_authority(database_url, clock), clock)
    cluster = world.make_cluster("blue")
    with world.authority.database.write() as connection:
        made = {found.name.value: found for found in authorities.all_generations(connection, cluster.id)}
        retired = generations.c.id == made["etcd"].id
        connection.execute(generations.update().where(retired).values(state=GenerationState.RETIRED))
    found, ahead = standing(world), Monitor(world.authority).clock_ahead()
    assert set(found.ends) == {
        ("blue", "cluster", "active"),
        ("blue", "front-proxy", "active"),
        ("", "service", "active"),
    }
    root = from_der(made["cluster"].certificate)
    lifetime = root.not_valid_after_utc - root.not_valid_before_utc
    assert found.ends["blue", "cluster", "active"] == (root.not_valid_after_utc, lifetime)
    assert found.clusters == 1
    if world.authority.database.is_sqlite:
        assert ahead is None
    else:
        assert ahead == pytest.approx((datetime.now(UTC) - clock()).total_seconds(), abs=5)
    world.authority.database.dispose()


def test_a_certificate_of_an_authority_is_read_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    reading = monitoring.certificates_of

    def counting(connection: object, wanted: list[object]) -> object:
        asked.append(len(wanted))
        return reading(connection, wanted)  # type: ignore[arg-type]

    monkeypatch.setattr(monitoring, "certificates_of", counting)
    monitor = Monitor(world.authority)
    monitor.read()
    first = monitor.standing
    monitor.read()
    assert monitor.standing == first
    world.make_cluster("red")
    monitor.read()
    assert asked == [4, 0, 3]


@pytest.mark.usefixtures("apart")
def test_of_clusters_that_are_not_told_apart_the_earliest_end_is_shown(world: World) -> None:
    first = standing(world)
    world.clock.advance(days=30)
    world.make_cluster("red")
    measures.tell_clusters_apart(wanted=False)
    found = standing(world)
    assert found.ends["", "etcd", "active"] == first.ends["blue", "etcd", "active"]
    assert {cluster for cluster, _, _ in found.ends} == {""}
    assert found.clusters == 2
