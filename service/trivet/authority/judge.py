"""The judgement: does a standing entry name this application?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trivet.pki.errors import RevokedError
from trivet.pki.pem import from_der
from trivet.pki.revocation import Identity, entry_keys, identity_keys, matches
from trivet.pki.subjects import names_of
from trivet.store.clusters import ALL_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from trivet.authority.case import Draft
    from trivet.pki.names import Names
    from trivet.pki.revocation import Key
    from trivet.store.certificates import StoredCertificate
    from trivet.store.revocations import StandingEntry


def identity_of(names: Names, spki_sha256: str, current: StoredCertificate | None) -> Identity:
    """What the new certificate will be compared by: its names and key, and the certificate it descends from."""
    ancestors = frozenset({current.serial}) if current else frozenset[str]()
    return Identity(names, spki_sha256, ancestors=ancestors)


def identity_of_stored(current: StoredCertificate) -> Identity:
    """What an existing certificate is compared by."""
    names = names_of(from_der(current.der))
    return Identity(names, current.spki_sha256, serials=frozenset({current.serial}))


def keys_of(identity: Identity, current: StoredCertificate | None) -> frozenset[Key]:
    """All keys to look up for one application."""
    keys = identity_keys(identity)
    return keys | identity_keys(identity_of_stored(current)) if current else keys


def judge(
    draft: Draft,
    current: StoredCertificate | None,
    cluster_id: UUID,
    candidates: Sequence[StandingEntry],
    now: datetime,
) -> tuple[list[dict[str, Any]], StandingEntry | None]:
    """Compare with every candidate entry of the cluster, and of all clusters.

    The new certificate counts as issued now; the current one (of a renewal) as issued when it was.

    Returns:
        what was considered, for the decision record; and the first entry that bans the application.
    """
    if not candidates:
        return [], None
    existing = identity_of_stored(current) if current else None
    considered: list[dict[str, Any]] = []
    ban: StandingEntry | None = None
    for standing in sorted(candidates, key=lambda candidate: (candidate.object_name, candidate.position)):
        if standing.scope not in {cluster_id, ALL_CLUSTERS} or not _shares_key(standing, draft.keys):
            continue
        entry = standing.entry
        matched = matches(entry, draft.identity) and entry.covers(now)
        if existing is not None and current is not None:
            matched = matched or (matches(entry, existing) and entry.covers(current.issued_at))
        considered.append(_considered(standing, matched=matched))
        ban = ban or (standing if matched else None)
    return considered, ban


def _shares_key(standing: StandingEntry, keys: frozenset[Key]) -> bool:
    return not keys.isdisjoint(entry_keys(standing.entry))


def _considered(standing: StandingEntry, *, matched: bool) -> dict[str, Any]:
    entry = standing.entry
    return {
        "entry": str(standing.id),
        "revocation": standing.object_name,
        "kind": entry.kind.value,
        "value": entry.value,
        "notBefore": entry.not_before.isoformat() if entry.not_before else None,
        "matched": matched,
    }


def banned(standing: StandingEntry, *, is_renewal: bool) -> RevokedError:
    """The refusal, with the entry that is its reason and the way out."""
    entry = standing.entry
    if entry.not_before is None:
        until = "It has no notBefore, so it bans future certificates, too: an administrator can set one or delete it"
    elif is_renewal:
        until = (
            f"It bans what was issued before {entry.not_before:%Y-%m-%dT%H:%M:%SZ}: ask for a new certificate"
        )
    else:
        until = f"It bans what is issued before {entry.not_before:%Y-%m-%dT%H:%M:%SZ}"
    return RevokedError(f"the {describe_entry(standing)} names this request. {until}.")


def describe_entry(standing: StandingEntry) -> str:
    """An entry in words: what it compares, and where it stands."""
    scope = "all clusters" if standing.scope == ALL_CLUSTERS else "this cluster"
    entry = standing.entry
    return f"entry {entry.kind} {entry.value!r} of the RenewRevocation {standing.object_name} (in {scope})"


def described_identity(identity: Identity) -> dict[str, Sequence[str] | str]:
    """The identity as its decision record keeps it."""
    return {
        "commonName": identity.names.common_name,
        "organizations": list(identity.names.organizations),
        "dnsNames": list(identity.names.dns_names),
        "ipAddresses": [str(address) for address in identity.names.ip_addresses],
        "publicKeySha256": identity.spki_sha256,
        "ancestors": sorted(identity.ancestors),
    }
