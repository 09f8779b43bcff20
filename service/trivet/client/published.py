"""Public PKI objects, which need no authentication and lie outside of `/api/v1`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx

if TYPE_CHECKING:
    from trivet.client.connection import Connection


@dataclass(frozen=True, slots=True)
class Fetched:
    """A public object as it was given; `tag` says which version it is."""

    content: bytes = field(repr=False)
    tag: str | None


@dataclass(frozen=True, slots=True)
class Published:
    """What is published below `/pki`."""

    connection: Connection
    url: str

    def revocation_list(
        self, cluster: str, authority: str, key_identifier: str, tag: str | None = None
    ) -> Fetched | None:
        """The complete CRL (DER) of an authority's key; None where it is the version that `tag` names still."""
        names = (quote(name, safe="") for name in (cluster, authority, key_identifier))
        headers = {"Accept": "application/pkix-crl"} | ({"If-None-Match": tag} if tag else {})
        path = f"{self.url.rstrip('/')}/pki/{'/'.join(names)}.crl"
        answer = self.connection.send("GET", path, headers=headers)
        if answer.status_code == httpx.codes.NOT_MODIFIED:
            return None
        return Fetched(answer.content, answer.headers.get("ETag"))
