"""The rules for certificate requests, with what the database knows: asked when one is submitted, and when it is issued.

A bootstrap token lets new nodes in. It must not be a way round: neither to the identity of a node that lives, nor back
in for a node whose certificate was revoked. Such requests wait for a person, whose approval is what re-admits a node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trivet.authority.approval.bootstrap_requester import name_of
from trivet.authority.issuance.judge import describe_entry
from trivet.authority.renewals.identities import has_expired
from trivet.pki.approval import Submitter, SubmitterKind, Verdict, judge_request
from trivet.pki.inventory import Grants, Owned
from trivet.pki.kubernetes import NODE_PREFIX
from trivet.pki.revocation import EntryKind
from trivet.pki.subjects import reserved_hosts
from trivet.store import certificates, identities, inventory, revocations
from trivet.store.marking import is_named

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from trivet.authority.context import Policy
    from trivet.pki.csr import CertificateRequest
    from trivet.pki.revocation import Key
    from trivet.store.certificates import StoredCertificate
    from trivet.store.clusters import Cluster
    from trivet.store.revocations import StandingEntry

_MOST: Final = 200
"""How many certificates of one node are looked at, the newest first: three months' worth."""

_OF_ONE_KEY: Final = frozenset({EntryKind.SERIAL_NUMBER, EntryKind.PUBLIC_KEY})
"""Entries that name a certificate or a key, and not the node: its next request would not match them."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A request as the rules see it.

    Attributes:
        cluster: whose certificate is wanted.
        submitter: how its submitter was known.
        profile: the name of the profile.
        node: for which node; None where the profile has none.
        request: the CSR.
        bootstrap_token: id of the token by which the submitter was known.
    """

    cluster: Cluster
    submitter: Submitter
    profile: str
    node: str | None
    request: CertificateRequest
    bootstrap_token: str | None = None


def assess(connection: Connection, subject: Subject, policy: Policy, now: datetime) -> Verdict:
    """Approve by the first rule that fits, or say why the request waits."""
    owned = owned_by(connection, subject.cluster, subject.node or "")
    verdict = judge_request(subject.submitter, subject.profile, subject.node, subject.request.names, owned)
    if verdict.rule is None or subject.node is None or subject.submitter.kind is not SubmitterKind.BOOTSTRAP:
        return verdict
    known = certificates.of_common_name(
        connection, subject.cluster.id, NODE_PREFIX + subject.node, subject.profile, _MOST
    )
    obstacle = _held_back(connection, subject, known, policy) or _taken(connection, subject, known, now)
    return Verdict(None, obstacle) if obstacle else verdict


def owned_by(connection: Connection, cluster: Cluster, node: str) -> Owned:
    """All that decides which SANs a node may have."""
    entry = inventory.find(connection, cluster.id, node)
    grants, reserved = entry.grants if entry else Grants(), reserved_hosts(cluster.names)
    if entry is not None and entry.is_pinned:
        grants = grants.without(reserved)  # no administrator said so
    owners = inventory.owners_of_names(connection, cluster.id, [node])
    foreign = frozenset(name for name, owner in owners.items() if owner != node)
    return Owned(node, grants, foreign, reserved)


def _held_back(
    connection: Connection, subject: Subject, known: Sequence[StoredCertificate], policy: Policy
) -> str | None:
    """Why a node is held back whose newest certificate was revoked: whoever stole its key may have its token, too."""
    newest = known[0] if known else None
    if not policy.hold_revoked_nodes or newest is None or newest.revoked_at is None:
        return None
    entry = _naming_one_key(connection, newest, known)
    if entry is None:
        return None
    return (
        f"the node {subject.node} is held back: its certificate {newest.serial} was revoked by the"
        f" {describe_entry(entry)}; an approver re-admits the node by approving this request"
    )


def _naming_one_key(
    connection: Connection, newest: StoredCertificate, known: Sequence[StoredCertificate]
) -> StandingEntry | None:
    """The first entry that stands, and names that certificate or its key.

    `revoked_by` is the entry that came first, of a mass revocation perhaps; one that names the certificate itself may
    have come after it, or outlived it.
    """
    keys: set[Key] = {(EntryKind.SERIAL_NUMBER, each.serial) for each in known}
    keys.add((EntryKind.PUBLIC_KEY, newest.spki_sha256))
    found = revocations.candidates(connection, keys)
    if newest.revoked_by is not None and revocations.still_stand(connection, [newest.revoked_by]):
        # It may name an ancestor that is no longer kept.
        found += revocations.entries_by_id(connection, [newest.revoked_by]).values()
    for entry in sorted(found, key=lambda each: (each.object_name, each.position)):
        # Whether it holds in this cluster is a part of whether it names the certificate.
        if entry.entry.kind in _OF_ONE_KEY and is_named(connection, entry, newest.id):
            return entry
    return None


def _taken(
    connection: Connection, subject: Subject, known: Sequence[StoredCertificate], now: datetime
) -> str | None:
    """Why the identity of a node that lives is not given to somebody else."""
    # Where one of them was revoked, the token may be in the same hands as the key that was stolen.
    is_clean = all(one.revoked_at is None for one in known)
    live = [one for one in known if one.superseded_at is None and one.revoked_at is None]
    live = [one for one in live if not has_expired(one.not_after, now)]
    live = [one for one in live if not _has_same_key(subject, one) and not (is_clean and _gave(subject, one))]
    if not live:
        return None
    given_up = identities.abandoned(connection, subject.cluster.id)
    living = next((one for one in live if one.id not in given_up), None)
    if living is None:
        return None
    return (
        f"the node {subject.node} holds the certificate {living.serial} until"
        f" {living.not_after:%Y-%m-%dT%H:%M:%SZ}, and no bootstrap token takes its place; an approver decides"
    )


def _has_same_key(subject: Subject, held: StoredCertificate) -> bool:
    return held.spki_sha256 == subject.request.spki_sha256


def _gave(subject: Subject, held: StoredCertificate) -> bool:
    """Whether the token is for this node alone, and the node has the certificate by it: the node begins anew."""
    token = subject.bootstrap_token
    return token is not None and subject.submitter.node == subject.node and held.requester == name_of(token)
