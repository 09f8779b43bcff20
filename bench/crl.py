"""CRLs of an authority with very many revoked certificates: what the next one costs, and how soon it is there."""

from __future__ import annotations

import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from sqlalchemy import text

from bench.databases import POSTGRESQL, SQLITE, Place, Postgres, sqlite_place
from bench.figures import Figures, Rounds
from bench.scratch import fresh_folder
from trivet.authority.context import Authority, Policy
from trivet.authority.create import create_cluster
from trivet.authority.install import OPERATOR, install
from trivet.authority.issuance.application import Issuance
from trivet.authority.issue import issue
from trivet.authority.revoke import create_revocation
from trivet.authority.status.publish import Publisher
from trivet.client.keys import build_request, new_key
from trivet.pki.crl import CrlPlan, assemble_crl, check_crl, crl_of
from trivet.pki.crl_entries import Entries
from trivet.pki.der import SEQUENCE, bit_string, element, explicit, integer
from trivet.pki.der import time as der_time
from trivet.pki.keys import KeyAlgorithm
from trivet.pki.locations import COMPLETE
from trivet.pki.manifest import RenewRevocation
from trivet.pki.names import DnsName
from trivet.pki.profiles import AuthorityName
from trivet.pki.revocation import Entry, EntryKind
from trivet.pki.subjects import ClusterNames
from trivet.signing.encryption import KeyEncryptionKey
from trivet.signing.file import Keyring, Opened
from trivet.store import authorities, clusters, crls, migrate
from trivet.store.engine import Database

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from uuid import UUID

    from bench.plan import Plan

_KEY = KeyEncryptionKey(bytes(range(32)))
_CLUSTER = "crl"
_SIZES = {1_000: "1k", 100_000: "100k", 1_000_000: "1m"}
_REVOCATIONS = 5

# What the marks of one RenewRevocation leave, made by the database itself; without the octets of the certificates.
_FILL = {
    SQLITE: """
        WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)
        INSERT INTO certificates (id, cluster_id, authority, generation_id, serial, profile, common_name, spki_sha256,
            issued_at, not_before, not_after, der, decision_id, requester, revoked_at, revoked_by)
        SELECT printf('01000000000070008000%012x', n), :cluster, 'cluster', :generation,
            '5' || lower(hex(randomblob(19))) || 'a', 'kubelet-client', 'node', printf('%064x', n), :issued, :issued,
            strftime('%Y-%m-%d %H:%M:%S.000000', :ends, printf('-%d seconds', n % 259200)), x'00',
            printf('01000000000070008000%012x', n), 'bench', :issued, :entry
        FROM numbers
    """,
    POSTGRESQL: """
        INSERT INTO certificates (id, cluster_id, authority, generation_id, serial, profile, common_name, spki_sha256,
            issued_at, not_before, not_after, der, decision_id, requester, revoked_at, revoked_by)
        SELECT CAST(lpad(to_hex(n), 32, '0') AS uuid), CAST(:cluster AS uuid), 'cluster', CAST(:generation AS uuid),
            '5' || md5(n::text) || left(md5('x' || n::text), 7), 'kubelet-client', 'node', lpad(to_hex(n), 64, '0'),
            CAST(:issued AS timestamptz), CAST(:issued AS timestamptz),
            CAST(:ends AS timestamptz) - (n % 259200) * interval '1 second', '\\x00',
            CAST(lpad(to_hex(n), 32, '0') AS uuid), 'bench', CAST(:issued AS timestamptz), CAST(:entry AS uuid)
        FROM generate_series(1, :count) AS n
    """,
}


@dataclass(frozen=True)
class Filled:
    """A database whose authority has that many revoked live certificates."""

    kind: str
    authority: Authority
    generation: authorities.Generation


def measure_crl(plan: Plan, say: Callable[[str], None]) -> Figures:
    """Measure both databases; what counts of each size is the worse of the two."""
    figures: Figures = {}
    size = max(plan.entries)
    name = f"entries{_SIZES.get(size, size)}"
    for kind in plan.databases:
        with ExitStack() as stack:
            server = stack.enter_context(Postgres("crl-pg")) if kind == POSTGRESQL else None
            place = sqlite_place(fresh_folder("crl-db")) if server is None else server.make("crl")
            filled = _filled(place, size, say)
            stack.callback(filled.authority.database.dispose)
            found = _measure(filled, place, plan)
            figures |= {f"crl.{kind}.{name}.{figure}": value for figure, value in found.items()}
            say(
                f"  {kind}, {size} entries: "
                + ", ".join(f"{one} {value:.3g}" for one, value in found.items())
            )
    for figure in ("ratio_to_linear", "publish_seconds", "memory_mb"):
        figures[f"crl.{name}.{figure}"] = max(
            figures[f"crl.{kind}.{name}.{figure}"] for kind in plan.databases
        )
    return figures


def _authority(url: str) -> Authority:
    return Authority(Database(url), Keyring(_KEY), _KEY, _now, secrets.randbits, Policy())


def _now() -> datetime:
    return datetime.now(UTC)


def _filled(place: Place, size: int, say: Callable[[str], None]) -> Filled:
    authority = _authority(place.url)
    migrate.upgrade(authority.database)
    install(authority)
    names = ClusterNames(DnsName("crl.example"), ip_network("10.96.0.0/12"), DnsName("cluster.local"))
    cluster = create_cluster(authority, OPERATOR, _CLUSTER, names)
    with authority.database.read() as connection:
        generation = authorities.active_generation(connection, cluster.id, AuthorityName.CLUSTER)
    revoked = _revoke(authority, Entry(EntryKind.GROUP, "nobody"))
    began, now = time.monotonic(), _now()
    as_hex = place.kind == SQLITE
    with authority.database.write() as connection:
        if not as_hex:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(
            text(_FILL[place.kind]),
            {
                "count": size,
                "cluster": cluster.id.hex if as_hex else str(cluster.id),
                "generation": generation.id.hex if as_hex else str(generation.id),
                "entry": revoked.hex if as_hex else str(revoked),
                "issued": now.strftime("%Y-%m-%d %H:%M:%S.000000") + ("" if as_hex else "+00"),
                "ends": (now + timedelta(days=4)).strftime("%Y-%m-%d %H:%M:%S") + ("" if as_hex else "+00"),
            },
        )
    say(f"  {place.kind}: {size} revoked certificates made in {time.monotonic() - began:.0f} s")
    return Filled(place.kind, authority, generation)


def _revoke(authority: Authority, entry: Entry) -> UUID:
    wanted = RenewRevocation(f"bench-{secrets.token_hex(8)}", description="", entries=(entry,))
    return create_revocation(authority, OPERATOR, _CLUSTER, wanted).revocation.entries[0].id


def _measure(filled: Filled, place: Place, plan: Plan) -> Figures:
    authority = filled.authority
    publisher = Publisher(authority)
    began = time.perf_counter()
    publisher.publish_all()
    figures = {"first_seconds": time.perf_counter() - began}
    figures["publish_seconds"] = median(_published_after(filled, publisher) for _ in range(_REVOCATIONS))
    # As another process does, which has not published this list before.
    figures["publish_cold_seconds"] = median(_published_after(filled, Publisher(authority)) for _ in range(3))
    figures["ratio_to_linear"] = _ratio(filled, max(plan.rounds, 3))
    figures["memory_mb"] = _memory(place)
    return figures


def _published_after(filled: Filled, publisher: Publisher) -> float:
    """Seconds from the acknowledgement of a revocation until its CRL can be fetched."""
    serial = _revoke_one(filled)
    began = time.perf_counter()
    left = publisher.publish_all()
    took = time.perf_counter() - began
    content = _newest(filled)
    if left or bytes.fromhex(serial.zfill(40)) not in content.der:
        raise ValueError("the revocation is not on the CRL")
    return took


def _revoke_one(filled: Filled) -> str:
    """Issue a certificate and revoke it; give its serial number."""
    key = new_key(KeyAlgorithm.P384)
    wish = Issuance(_CLUSTER, "kubelet-client", build_request(key), secrets.token_hex(6))
    issued = issue(filled.authority, OPERATOR, wish)
    _revoke(filled.authority, Entry(EntryKind.SERIAL_NUMBER, issued.stored.serial))
    return issued.stored.serial


def _newest(filled: Filled) -> crls.CrlContent:
    with filled.authority.database.read() as connection:
        listed = crls.find_list(connection, filled.generation.id, COMPLETE)
        newest = crls.newest(connection, listed.id) if listed else None
        content = crls.content(connection, newest.list_id, newest.number) if newest else None
    if content is None:
        raise ValueError("there is no CRL")
    return content


def _ratio(filled: Filled, rounds: int) -> float:
    """The building of the next CRL, checked, beside the joining and signing of entries that lie in a list; in turn."""
    content, generation = _newest(filled), filled.generation
    opened = filled.authority.keyring.open(generation.id, generation.certificate, generation.private_key)
    entries = Entries.restore(memoryview(content.der)[content.entries_offset :], content.layout)
    listed = _apart(b"".join(entries.chunks()))
    now = _now().replace(microsecond=0)
    plan = CrlPlan(opened.issuer, now, now + timedelta(days=3), 1)
    ratios = Rounds()
    for _ in range(rounds):
        linear = _seconds(lambda: _linear(plan, opened, listed))
        built = _seconds(lambda: _built(plan, opened, content))
        ratios.add("ratio", built / linear)
    return ratios.medians()["ratio"]


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _apart(octets: bytes) -> list[bytes]:
    """The entries one by one; each has a length of one octet."""
    entries, place = [], 0
    while place < len(octets):
        end = place + 2 + octets[place + 1]
        entries.append(octets[place:end])
        place = end
    return entries


def _linear(plan: CrlPlan, opened: Opened, entries: list[bytes]) -> bytes:
    issuer = plan.issuer
    tbs = element(
        SEQUENCE,
        integer(1),
        issuer.algorithm,
        issuer.subject_der,
        der_time(plan.this_update),
        der_time(plan.next_update),
        element(SEQUENCE, b"".join(entries)),
        element(explicit(0), element(SEQUENCE, bytes.fromhex("300a0603551d140403020101"))),
    )
    return element(SEQUENCE, tbs, issuer.algorithm, bit_string(opened.signer.sign(tbs)))


def _built(plan: CrlPlan, opened: Opened, content: crls.CrlContent) -> bytes:
    entries = Entries.restore(memoryview(content.der)[content.entries_offset :], content.layout)
    entries.drop_expired(plan.this_update - timedelta(days=1))
    assembled = assemble_crl(plan, entries)
    signed = crl_of(assembled, plan.issuer.algorithm, opened.signer.sign(assembled.tbs))
    check_crl(plan, signed, assembled, entries.count, opened.signer.public_key)
    return signed.der


def _memory(place: Place) -> float:
    """By how many MB the footprint of a process grows at most that publishes, from the database and then again."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_publish_twice, args=(place.url, sender))
    child.start()
    grown = float(receiver.recv())
    child.join()
    return grown


def _publish_twice(url: str, sender: Connection) -> None:
    authority = _authority(url)
    with authority.database.read() as connection:
        cluster = clusters.get(connection, _CLUSTER)
        generation = authorities.active_generation(connection, cluster.id, AuthorityName.CLUSTER)
    filled = Filled("", authority, generation)
    publisher = Publisher(authority)
    _forget_peak()
    before = _peak_megabytes()
    for _ in range(2):
        _revoke_one(filled)
        publisher.publish_all()
    sender.send(_peak_megabytes() - before)
    authority.database.dispose()


def _forget_peak() -> None:
    # getrusage tells of the parent's peak as well, which a process that was forked inherits.
    Path("/proc/self/clear_refs").write_text("5")


def _peak_megabytes() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
