"""CA certificates where the authorityInfoAccess of a certificate says that they are (RFC 5280 section 4.2.2.1)."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from trivet.authority.status.issuers import published_issuer
from trivet.pki.pem import from_der, to_pem
from trivet.web.pki.answers import PEM, Representation, answer, wants_pem
from trivet.web.routes import PlainRoute

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from trivet.authority.context import Authority
    from trivet.authority.status.issuers import PublishedIssuer
    from trivet.web.offload import Offload

ISSUER: Final = "/pki/{cluster}/{authority}/{ski}"
CERTIFICATE: Final = "application/pkix-cert"  # RFC 2585 section 4.1
_A_DAY: Final = 86_400  # what is found under a key identifier never changes


@dataclass(frozen=True, slots=True)
class Published:
    """What the routes share; each gives an answer to a request."""

    authority: Authority
    offload: Offload

    async def issuer(self, request: Request) -> PublishedIssuer:
        """The authority's key that the path names.

        Raises:
            NotFoundError: there is none such.
        """
        wanted: dict[str, Any] = request.path_params
        names = (wanted["cluster"], wanted["authority"], wanted["ski"])
        known = self.authority.memory.issuers.get(names)
        if known is not None:
            return known
        return await self.offload(published_issuer, self.authority, *names)

    async def certificate(self, request: Request) -> Response:
        """The CA certificate: DER, or PEM for who asks for that."""
        return await self._certificate(request, as_pem=wants_pem(request, CERTIFICATE))

    async def certificate_as_pem(self, request: Request) -> Response:
        """The CA certificate as PEM."""
        return await self._certificate(request, as_pem=True)

    async def _certificate(self, request: Request, *, as_pem: bool) -> Response:
        issuer = await self.issuer(request)
        der = issuer.generation.certificate
        tag = f"{sha256(der).hexdigest()}{'-pem' if as_pem else ''}"
        body = to_pem([from_der(der)]) if as_pem else der
        media_type = PEM if as_pem else CERTIFICATE
        return answer(request, Representation(media_type, tag, issuer.generation.created_at, _A_DAY), body)


def published_routes(published: Published) -> list[PlainRoute]:
    """The routes of CA certificates."""
    return [
        PlainRoute(f"{ISSUER}.crt", published.certificate, methods=["GET"]),
        PlainRoute(f"{ISSUER}.crt.pem", published.certificate_as_pem, methods=["GET"]),
    ]
