"""From what use cases give to the JSON of the REST API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from trivet.authority.search import status_of
from trivet.pki.keys import key_algorithm
from trivet.pki.manifest import API_VERSION, KIND, render_entry
from trivet.pki.pem import from_der, to_pem
from trivet.pki.serials import serial_hex
from trivet.pki.subjects import names_of
from trivet.web.rest import schemas

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from trivet.authority.preview import Preview
    from trivet.authority.revocations.lockouts import Finding
    from trivet.authority.revoke import Revoked
    from trivet.store.audit import AuditRecord
    from trivet.store.authorities import Generation
    from trivet.store.certificates import StoredCertificate
    from trivet.store.clusters import Cluster
    from trivet.store.decisions import Decision
    from trivet.store.tokens import Token


def cluster(stored: Cluster) -> schemas.Cluster:
    """A cluster."""
    return schemas.Cluster(
        name=stored.name,
        endpoint=str(stored.names.endpoint),
        service_cidr=str(stored.names.service_cidr),
        dns_domain=stored.names.dns_domain,
        created_at=stored.created_at,
    )


def generation(stored: Generation) -> schemas.Generation:
    """A generation, without its key."""
    certificate = from_der(stored.certificate)
    key = certificate.public_key()
    bits = f"-{key.key_size}" if isinstance(key, rsa.RSAPublicKey) else ""
    return schemas.Generation(
        authority=stored.name.value,
        generation=stored.id,
        state=stored.state.value,
        subject=certificate.subject.rfc4514_string(),
        serial_number=serial_hex(certificate.serial_number),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        key_algorithm=f"{key_algorithm(key)}{bits}",
        sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        certificate=to_pem([certificate]).decode(),
    )


def certificate(
    stored: StoredCertificate, cluster_name: str, issuer: bytes, now: datetime
) -> schemas.Certificate:
    """A certificate with all that is known of it."""
    parsed = from_der(stored.der)
    names = names_of(parsed)
    return schemas.Certificate(
        cluster=cluster_name,
        authority=stored.authority,
        profile=stored.profile,
        node=stored.node,
        serial_number=stored.serial,
        subject=parsed.subject.rfc4514_string(),
        common_name=names.common_name,
        organizations=list(names.organizations),
        dns_names=list(names.dns_names),
        ip_addresses=[str(address) for address in names.ip_addresses],
        issued_at=stored.issued_at,
        not_before=stored.not_before,
        not_after=stored.not_after,
        status=status_of(stored, now),
        revoked_at=stored.revoked_at,
        superseded_at=stored.superseded_at,
        requester=stored.requester,
        decision=stored.decision_id,
        certificate=to_pem([parsed]).decode(),
        issuer=to_pem([from_der(issuer)]).decode(),
    )


def decision(stored: Decision) -> schemas.Decision:
    """A decision record."""
    return schemas.Decision(
        id=stored.id,
        decided_at=stored.decided_at,
        requester=stored.requester,
        action=stored.action,
        profile=stored.profile,
        request_sha256=stored.request_sha256,
        verdict=stored.verdict,
        reason=stored.reason,
        detail=stored.detail,
        cluster_version=stored.cluster_version,
        global_version=stored.global_version,
        considered=stored.considered,
        identity=stored.identity,
        serial_number=stored.serial,
        parent_serial_number=stored.parent_serial,
        request_id=stored.request_id,
    )


def revocation(revoked: Revoked) -> dict[str, Any]:
    """A RenewRevocation object in canonical spelling."""
    stored = revoked.revocation
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": stored.name,
            "namespace": stored.namespace,
            "uid": str(stored.id),
            "resourceVersion": str(stored.version),
            "creationTimestamp": stored.created_at.isoformat().replace("+00:00", "Z"),
            "labels": dict(stored.labels),
            "annotations": dict(stored.annotations),
        },
        "spec": {
            "description": stored.description,
            "revocations": [render_entry(standing.entry) for standing in stored.entries],
        },
        "status": {"marked": revoked.marked},
    }


def preview(
    seen: Preview, names: Mapping[UUID, str], issuers: Mapping[UUID, bytes], now: datetime
) -> schemas.RevocationPreview:
    """A preview; `names` of clusters and `issuers` of generations, for the sample."""
    sample = [
        certificate(stored, names[stored.cluster_id], issuers[stored.generation_id], now)
        for stored in seen.sample
        if stored.cluster_id is not None
    ]
    outlook = seen.outlook
    return schemas.RevocationPreview(
        count=seen.count,
        by_lineage=seen.by_lineage,
        profiles=[
            schemas.PreviewTotal(
                profile=one.profile, count=one.count, nodes=one.nodes, first_not_after=one.first_end
            )
            for one in seen.profiles
        ],
        hits=[
            schemas.PreviewHit(cluster=one.cluster, profile=one.profile, node=one.node, count=one.count)
            for one in seen.hits
        ],
        has_more_hits=seen.has_more_hits,
        sample=sample,
        banned=list(seen.banned),
        findings=[_finding(one) for one in outlook.findings],
        warnings=outlook.warnings,
        locks_out=outlook.locks_out,
        token=outlook.token,
    )


def _finding(found: Finding) -> schemas.PreviewFinding:
    return schemas.PreviewFinding(
        profile=found.profile,
        detail=found.detail,
        nodes=list(found.nodes),
        certificates=found.certificates,
        first_not_after=found.first_end,
        locks_out=found.locks_out,
    )


def token(stored: Token, names: Mapping[UUID, str]) -> dict[str, Any]:
    """The members of a token, without its secret."""
    return {
        "id": stored.id,
        "role": stored.role,
        "description": stored.description,
        "cluster": names.get(stored.cluster_id) if stored.cluster_id else None,
        "created_at": stored.created_at,
        "created_by": stored.created_by,
        "expires_at": stored.expires_at,
        "signer_names": list(stored.signer_names),
    }


def audit_record(stored: AuditRecord, names: Mapping[UUID, str]) -> schemas.AuditRecord:
    """An audit record."""
    return schemas.AuditRecord(
        id=stored.id,
        recorded_at=stored.recorded_at,
        requester=stored.requester,
        action=stored.action,
        object=stored.object,
        cluster=names.get(stored.cluster_id) if stored.cluster_id else None,
        details=stored.details,
        request_id=stored.request_id,
    )
