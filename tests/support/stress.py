"""Processes that issue while another revokes, and a judge of what came of it."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from queue import Empty
from typing import NamedTuple, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection, select
from tests.support.proof import complaints, exported, verified
from tests.support.revocation_objects import entry, renew_revocation
from tests.support.signing_requests import csr
from tests.support.stress_fleet import REQUESTER, add_fleet
from tests.support.world import World, make_authority, prepare_database
from tests.unit.pki.samples import dn, sans, signing_request

from trivet.authority import revoke as revoking
from trivet.authority.install import OPERATOR
from trivet.authority.issuance.application import Issuance, Renewal
from trivet.authority.issue import issue
from trivet.authority.revoke import create_revocation
from trivet.pki.errors import RevokedError, UnavailableError
from trivet.pki.keys import spki_sha256
from trivet.pki.revocation import Entry, EntryKind
from trivet.store import issuing, issuing_postgresql
from trivet.store.certificates import StoredCertificate
from trivet.store.tables import certificates

CLUSTER = "blue"
PATIENCE = 60  # seconds to wait for the others at the start of a round
K = EntryKind
T = TypeVar("T")


@dataclass(frozen=True)
class Trial:
    """What is tried.

    Attributes:
        locked: whether with the revocation lock.
        pause: seconds between each look-up of an issuance and what follows.
        longest_wait: of the revoker at the start of a round, in seconds.
        breath: the longest pause before each request, in seconds.
        fleet: how many other live certificates each round's entry names.
        attempts: how often each process asks in a round, unless it was refused.
    """

    url: str
    rounds: int
    issuers: int = 3
    locked: bool = True
    pause: float = 0.0
    longest_wait: float = 0.012
    breath: float = 0.0
    fleet: int = 0
    attempts: int = 4


class Attempt(NamedTuple):
    """One request: in which round, when it began (monotonic nanoseconds), and the serial that it got, if any."""

    round: int
    began: int
    serial: str | None


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        late: issued though the request began after the acknowledgement of a revocation that names it.
        proof: what verifying an export of all that was decided finds.
        unmarked: stands unrevoked in the database, though a standing entry names it.
        left: how many certificates of the fleets stand unrevoked.
    """

    issued: int
    refused: int
    late: list[Attempt]
    unmarked: list[Attempt]
    seconds: float
    left: int
    proof: list[str]


class _Target(NamedTuple):
    """A round's identity, as it is asked for and as it is revoked."""

    profile: str
    request: bytes
    node: str | None
    entry: Entry


def _target(number: int, serial: str | None, not_before: datetime | None) -> _Target:
    """Make the identity of a round; it is the same in every process."""
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"%d" % number).digest())
    node, network = f"n{number}", f"10.{number >> 8 & 255}.{number & 255}"

    def asked(common_name: str = "", group: str | None = None, host: str | None = None) -> bytes:
        extensions = [sans(host)] if host else []
        request = signing_request(dn(common_name, [group] if group else []), *extensions, key=key)
        return request.public_bytes(Encoding.DER)

    def target(profile: str, request: bytes, kind: EntryKind, value: str) -> _Target:
        return _Target(profile, request, node, entry(kind, value, not_before))

    if serial is not None:
        return target("kubelet-client", asked(), K.SERIAL_NUMBER, serial)
    variants: tuple[Callable[[], _Target], ...] = (
        lambda: target("kubelet-client", asked(), K.COMMON_NAME, f"system:node:{node}"),
        lambda: target("kube-apiserver-client", asked("jane", f"g{number}"), K.GROUP, f"g{number}"),
        lambda: target("kubelet-serving", asked(host=f"{node}.example"), K.DNS, f"{node}.example"),
        lambda: target("kubelet-serving", asked(host=f"a.{node}.example"), K.DNS, f".{node}.example"),
        lambda: target("etcd-peer", asked(host=f"*.{node}.example"), K.DNS, f"x.{node}.example"),
        lambda: target("etcd-server", asked(host=f"{network}.1"), K.IP, f"{network}.1"),
        lambda: target("etcd-server", asked(host=f"{network}.2"), K.IP, f"{network}.0/24"),
        lambda: target("scheduler", asked(), K.PUBLIC_KEY, spki_sha256(key.public_key())),
    )
    return variants[number % len(variants)]()


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Course:
    """What every process knows of a trial: the serials to revoke and the children that renew, by round."""

    trial: Trial
    cut_off: datetime
    lineages: dict[int, tuple[str, StoredCertificate]]

    def target(self, number: int) -> _Target:
        serial = self.lineages[number][0] if number in self.lineages else None
        # Every third revocation holds until tomorrow only.
        return _target(number, serial, self.cut_off if number % 3 == 0 else None)

    def world(self) -> World:
        return World(make_authority(self.trial.url, _now), None)  # type: ignore[arg-type]  # no test moves this clock


def _prepare(trial: Trial) -> _Course:
    """Make the database; every fifth round is about a lineage, whose parent and child are issued beforehand."""
    prepare_database(trial.url, _now)
    course = _Course(trial, _now() + timedelta(days=1), {})
    world = World(make_authority(trial.url, _now), _now)  # type: ignore[arg-type]  # no test moves this clock
    world.make_cluster(CLUSTER)
    for number in range(4, trial.rounds, 5):
        parent = world.issue(node=f"n{number}")
        course.lineages[number] = (parent.stored.serial, world.renew(parent.stored).stored)
    for number in range(trial.rounds if trial.fleet else 0):
        child = course.lineages[number][1].id if number in course.lineages else None
        add_fleet(world, CLUSTER, number, course.target(number).entry, trial.fleet, child)
    world.authority.database.dispose()
    return course


def _rig(trial: Trial) -> None:
    """Take the lock out of this process, and widen the gap that it closes, as the trial wants."""
    if not trial.locked:
        revoking.lock_exclusive = lambda *_: None  # type: ignore[attr-defined]
        issuing_postgresql._LOCK = "SELECT %s::bigint[]"  # type: ignore[misc]
    if not trial.pause:
        return
    look_up = issuing.read

    def slowly(connection: Connection, wanted: issuing.Wanted) -> issuing.Ground:
        found = look_up(connection, wanted)
        time.sleep(trial.pause)
        return found

    issuing.read = slowly


def _issue(course: _Course, barrier: Barrier, results: Queue[list[Attempt]]) -> None:
    trial = course.trial
    _rig(trial)
    world = course.world()
    attempts: list[Attempt] = []
    for number in range(trial.rounds):
        target = course.target(number)
        ask = _asking(world, course, number, target)
        barrier.wait(PATIENCE)
        attempts += _attempts(number, ask, trial)
    results.put(attempts)


def _asking(world: World, course: _Course, number: int, target: _Target) -> Callable[[], str]:
    wish: Issuance | Renewal = Issuance(CLUSTER, target.profile, target.request, target.node)
    requester = OPERATOR
    if number in course.lineages:
        child = course.lineages[number][1]
        # Authenticated before the revocation, as whoever holds a connection open is.
        requester = world.holder(child)
        wish = Renewal(child, CLUSTER, csr(key=2))
    return lambda: issue(world.authority, requester, wish).stored.serial


def _attempts(number: int, ask: Callable[[], str], trial: Trial) -> Iterator[Attempt]:
    for _ in range(trial.attempts):
        time.sleep(random.uniform(0, trial.breath))  # noqa: S311
        began = time.monotonic_ns()
        try:
            yield Attempt(number, began, ask())
        except RevokedError:
            yield Attempt(number, began, None)
            return
        except UnavailableError:
            continue


def _revoke(course: _Course, barrier: Barrier, results: Queue[dict[int, int]]) -> None:
    trial = course.trial
    _rig(trial)
    world = course.world()
    waits = random.Random(0)  # noqa: S311  when to revoke, no secret
    acknowledged: dict[int, int] = {}
    for number in range(trial.rounds):
        wanted = renew_revocation(course.target(number).entry, name=f"round-{number}")
        barrier.wait(PATIENCE)
        time.sleep(waits.uniform(0, trial.longest_wait))
        while number not in acknowledged:
            try:
                create_revocation(world.authority, OPERATOR, None if number % 2 else CLUSTER, wanted)
            except UnavailableError:
                continue
            acknowledged[number] = time.monotonic_ns()
    results.put(acknowledged)


def run(trial: Trial) -> Outcome:
    """Run a trial, and judge it."""
    course = _prepare(trial)
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(trial.issuers + 1)
    attempts: Queue[list[Attempt]] = spawn.Queue()
    acknowledged: Queue[dict[int, int]] = spawn.Queue()
    processes = [spawn.Process(target=_issue, args=(course, barrier, attempts)) for _ in range(trial.issuers)]
    processes.append(spawn.Process(target=_revoke, args=(course, barrier, acknowledged)))
    began = time.monotonic()
    for process in processes:
        process.start()
    try:
        made = [attempt for _ in range(trial.issuers) for attempt in _received(attempts, processes)]
        moments = _received(acknowledged, processes)
    finally:
        for process in processes:
            process.join(10)
            process.kill()
    return _judge(course, made, moments, time.monotonic() - began)


def _received(results: Queue[T], processes: list[SpawnProcess]) -> T:
    while True:
        try:
            return results.get(timeout=1)
        except Empty:
            if any(process.exitcode for process in processes):
                raise ChildProcessError("a process of the trial has failed") from None


def _judge(course: _Course, made: list[Attempt], acknowledged: dict[int, int], seconds: float) -> Outcome:
    issued = [attempt for attempt in made if attempt.serial is not None]
    authority = course.world().authority
    database, proof = authority.database, complaints(verified(authority, exported(authority)))
    with database.read() as connection:
        query = select(certificates.c.serial).where(certificates.c.revoked_at.is_(None))
        unrevoked = set(connection.execute(query).scalars())
        left = len(connection.execute(query.where(certificates.c.requester == REQUESTER)).all())
    database.dispose()
    return Outcome(
        issued=len(issued),
        refused=len(made) - len(issued),
        late=[attempt for attempt in issued if attempt.began > acknowledged[attempt.round]],
        unmarked=[attempt for attempt in issued if attempt.serial in unrevoked],
        seconds=seconds,
        left=left,
        proof=proof,
    )
