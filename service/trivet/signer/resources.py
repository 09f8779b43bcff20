"""The kinds of objects that the signer deals with, as URLs name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

Object = dict[str, Any]
"""An object as JSON has it."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object, as URLs name it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """As objects have it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Below the server's URL; without a name, of the collection in all namespaces."""
        within = ("namespaces", namespace) if self.namespaced and namespace else ()
        base = ("apis", self.group, self.version) if self.group else ("api", self.version)
        parts = (*base, *within, self.plural, *filter(None, (name, subresource)))
        return "/".join(quote(part, safe="") for part in parts)


CERTIFICATE_SIGNING_REQUESTS: Final = Resource(
    "certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", namespaced=False
)
RENEW_REVOCATIONS: Final = Resource(
    "certificates.microsoft.com", "v1", "renewrevocations", "RenewRevocation", namespaced=True
)
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
