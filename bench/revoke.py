"""Revoke by each kind of entry among 100,000 live certificates of a cluster: all by one entry, and a single one.

Measured is the use case: lock, look ahead, mark, commit. Meanwhile somebody keeps asking for a certificate that the
entry names; what was asked for after the acknowledgement and issued all the same is counted as late.
"""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from bench.databases import POSTGRESQL, Place, Postgres, sqlite_place
from bench.figures import Figures, Rounds
from bench.revoke_rows import SUFFIX, fill, serial_of
from bench.scratch import fresh_folder
from trivet.authority.context import Authority
from trivet.authority.create import create_cluster
from trivet.authority.install import OPERATOR, install
from trivet.authority.issuance.application import Issuance
from trivet.authority.issue import issue
from trivet.authority.preview import preview_revocation
from trivet.authority.revoke import create_revocation
from trivet.pki.errors import RevokedError, UnavailableError
from trivet.pki.keys import spki_sha256
from trivet.pki.manifest import RenewRevocation
from trivet.pki.names import DnsName
from trivet.pki.revocation import Entry, EntryKind
from trivet.pki.subjects import ClusterNames
from trivet.signing.encryption import KeyEncryptionKey
from trivet.signing.file import Keyring
from trivet.store import migrate
from trivet.store.engine import Database

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.plan import Plan

_CLUSTER = "fleet"
_NAMES = ClusterNames(DnsName("localhost"), ip_network("10.96.0.0/12"), DnsName("cluster.local"))
_FORGET = (
    "UPDATE certificates SET revoked_at = NULL, revoked_by = NULL WHERE revoked_at IS NOT NULL",
    "DELETE FROM revocation_entry_keys",
    "DELETE FROM revocation_entries",
    "DELETE FROM revocations",
)


class WrongCountError(Exception):
    """What was marked is not what was to be marked, or not what the preview said."""


def measure_revoke(plan: Plan, say: Callable[[str], None]) -> Figures:
    """Measure both databases, one after the other."""
    figures: Figures = {}
    for kind in plan.databases:
        with ExitStack() as stack:
            if kind == POSTGRESQL:
                place = stack.enter_context(Postgres("revoke-pg")).make("revoke")
            else:
                place = sqlite_place(fresh_folder("revoke-db"))
            figures |= _measure(plan, place, stack, say)
    return figures


@dataclass(frozen=True)
class _Fleet:
    authority: Authority
    count: int
    asked: _Asked

    def entries(self) -> dict[EntryKind, tuple[Entry, Entry]]:
        """For each kind an entry that names (nearly) all certificates, and one that names a single one."""
        one = 77
        pairs = {
            EntryKind.SERIAL_NUMBER: (serial_of(0), serial_of(self.count - 1)),
            EntryKind.GROUP: ("fleet", f"team-{one}"),
            EntryKind.DNS: (f".{SUFFIX}", f"node-{one}.{SUFFIX}"),
            EntryKind.IP: ("10.0.0.0/8", f"10.0.0.{one}/32"),
            EntryKind.COMMON_NAME: ("fleet", "apart"),
            EntryKind.PUBLIC_KEY: (self.asked.key_hash, "0" * 64),
        }
        return {kind: (Entry(kind, every), Entry(kind, single)) for kind, (every, single) in pairs.items()}


def _measure(plan: Plan, place: Place, stack: ExitStack, say: Callable[[str], None]) -> Figures:
    fleet = _prepare(place, plan.revoked)
    stack.callback(fleet.authority.database.dispose)
    rounds = Rounds()
    for kind, (every, single) in fleet.entries().items():
        prefix = f"revoke.{kind.lower()}.{place.kind}"
        for _ in range(plan.rounds):
            rounds.add_all(prefix, _revoke_all(fleet, every))
            took, marked = _timed(fleet, single)
            rounds.add(f"{prefix}.one_seconds", took)
            if marked != 1:
                message = f"{kind} marked {marked}, not one"
                raise WrongCountError(message)
            _forget(fleet)
        found = rounds.medians()
        say(
            f"  {place.kind} {kind}: {fleet.count} in {found[f'{prefix}.seconds']:.2f} s"
            f" (preview {found[f'{prefix}.preview_seconds']:.2f} s), one in {found[f'{prefix}.one_seconds']:.3f} s,"
            f" late: {found[f'{prefix}.late']:.0f}"
        )
    return rounds.medians()


def _revoke_all(fleet: _Fleet, every: Entry) -> Figures:
    began = time.perf_counter()
    seen = preview_revocation(fleet.authority, OPERATOR, _CLUSTER, _object(every)).count
    previewed = time.perf_counter() - began
    asking = _Asking(fleet)
    # A renewal would be needed to be named by a serial; that race is in tests/store/test_linearisable.py.
    with asking if every.kind is not EntryKind.SERIAL_NUMBER else ExitStack():
        took, marked = _timed(fleet, every)
        asking.acknowledged = time.monotonic()
        time.sleep(0.2)
    if not seen <= marked <= seen + len(asking.issued) or seen < fleet.count - 1:
        message = f"{every.kind} marked {marked}, its preview said {seen}, {len(asking.issued)} were issued meanwhile"
        raise WrongCountError(message)
    late = sum(began > asking.acknowledged for began in asking.issued)
    _forget(fleet)
    return {"seconds": took, "preview_seconds": previewed, "late": late}


def _timed(fleet: _Fleet, entry: Entry) -> tuple[float, int]:
    began = time.perf_counter()
    marked = create_revocation(fleet.authority, OPERATOR, _CLUSTER, _object(entry)).marked
    return time.perf_counter() - began, marked


def _object(entry: Entry) -> RenewRevocation:
    return RenewRevocation(f"bench-{secrets.token_hex(4)}", entries=(entry,))


@dataclass(frozen=True)
class _Asked:
    """A request that every entry but a serial names."""

    csr: bytes
    key_hash: str


@dataclass
class _Asking:
    """Asks for a certificate again and again, until it is refused or told to stop; notes when it began each time."""

    fleet: _Fleet
    acknowledged: float = 0.0
    issued: list[float] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> None:
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        wish = Issuance(_CLUSTER, "kube-apiserver-client", self.fleet.asked.csr)
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                issue(self.fleet.authority, OPERATOR, wish)
            except RevokedError:
                return
            except UnavailableError:
                continue  # the marking took longer than an issuance waits for the lock: refused, as it should be
            self.issued.append(began)
            time.sleep(0.002)


def _prepare(place: Place, count: int) -> _Fleet:
    key = KeyEncryptionKey(secrets.token_bytes(32))
    database = Database(place.url)
    authority = Authority(database, Keyring(key), key, lambda: datetime.now(UTC), secrets.randbits)
    migrate.upgrade(database)
    install(authority)
    cluster = create_cluster(authority, OPERATOR, _CLUSTER, _NAMES)
    asked = _request()
    fill(authority, cluster, count, asked.key_hash)
    _tidy(database)
    return _Fleet(authority, count, asked)


def _request() -> _Asked:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "fleet"),
            x509.NameAttribute(NameOID.COMMON_NAME, "fleet"),
        ]
    )
    sans = x509.SubjectAlternativeName(
        [x509.DNSName(f"new.{SUFFIX}"), x509.IPAddress(ip_network("10.255.0.1/32")[0])]
    )
    request = (
        x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(sans, critical=False)
    )
    return _Asked(request.sign(key, SHA256()).public_bytes(Encoding.DER), spki_sha256(key.public_key()))


def _forget(fleet: _Fleet) -> None:
    """Undo a revocation, so that the next one finds all certificates live."""
    database = fleet.authority.database
    with database.write() as connection:
        for statement in _FORGET:
            connection.exec_driver_sql(statement)
    _tidy(database)


def _tidy(database: Database) -> None:
    """As autovacuum would, a minute later."""
    if database.is_sqlite:
        return
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("VACUUM (ANALYZE)")
        connection.exec_driver_sql("CHECKPOINT")
        connection.exec_driver_sql("RESET statement_timeout")
