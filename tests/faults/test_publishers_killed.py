"""Real processes that are killed between a revocation and its CRL: the next one publishes all that was revoked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from tests.faults.crashing_publisher import POINTS
from tests.support.world import World, make_authority, prepare_database

from trivet.pki.locations import COMPLETE
from trivet.pki.profiles import AuthorityName
from trivet.store import authorities, clusters, crls

ROOT = Path(__file__).parents[2]


class Clockwork:
    """The real time, as the processes have it."""

    now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return datetime.now(UTC)


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    clock = Clockwork()
    prepare_database(database_url, clock)
    world = World(make_authority(database_url, clock), clock)  # type: ignore[arg-type]  # as good as a Clock here
    world.make_cluster("blue")
    yield world
    world.authority.database.dispose()


@contextmanager
def publishers(database_url: str, log: Path) -> Iterator[Callable[..., int]]:
    """Runs rounds of processes; gives how many were killed."""
    script = Path(__file__).with_name("crashing_publisher.py")
    command = [sys.executable, str(script), database_url, str(log)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)}
    ) as source:

        def run(*tasks: tuple[str, str]) -> int:
            assert source.stdin is not None
            assert source.stdout is not None
            print(*(f"{serial}:{point}" for serial, point in tasks), file=source.stdin, flush=True)
            return int(source.stdout.readline())

        yield run


def published(world: World) -> tuple[int, set[str]]:
    """Give the number of the newest CRL of the cluster's authority, and the serials on it."""
    with world.authority.database.read() as connection:
        cluster = clusters.get(connection, "blue")
        generation = authorities.active_generation(connection, cluster.id, AuthorityName.CLUSTER)
        listed = crls.find_list(connection, generation.id, COMPLETE)
        assert listed is not None
        content = crls.content(connection, listed.id, listed.number)
    if content is None:
        return 0, set()
    crl = x509.load_der_x509_crl(content.der)
    key = x509.load_der_x509_certificate(generation.certificate).public_key()
    assert crl.is_signature_valid(key)  # type: ignore[arg-type]
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    assert number == listed.number
    listed_serials = [format(revoked.serial_number, "x") for revoked in crl]
    assert len(listed_serials) == len(set(listed_serials))
    return number, set(listed_serials)


def check_log(log: Path) -> None:
    """No number of a list was committed twice."""
    lines = [tuple(line.split()) for line in log.read_text().splitlines()] if log.exists() else []
    numbers = [line[:2] for line in lines]
    assert len(numbers) == len(set(numbers))


@pytest.mark.slow
def test_whatever_was_revoked_is_published_by_the_next_process(
    world: World, database_url: str, tmp_path: Path
) -> None:
    log, revoked, number = tmp_path / "log", set(), 0
    with publishers(database_url, log) as run:
        run(("-", "never"))
        for place, point in enumerate(POINTS):
            issued = world.issue(node=f"node-{place}")
            revoked.add(issued.stored.serial)
            killed = run((issued.stored.serial, point))
            assert killed == (point != "never")
            after, listed = published(world)
            assert after >= number
            assert (revoked == listed) is (point in {"committed", "never"}), point
            run(("-", "never"))
            number, listed = published(world)
            assert number >= after
            assert listed == revoked
    check_log(log)


@pytest.mark.slow
def test_processes_that_are_killed_side_by_side_publish_all_and_no_number_twice(
    world: World, database_url: str, tmp_path: Path
) -> None:
    log, random, number = tmp_path / "log", Random(20261127), 0  # noqa: S311  a test's choice
    revoked: set[str] = set()
    with publishers(database_url, log) as run:
        for turn in range(6):
            serials = [world.issue(node=f"node-{turn}-{place}").stored.serial for place in range(3)]
            run(*((serial, random.choice((*POINTS, "never", "never"))) for serial in serials))
            revoked |= set(serials)
            after, listed = published(world)
            assert after >= number
            assert listed <= revoked
            number = after
        run(("-", "never"))
    last, listed = published(world)
    assert last > number or listed == revoked
    assert listed == revoked
    check_log(log)
