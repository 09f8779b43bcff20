"""What a decided batch leaves in the database: a record of every decision, and the certificates."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from trivet.authority.issuance.case import IssuedCertificate
from trivet.pki.errors import Refusal
from trivet.pki.judgement import described_identity, described_voucher
from trivet.pki.search import certificate_keys
from trivet.pki.serials import serial_hex
from trivet.store.certificates import StoredCertificate
from trivet.store.clusters import ALL_CLUSTERS
from trivet.store.decisions import Decision
from trivet.store.issuing import Results

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from trivet.authority.context import Authority
    from trivet.authority.issuance.case import Case
    from trivet.pki.plan import Plan
    from trivet.store.chains import Chain, Place


def stored_certificate(case: Case, plan: Plan, der: bytes, now: datetime) -> StoredCertificate:
    """What is kept of a certificate that was just signed."""
    application, drafted, generation = case.application, case.require_draft(), case.generation
    if case.certificate_id is None or case.decision_id is None or generation is None:
        message = "the application was not qualified"
        raise ValueError(message)
    return StoredCertificate(
        id=case.certificate_id,
        cluster_id=case.cluster_id,
        authority=plan.profile.authority.value,
        generation_id=generation.id,
        serial=serial_hex(plan.serial),
        profile=plan.profile.name,
        node=drafted.node,
        common_name=drafted.names.common_name,
        spki_sha256=drafted.identity.spki_sha256,
        issued_at=now,
        not_before=plan.validity.not_before,
        not_after=plan.validity.not_after,
        der=der,
        # What a holder asked for descends from their certificate, too: a thief may ask as well as renew.
        parent_id=application.voucher.id if application.voucher else None,
        decision_id=case.decision_id,
        requester=application.requester.name,
    )


def results_of(
    authority: Authority, cases: Sequence[Case], versions: Mapping[UUID, int], now: datetime, chain: Chain
) -> Results:
    """What a batch leaves, its records linked to the chain.

    Every refusal is told the id of its record; a repetition leaves nothing.
    """
    records, issued, superseded = [], [], []
    for case in cases:
        outcome = case.outcome
        if isinstance(outcome, IssuedCertificate) and outcome.replayed:
            continue
        records.append(chain.link(_record(authority, case, versions, now, chain.place)))
        if isinstance(outcome, Refusal):
            outcome.decision = str(records[-1].id)
        elif outcome is not None and case.draft is not None:
            issued.append((outcome.stored, certificate_keys(case.draft.names)))
            superseded += [case.application.current.id] if case.application.current else []
            superseded += [case.replaces] if case.replaces else []
    return Results(records, issued, superseded)


def _record(
    authority: Authority, case: Case, versions: Mapping[UUID, int], now: datetime, place: Place
) -> Decision:
    application, outcome = case.application, case.outcome
    refusal = outcome if isinstance(outcome, Refusal) else None
    consulted = case.considered is not None and case.cluster is not None
    return Decision(
        id=case.decision_id or authority.new_id(now),
        decided_at=now,
        cluster_id=case.cluster_id,
        requester=application.requester.name,
        action=application.action,
        profile=application.profile_name,
        request_sha256=application.request_sha256,
        verdict="refused" if refusal else "issued",
        reason=refusal.slug if refusal else None,
        detail=refusal.detail if refusal else case.within,
        cluster_version=versions.get(case.cluster.id) if consulted and case.cluster else None,
        global_version=versions.get(ALL_CLUSTERS) if consulted else None,
        considered=case.considered or [],
        identity=_described(case),
        serial=outcome.stored.serial if isinstance(outcome, IssuedCertificate) else None,
        parent_serial=application.voucher.serial if application.voucher else None,
        request_id=application.requester.request_id,
        certificate_sha256=(
            hashlib.sha256(outcome.stored.der).hexdigest() if isinstance(outcome, IssuedCertificate) else None
        ),
        **place,
    )


def _described(case: Case) -> dict[str, Any] | None:
    """All that the entries were compared with, so that anybody can compare again."""
    if case.draft is None:
        return None
    identity = described_identity(case.draft.identity)
    if case.draft.voucher is not None:
        identity["voucher"] = described_voucher(case.draft.voucher)
    return identity
