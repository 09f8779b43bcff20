"""The judgement: does a standing entry name this application?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trivet.pki.errors import RevokedError
from trivet.pki.judgement import Voucher, bars, comes_into_question
from trivet.pki.pem import from_der
from trivet.pki.revocation import Identity
from trivet.pki.subjects import names_of
from trivet.store.clusters import ALL_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from trivet.authority.issuance.case import Draft
    from trivet.pki.names import Names
    from trivet.store.certificates import StoredCertificate
    from trivet.store.revocations import StandingEntry


def identity_of(names: Names, spki_sha256: str, current: StoredCertificate | None) -> Identity:
    """What the new certificate will be compared by: its names and key, and the certificate it descends from."""
    ancestors = frozenset({current.serial}) if current else frozenset[str]()
    return Identity(names, spki_sha256, ancestors=ancestors)


def identity_of_stored(current: StoredCertificate, names: Names | None = None) -> Identity:
    """What an existing certificate is compared by; `names` are its own, where they were read already."""
    known = names_of(from_der(current.der)) if names is None else names
    return Identity(known, current.spki_sha256, serials=frozenset({current.serial}))


def voucher_of(current: StoredCertificate, names: Names | None = None) -> Voucher:
    """What the certificate that vouches for an application is compared by; `names` as of `identity_of_stored`."""
    return Voucher(identity_of_stored(current, names), current.issued_at)


def judge(
    draft: Draft,
    cluster_id: UUID,
    candidates: Sequence[StandingEntry],
    now: datetime,
) -> tuple[list[dict[str, Any]], StandingEntry | None]:
    """Compare with every candidate entry of the cluster, and of all clusters.

    Returns:
        what was considered, for the decision record; and the first entry that bans the application.
    """
    considered: list[dict[str, Any]] = []
    ban: StandingEntry | None = None
    for standing in sorted(candidates, key=lambda candidate: (candidate.object_name, candidate.position)):
        entry = standing.entry
        if standing.scope not in {cluster_id, ALL_CLUSTERS} or not comes_into_question(entry, draft.keys):
            continue
        matched = bars(entry, draft.identity, draft.voucher, now)
        considered.append(_considered(standing, matched=matched))
        ban = ban or (standing if matched else None)
    return considered, ban


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
