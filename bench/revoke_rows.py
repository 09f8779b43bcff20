"""The certificates that are revoked: rows as issuing would have left them, all with the bytes of one certificate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import TYPE_CHECKING
from uuid import UUID

from trivet.pki.names import DnsName, Names
from trivet.pki.profiles import AuthorityName
from trivet.pki.search import certificate_keys
from trivet.store import authorities, issuing
from trivet.store.certificates import StoredCertificate

if TYPE_CHECKING:
    from trivet.authority.context import Authority
    from trivet.pki.search import NameKind
    from trivet.store.clusters import Cluster

SUFFIX = "fleet.example"
_AT_ONCE = 5_000
_STRANDS = 100  # the lineage: from one certificate a hundred strands of renewals


def serial_of(number: int) -> str:
    """The serial number of one of them."""
    return f"7{number:039x}"


def fill(authority: Authority, cluster: Cluster, count: int, key_hash: str) -> None:
    """Store them. Number 0 begins the lineage and has a CN and a key of its own."""
    with authority.database.read() as connection:
        signer = authorities.active_generation(connection, cluster.id, AuthorityName.CLUSTER)
    now = datetime.now(UTC)
    ids = [
        authority.new_id(now - timedelta(days=3) + timedelta(milliseconds=number)) for number in range(count)
    ]

    def row(number: int) -> tuple[StoredCertificate, frozenset[tuple[NameKind, str]]]:
        apart = number == 0
        names = Names(
            "apart" if apart else "fleet",
            ("fleet", f"team-{number}"),
            (DnsName(f"node-{number}.{SUFFIX}"),),
            (IPv4Address("10.0.0.0") + number,),
        )
        stored = StoredCertificate(
            id=ids[number],
            cluster_id=cluster.id,
            authority=AuthorityName.CLUSTER,
            generation_id=signer.id,
            serial=serial_of(number),
            profile="kube-apiserver-client",
            node=f"node-{number}",
            common_name=names.common_name,
            spki_sha256="0" * 64 if apart else key_hash,
            issued_at=now - timedelta(days=1),
            not_before=now - timedelta(days=1),
            not_after=now + timedelta(days=3),
            der=signer.certificate,  # as long as any
            parent_id=None if apart else ids[max(0, number - _STRANDS)],
            decision_id=UUID(int=0),
            requester="bench",
        )
        return stored, certificate_keys(names)

    for start in range(0, count, _AT_ONCE):
        rows = [row(number) for number in range(start, min(start + _AT_ONCE, count))]
        with authority.database.write() as connection:
            issuing.write(connection, issuing.Results((), rows), now)
