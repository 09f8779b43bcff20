"""What somebody does with the Python SDK, against a service: run with its URL, its folder and a cluster."""

from __future__ import annotations

import json
import ssl
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from trivet_client import AuthenticatedClient
from trivet_client.api.certificates import issue_certificate, list_certificates, renew_certificate
from trivet_client.api.revocations import create_renew_revocation
from trivet_client.models import (
    Certificate,
    CertificateCreate,
    CertificatePage,
    CertificateRenew,
    Problem,
    RenewRevocation,
    RevocationEntry,
    RevocationMetadata,
    RevocationPreview,
    RevocationSpec,
)
from trivet_client.types import UNSET, Unset

URL, FOLDER, CLUSTER = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
CA = FOLDER / ".trivet/client/service-ca.crt"


def csr(name: str) -> tuple[str, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name.from_rfc4514_string(f"CN=system:node:{name},O=system:nodes")
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return request.public_bytes(serialization.Encoding.PEM).decode(), pem


def issued(client: AuthenticatedClient, name: str) -> tuple[Certificate, bytes]:
    request, key = csr(name)
    body = CertificateCreate(profile="kubelet-client", csr=request)
    answer = issue_certificate.sync(CLUSTER, client=client, body=body)
    assert isinstance(answer, Certificate), answer
    return answer, key


def listed(client: AuthenticatedClient) -> list[list[str]]:
    pages: list[list[str]] = []
    cursor: str | Unset = UNSET
    while True:
        page = list_certificates.sync(CLUSTER, client=client, status="valid", limit=2, cursor=cursor)
        assert isinstance(page, CertificatePage), page
        pages.append([certificate.serial_number for certificate in page.items])
        if page.next_ is None:
            return pages
        cursor = page.next_


def renewed(certificate: Certificate, key: bytes, name: str) -> Certificate:
    pair = FOLDER / "pair.pem"
    pair.write_bytes(certificate.certificate.encode() + key)
    context = ssl.create_default_context(cafile=CA)
    context.load_cert_chain(pair)
    # Renewing takes no token: the certificate of the connection is the proof.
    holder = AuthenticatedClient(base_url=URL, token="none", verify_ssl=context)
    answer = renew_certificate.sync(CLUSTER, client=holder, body=CertificateRenew(csr=csr(name)[0]))
    assert isinstance(answer, Certificate), answer
    return answer


def revocation_of(common_name: str) -> RenewRevocation:
    return RenewRevocation(
        api_version="certificates.microsoft.com/v1",
        kind="RenewRevocation",
        metadata=RevocationMetadata(name="stolen"),
        spec=RevocationSpec(revocations=[RevocationEntry(kind="CommonName", common_name=common_name)]),
    )


def main() -> None:
    token = (FOLDER / ".trivet/client/admin.token").read_text().strip()
    context = ssl.create_default_context(cafile=CA)
    client = AuthenticatedClient(base_url=URL, token=token, verify_ssl=context)
    certificate, key = issued(client, "python-1")
    issued(client, "python-2")
    issued(client, "python-3")
    pages = listed(client)
    successor = renewed(certificate, key, "python-1")
    revocation = revocation_of("system:node:python-1")
    preview = create_renew_revocation.sync(CLUSTER, client=client, body=revocation, dry_run="All")
    assert isinstance(preview, RevocationPreview), preview
    made = create_renew_revocation.sync(CLUSTER, client=client, body=revocation)
    assert isinstance(made, RenewRevocation), made
    wish = CertificateCreate(profile="kubelet-client", csr=csr("python-1")[0])
    refused = issue_certificate.sync(CLUSTER, client=client, body=wish)
    assert isinstance(refused, Problem), refused
    assert refused.type_ == "urn:trivet:problem:revoked"
    told = {
        "pages": [len(page) for page in pages],
        "was listed": any(certificate.serial_number in page for page in pages),
        "is new": successor.serial_number != certificate.serial_number,
        "would hit": preview.count,
        "made": made.metadata.name,
        "refused": [refused.status, bool(refused.detail), refused.decision is not UNSET],
    }
    sys.stdout.write(json.dumps(told))


main()
