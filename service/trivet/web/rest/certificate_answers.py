"""A certificate as the client wants it: JSON, PEM, PEM chain, DER."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from trivet.pki.pem import certificate_pem
from trivet.web.rest import render
from trivet.web.rest.negotiation import DER, JSON, PEM, PEM_CHAIN, PKCS10
from trivet.web.rest.operation import text_answers

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.requests import Request

    from trivet.authority.context import Authority
    from trivet.authority.issue import IssuedCertificate
    from trivet.store.certificates import StoredCertificate

ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    201: {"description": "The certificate.", "content": text_answers((PEM_CHAIN, PEM, DER))}
}


def offered(request: Request) -> tuple[str, ...]:
    """The media types, the default first: who sends a bare CSR wants a bare certificate."""
    if request.headers.get("content-type", "").lower().startswith(PKCS10):
        return PEM_CHAIN, PEM, DER, JSON
    return JSON, PEM_CHAIN, PEM, DER


def issued(media_type: str, authority: Authority, made: IssuedCertificate, cluster: str) -> Response:
    """The answer to an issuance or renewal."""
    response = answer(media_type, made.stored, made.issuer, cluster, authority.clock())
    response.status_code = 201
    response.headers["Location"] = f"/api/v1/clusters/{cluster}/certificates/{made.stored.serial}"
    return response


def answer(
    media_type: str, stored: StoredCertificate, issuer: bytes, cluster: str, now: datetime
) -> Response:
    """A certificate in a media type."""
    match media_type:
        case "application/pkix-cert":
            content = stored.der
        case "application/x-pem-file":
            content = certificate_pem(stored.der)
        case "application/pem-certificate-chain":
            content = certificate_pem(stored.der) + certificate_pem(issuer)
        case _:
            content = render.certificate(stored, cluster, issuer, now).model_dump_json().encode()
    return Response(content, media_type=media_type)
