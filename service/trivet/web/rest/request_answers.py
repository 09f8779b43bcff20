"""From certificate requests to the JSON of the REST API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from trivet.pki.csr import parse_certificate_request
from trivet.pki.pem import from_der, to_pem
from trivet.web.rest import schemas

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from trivet.store.certificates import StoredCertificate
    from trivet.store.requests import StoredRequest


def certificate_request(
    stored: StoredRequest, cluster: str, certificates: Mapping[UUID, StoredCertificate]
) -> schemas.CertificateRequest:
    """A certificate request with all that is known of it; `certificates` by their ids."""
    # Its signature was verified when it was submitted; and whatever is issued is verified again.
    asked = parse_certificate_request(stored.der, lambda *_: True)
    made = certificates.get(stored.certificate_id) if stored.certificate_id else None
    return schemas.CertificateRequest(
        name=stored.name,
        uid=stored.id,
        cluster=cluster,
        resource_version=str(stored.version),
        profile=stored.profile,
        signer_name=stored.signer_name,
        node=stored.node,
        usages=list(stored.usages),
        expiration_seconds=stored.expiration_seconds,
        csr=x509.load_der_x509_csr(stored.der).public_bytes(Encoding.PEM).decode(),
        common_name=asked.common_name,
        organizations=list(asked.organizations),
        dns_names=list(asked.dns_names),
        ip_addresses=[str(address) for address in asked.ip_addresses],
        public_key_sha256=asked.spki_sha256,
        requester=stored.submitted.requester,
        username=stored.submitted.username,
        groups=list(stored.submitted.groups),
        extra=stored.submitted.extra,
        labels=stored.labels,
        annotations=stored.annotations,
        state=stored.state.value,
        reason=stored.reason,
        conditions=[schemas.RequestCondition.model_validate(each) for each in stored.conditions],
        created_at=stored.created_at,
        decided_at=stored.decided_at,
        decided_by=stored.decided_by,
        collect_at=stored.collect_at,
        serial_number=made.serial if made else None,
        certificate=to_pem([from_der(made.der)]).decode() if made else None,
        decision=stored.decision_id,
    )
