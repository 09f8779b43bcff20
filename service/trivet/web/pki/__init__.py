"""Public PKI objects below `/pki`: CA certificates and CRLs, for anybody, over HTTPS and plain HTTP.

Each is signed, so it needs no other protection on its way; and whoever checks a certificate has no token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.web.pki.crls import crl_routes
from trivet.web.pki.routes import Published, published_routes

if TYPE_CHECKING:
    from trivet.authority.context import Authority
    from trivet.web.offload import Offload
    from trivet.web.routes import PlainRoute

__all__ = ["Published", "pki_routes"]


def pki_routes(authority: Authority, offload: Offload) -> list[PlainRoute]:
    """All routes below `/pki`."""
    published = Published(authority, offload)
    return [*published_routes(published), *crl_routes(published)]
