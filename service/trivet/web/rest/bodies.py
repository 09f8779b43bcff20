"""The bodies of issuing and renewing: JSON, or the CSR itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import ValidationError

from trivet.pki.errors import Fault, InvalidError
from trivet.web.problems import MAX_FAULTS, pointer
from trivet.web.rest import schemas
from trivet.web.rest.documents import read_document
from trivet.web.rest.negotiation import JSON, JWT, PKCS10, content_type
from trivet.web.rest.operation import body_of, schema_of

if TYPE_CHECKING:
    from starlette.requests import Request

_S = TypeVar("_S", bound=schemas.Schema)

PKCS10_BODY: dict[str, Any] = {
    "schema": {"type": "string", "format": "binary", "description": "The CSR, DER or PEM (RFC 5967)."}
}
_MESSAGE: dict[str, Any] = {
    "schema": {"type": "string", "description": "A renewal message (see the REST guide)."}
}


CERTIFICATE_BODIES: Final = body_of({JSON: schema_of(schemas.CertificateCreate), PKCS10: PKCS10_BODY})
RENEWAL_BODIES: Final = body_of(
    {JSON: schema_of(schemas.CertificateRenew), PKCS10: PKCS10_BODY, JWT: _MESSAGE}
)


@dataclass(frozen=True, slots=True)
class IssuanceBody:
    """What a body and a query say together."""

    profile: str
    csr: bytes
    node: str | None
    expiration_seconds: int | None


async def read_issuance(request: Request, query: schemas.IssuanceQuery) -> IssuanceBody:
    """Read the wish for a certificate.

    Raises:
        InvalidError, MalformedError, UnsupportedMediaTypeError: it cannot be read, or something is missing.
    """
    raw = await request.body()
    node, seconds = query.node, query.expiration_seconds
    if content_type(request, (JSON, PKCS10)) == JSON:
        body = validated(schemas.CertificateCreate, raw)
        return IssuanceBody(
            body.profile, body.csr.encode(), body.node or node, body.expiration_seconds or seconds
        )
    if query.profile is None:
        message = "the query needs a profile, like ?profile=kubelet-client"
        raise InvalidError(message, Fault("/profile", "is required in the query"))
    return IssuanceBody(query.profile, raw, node, seconds)


async def read_renewal(request: Request, seconds: int | None) -> tuple[bytes, int | None]:
    """Read the CSR of a renewal, and the lifetime wished for in seconds.

    Raises:
        InvalidError, MalformedError: it cannot be read.
    """
    raw = await request.body()
    if content_type(request, (JSON, PKCS10)) == PKCS10:
        return raw, seconds
    body = validated(schemas.CertificateRenew, raw)
    return body.csr.encode(), body.expiration_seconds or seconds


async def read_json(request: Request, model: type[_S]) -> _S:
    """Read a body that must be JSON.

    Raises:
        InvalidError, MalformedError, UnsupportedMediaTypeError: it cannot be read, or fields are wrong.
    """
    content_type(request, (JSON,))
    return validated(model, await request.body())


def validated(model: type[_S], raw: bytes) -> _S:
    """Read a JSON body by its schema.

    Raises:
        MalformedError: it is not JSON.
        InvalidError: with a pointer to each fault.
    """
    document = read_document(raw, JSON)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        message = "some fields are wrong"
        raise InvalidError(message, *faults_of(error)) from None  # what was sent may hold a secret


def faults_of(error: ValidationError) -> list[Fault]:
    """Every place that a schema found wrong, without what stood there."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[:MAX_FAULTS]
    return [Fault(pointer(item["loc"]), item["msg"]) for item in found]
